#include "train/bench_machine.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>

#include "kernels/cpu/machine.h"
#include "kernels/hip/machine.h"
#include "kernels/parallel.h"
#include "tensor/dispatch.h"
#include "train/build_info.h"
#include "train/devices.h"

namespace retnet {
namespace {

/// The fewest seconds of a sample.
constexpr double kSample = 2e-3;

/// The least time of one call of every thread's body(thread, calls) at once, over samples for `budget`
/// seconds.
template <class Body>
double best_seconds(double budget, Body&& body) {
  using Clock = std::chrono::steady_clock;
  const int threads = kernels::num_threads();
  const auto seconds_of = [&](std::int64_t calls) {
    const auto begin = Clock::now();
    kernels::parallel_for(threads, kernels::kParallelWork, [&](std::int64_t thread) { body(thread, calls); });
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  std::int64_t calls = 1;
  double best = seconds_of(calls);  // of one call
  for (double total = 0; total < budget;) {
    const double seconds = seconds_of(calls);
    best = std::min(best, seconds / static_cast<double>(calls)), total += seconds;
    if (seconds < kSample) calls *= 2;
  }
  return best;
}

double measure_flops(double budget) {
  constexpr std::int64_t kRounds = 64;
  const double flop = static_cast<double>(kernels::multiply_add_rounds(1) * kRounds) * kernels::num_threads();
  return flop / best_seconds(budget, [](std::int64_t, std::int64_t calls) {
           kernels::multiply_add_rounds(calls * kRounds);
         });
}

/// Reads and triads over `bytes` in all, every thread in a part of its own.
void measure_level(MemoryLevel& level, double bytes, double budget) {
  const std::int64_t threads = kernels::num_threads();
  const std::int64_t third =
      static_cast<std::int64_t>(bytes / 12) / threads / 128 * 128;  // floats of an array
  const std::int64_t part = 3 * third;
  const std::unique_ptr<float[]> x(new float[static_cast<std::size_t>(threads * part)]);
  // Each thread writes its part first: the memory is then where that thread is.
  kernels::parallel_for(threads, kernels::kParallelWork,
                        [&](std::int64_t t) { std::fill_n(x.get() + t * part, part, 1.0f); });
  const auto total = static_cast<double>(threads * part) * sizeof(float);
  level.read = total / best_seconds(budget / 2, [&](std::int64_t t, std::int64_t calls) {
                 for (std::int64_t i = 0; i < calls; ++i) {
                   // Stored, so that no call can be left out.
                   volatile float sum = kernels::read_floats(x.get() + t * part, part);
                   static_cast<void>(sum);
                 }
               });
  level.triad = total / best_seconds(budget / 2, [&](std::int64_t t, std::int64_t calls) {
                  float* const a = x.get() + t * part;
                  for (std::int64_t i = 0; i < calls; ++i)
                    kernels::triad(a, a + third, a + 2 * third, 0.5f, third);
                });
}

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

Machine measure_machine(double budget) {
  constexpr double kMiB = 1 << 20;
  const int threads = kernels::num_threads();
  Machine machine;
  machine.threads = threads;
  machine.name = processor() + ", " + std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") +
                 instruction_set();
  machine.flops = measure_flops(budget / 4);
  const double l2 = threads * cache_bytes(2, 1 * kMiB), l3 = std::max(cache_bytes(3, 16 * kMiB), 2 * l2);
  machine.levels = {{"L2", l2}, {"L3", l3}, {"memory", 0}};
  // Half of a cache, for others use it too; of the large one as much as a small model's weights; and of
  // memory several times what the caches hold.
  measure_level(machine.levels[0], l2 / 2, budget / 4);
  measure_level(machine.levels[1], std::min(l3 / 2, std::max(4 * l2, 4 * kMiB)), budget / 4);
  measure_level(machine.levels[2], std::min(4 * l3, 256 * kMiB), budget / 4);
  return machine;
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

}  // namespace retnet
