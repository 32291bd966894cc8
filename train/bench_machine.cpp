#include "train/bench_machine.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <utility>

#include "kernels/cpu/machine.h"
#include "kernels/hip/machine.h"
#include "kernels/parallel.h"
#include "tensor/dispatch.h"
#include "train/build_info.h"
#include "train/devices.h"

namespace retnet {
namespace {

/// The fewest seconds of a sample.
constexpr double kSample = 1e-3;

/// Size of a cache, or the usual one where the system does not say.
double cache_bytes([[maybe_unused]] int level, double usual) {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long bytes = sysconf(level == 2 ? _SC_LEVEL2_CACHE_SIZE : _SC_LEVEL3_CACHE_SIZE);
  if (bytes > 0) return static_cast<double>(bytes);
#endif
  return usual;
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "a processor without a name";
}

}  // namespace

Limit Machine::limit(double flop, double bytes) const {
  if (flops == 0 || flop == 0) return {};
  const double share = threads > 0 ? std::min(1.0, static_cast<double>(kernels::num_threads()) / threads) : 1;
  const Limit arithmetic{flop / (share * flops), "the FMA peak"};
  for (const MemoryLevel& level : levels)
    if (bytes <= level.capacity || &level == &levels.back()) {
      const Limit traffic = level.copy > 0 ? Limit{bytes / level.copy, level.name + " copies"}
                                           : Limit{bytes / (share * level.read), level.name + " reads"};
      return traffic.seconds > arithmetic.seconds ? traffic : arithmetic;
    }
  return arithmetic;
}

/// A rate, and the body(thread, calls) that all threads run at once to measure it.
struct MachineMeter::Probe {
  std::string limit;  // that it is, by its name
  double work;        // of a call, over all threads
  std::function<double&(Machine&)> rate;
  std::function<void(std::int64_t thread, std::int64_t calls)> body;
  std::int64_t calls = 1;

  void sample(Machine& machine, double budget) {
    using Clock = std::chrono::steady_clock;
    for (double total = 0; total < budget || rate(machine) == 0;) {
      const auto begin = Clock::now();
      kernels::parallel_for(machine.threads, kernels::kParallelWork,
                            [&](std::int64_t thread) { body(thread, calls); });
      const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      total += seconds;
      if (seconds < kSample)
        calls *= 2;  // too short for the clock
      else
        rate(machine) = std::max(rate(machine), work * static_cast<double>(calls) / seconds);
    }
  }
};

MachineMeter::MachineMeter() {
  constexpr double kMiB = 1 << 20;
  constexpr std::int64_t kRounds = 64;
  const int threads = kernels::num_threads();
  machine_.threads = threads;
  machine_.name = processor() + ", " + std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") +
                  instruction_set();
  probes_.push_back(
      {"the FMA peak", static_cast<double>(kernels::multiply_add_rounds(1) * kRounds) * threads,
       [](Machine& m) -> double& { return m.flops; },
       [](std::int64_t, std::int64_t calls) { kernels::multiply_add_rounds(calls * kRounds); }});
  const double l2 = threads * cache_bytes(2, 1 * kMiB), l3 = std::max(cache_bytes(3, 16 * kMiB), 2 * l2);
  machine_.levels = {{"L2", l2}, {"L3", l3}, {"memory", 0}};
  // Half of a cache, for others use it too; of the large one as much as a small model's weights; and of
  // memory several times what the caches hold.
  for (const double bytes :
       {l2 / 2, std::min(l3 / 2, std::max(4 * l2, 4 * kMiB)), std::min(4 * l3, 256 * kMiB)})
    add_level(bytes);
}

MachineMeter::~MachineMeter() = default;

/// Reads and triads over `bytes` in all, every thread in a part of its own.
void MachineMeter::add_level(double bytes) {
  const std::int64_t threads = machine_.threads,
                     third = static_cast<std::int64_t>(bytes / 12) / threads / 128 * 128;
  const std::int64_t part = 3 * third;  // floats, of three arrays
  const std::size_t level = memory_.size();
  float* const x = memory_.emplace_back(new float[static_cast<std::size_t>(threads * part)]).get();
  // Each thread writes its part first: the memory is then where that thread is.
  kernels::parallel_for(threads, kernels::kParallelWork,
                        [&](std::int64_t t) { std::fill_n(x + t * part, part, 1.0f); });
  const auto total = static_cast<double>(threads * part) * sizeof(float);
  probes_.push_back({machine_.levels[level].name + " reads", total,
                     [level](Machine& m) -> double& { return m.levels[level].read; },
                     [x, part](std::int64_t t, std::int64_t calls) {
                       for (std::int64_t i = 0; i < calls; ++i) {
                         // Stored, so that no call can be left out.
                         volatile float sum = kernels::read_floats(x + t * part, part);
                         static_cast<void>(sum);
                       }
                     }});
  probes_.push_back({"", total, [level](Machine& m) -> double& { return m.levels[level].triad; },
                     [x, part, third](std::int64_t t, std::int64_t calls) {
                       float* const a = x + t * part;
                       for (std::int64_t i = 0; i < calls; ++i)
                         kernels::triad(a, a + third, a + 2 * third, 0.5f, third);
                     }});
}

void MachineMeter::sample(double budget, const std::string& limit) {
  for (Probe& probe : probes_)
    if (limit.empty() || probe.limit == limit)
      probe.sample(machine_, limit.empty() ? budget / static_cast<double>(probes_.size()) : budget);
}

Machine measure_gpu(double budget) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kFloats = std::int64_t{1} << 28, kRounds = 1 << 12;  // more than caches hold
  Machine machine;
  machine.threads = 0, machine.name = device_name(Device::hip);
  const Tensor from = Tensor::zeros({kFloats}, Dtype::f32, Device::hip),
               to = Tensor::zeros({kFloats}, Dtype::f32, Device::hip);
  const auto best = [&](auto&& body) {
    double least = 0;
    const auto begin = Clock::now();
    for (auto last = begin; least == 0 || std::chrono::duration<double>(last - begin).count() < budget / 2;) {
      synchronize(Device::hip);
      const auto start = Clock::now();
      on_gpu("bench", body);
      synchronize(Device::hip);
      last = Clock::now();
      const double seconds = std::chrono::duration<double>(last - start).count();
      least = least == 0 ? seconds : std::min(least, seconds);
    }
    return least;
  };
  std::int64_t operations = 0;
  const double arithmetic =
      best([&](auto exec) { operations = multiply_add_rounds(exec, to.data<float>(), kRounds); });
  const double copy =
      best([&](auto exec) { copy_floats(exec, to.data<float>(), from.data<float>(), kFloats); });
  machine.flops = static_cast<double>(operations) / arithmetic;
  machine.levels = {{"memory", 0, 0, 0, 2.0 * kFloats * sizeof(float) / copy}};
  return machine;
}

LoadWatch::LoadWatch(std::string root)
    : root_(std::move(root)), begin_(std::chrono::steady_clock::now()), total_(total()) {}

double LoadWatch::total() const {
  std::ifstream file(root_ + "/proc/pressure/cpu");  // "some avg10=0.00 avg60=0.00 avg300=0.00 total=123"
  std::string line;
  std::getline(file, line);
  const std::size_t at = line.find("total=");
  return line.starts_with("some ") && at != line.npos ? 1e-6 * std::strtod(line.c_str() + at + 6, nullptr)
                                                      : -1;
}

double LoadWatch::waiting() const {
  const double now = total(),
               seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  return total_ < 0 || now < 0 ? -1 : std::min(1.0, (now - total_) / std::max(seconds, 1e-6));
}

}  // namespace retnet
