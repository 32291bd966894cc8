#include "train/bench_report.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "kernels/parallel.h"
#include "tensor/file.h"
#include "tensor/ops.h"
#include "train/build_info.h"
#include "train/devices.h"
#include "train/output.h"

namespace retnet {
namespace {

using Clock = std::chrono::steady_clock;

/// Seconds that a case's limit is sampled for once more.
constexpr double kSampled = 0.02;

/// Shorter times than this are not told from the clock's own.
constexpr double kShortest = 1e-3;

std::string padded_left(std::string text, std::size_t width) {
  return text.insert(0, text.size() < width ? width - text.size() : 0, ' ');
}

std::string shown(double value) {
  return value < 100      ? formatted("%.2f", value)
         : value < 10'000 ? formatted("%.1f", value)
                          : with_commas(static_cast<std::int64_t>(value));
}

/// @throws Error when a file is there that holds anything but lines as Report writes them
void require_replaceable(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) try {
      const Json json = Json::parse(line, path);
      for (const char* key : {"what", "case", "value", "unit"}) json.at(key);
    } catch (const Error&) {
      fail("bench", quote(path),
           " holds something else than measurements of this command, and is not "
           "overwritten; choose another file");
    }
}

}  // namespace

Report::Report(bool json, const std::string& file, Device device) : json_(json), device_(device) {
  if (file.empty()) return;
  require_replaceable(file);
  file_.emplace(file);
}

void Report::set_machine(const Machine& machine) {
  machine_ = machine;
  heading("this machine: " + machine.name);
  add({"machine", "f32 multiply-adds, peak", "GFLOP/s", machine.flops * 1e-9});
  for (const MemoryLevel& level : machine.levels) {
    if (level.copy > 0) add({"machine", "copies in " + level.name, "GB/s", level.copy * 1e-9});
    if (level.read > 0) add({"machine", "reads from " + level.name, "GB/s", level.read * 1e-9});
    if (level.triad > 0) add({"machine", "a = b + c x in " + level.name, "GB/s", level.triad * 1e-9});
  }
}

void Report::set_machine(std::unique_ptr<MachineMeter> meter) {
  meter_ = std::move(meter);
  set_machine(meter_->machine());
}

void Report::finish() {
  constexpr double kLong = 0.05;
  if (const double waiting = load_.waiting(); waiting >= 0) {
    heading("meanwhile");
    add({"load", "time in which a thread waited for a processor", "%", 100 * waiting});
    if (waiting > kLong && !json_)
      print("  This machine was busy: it can do more than that (/proc/pressure/cpu counts the waiting).\n");
  }
  if (file_) file_->commit();
}

void Report::heading(const std::string& text) const {
  if (!json_) print("\n" + text + "\n");
}

void Report::add(const Measurement& m) {
  Limit limit = m.seconds > 0 ? machine_.limit(m.flops, m.bytes) : Limit{};
  if (meter_ && limit.seconds > 0) {
    meter_->sample(kSampled, limit.name);
    machine_ = meter_->machine();
    limit = machine_.limit(m.flops, m.bytes);
  }
  const double share = limit.seconds / m.seconds;
  Json line = Json::object({{"what", m.what}, {"case", m.which}, {"value", m.value}, {"unit", m.unit}});
  if (m.seconds > 0) line.set("seconds", m.seconds);
  if (m.flops > 0) line.set("flops", m.flops);
  if (m.bytes > 0) line.set("bytes", m.bytes);
  const bool known = share <= kMostShare;
  if (limit.seconds > 0 && known) line.set("share", share), line.set("of", limit.name);
  if (limit.seconds > 0 && !known) line.set("share_unknown", "faster than " + limit.name + " as measured");
  if (device_ == Device::cpu) {
    line.set("threads", kernels::num_threads());
    line.set("instructions", instruction_set());
  } else {
    line.set("device", device_name(device_));
  }
  if (file_) file_->write(line.dump() + "\n");
  if (json_) return print(line.dump() + "\n");

  std::string row = "  " + m.which;
  row.resize(std::max<std::size_t>(row.size() + 1, 50), ' ');
  row += padded_left(shown(m.value), 12) + " " + m.unit;
  if (limit.seconds > 0) {
    row.resize(std::max<std::size_t>(row.size() + 1, 72), ' ');
    row += known ? padded_left(formatted("%.0f", 100 * share), 4) + " % of " + limit.name
                 : "   ? of " + limit.name + ": faster than those were measured, on a busy machine";
  }
  print(row + "\n");
}

double median_seconds(double budget, Device device, const std::function<void()>& body) {
  const auto seconds_of = [&](int calls) {
    const auto begin = Clock::now();
    for (int i = 0; i < calls; ++i) body();
    synchronize(device);
    return std::chrono::duration<double>(Clock::now() - begin).count() / calls;
  };
  body();
  synchronize(device);
  const double first = seconds_of(1);
  std::vector<double> times;
  double total = first;
  if (first >= kShortest) times.push_back(first);
  const int calls = static_cast<int>(std::ceil(kShortest / std::max(first, 1e-7)));
  while (times.empty() || total < budget) {
    times.push_back(seconds_of(calls));
    total += times.back() * calls;
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double retention_flops(const Config& config, std::int64_t reach) {
  const auto widths = static_cast<double>(config.key_width + config.value_width);
  // Eq. (5) within the reach: query i meets i + 1 keys. Beyond it the state is read and written, Eq. (7).
  const double scores = reach > 0 ? static_cast<double>(reach + 1) * widths : 0;
  const double state = 4 * static_cast<double>(config.key_width * config.dv());
  return scores + state;
}

double forward_flops(const Config& config, std::int64_t reach) {
  const std::int64_t d = config.d_model;
  const std::int64_t ffn = (config.ffn == FfnKind::glu ? 3 : 2) * d * config.ffn_width;
  const std::int64_t weights = d * (2 * config.key_width + 3 * config.value_width) + ffn;
  return static_cast<double>(config.layers) *
             (2.0 * static_cast<double>(weights) + retention_flops(config, reach)) +
         2.0 * static_cast<double>(d * config.vocab);
}

Tensor random_tokens(const Config& config, std::int64_t batch, std::int64_t length, std::uint64_t stream) {
  std::vector<std::int32_t> tokens;
  const auto vocab = static_cast<std::uint64_t>(config.vocab);
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(batch * length); ++i)
    tokens.push_back(static_cast<std::int32_t>(kernels::random_bits({1, stream}, i) % vocab));
  return Tensor::from(tokens, {batch, length});
}

}  // namespace retnet
