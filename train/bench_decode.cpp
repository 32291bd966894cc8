#include "train/bench_decode.h"

#include <algorithm>
#include <chrono>

#include "retnet/decoder.h"

namespace retnet {
namespace {

// Steps whose time is taken together: one takes microseconds.
constexpr int kSteps = 16;

double median_step(Decoder& decoder, Device device, double budget) {
  using Clock = std::chrono::steady_clock;
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(decoder.batch()), 10);
  for (int i = 0; i < kSteps; ++i) decoder.step(tokens);
  synchronize(device);
  std::vector<double> times;
  const auto start = Clock::now();
  const auto since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  while (times.size() < 5 || since(start) < budget) {
    const auto begin = Clock::now();
    for (int i = 0; i < kSteps; ++i) decoder.step(tokens);
    synchronize(device);
    times.push_back(since(begin) / kSteps);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

DecodeTiming time_case(const RetNet& model, DecodeTiming timing, double budget) {
  Decoder decoder(model, timing.batch, {timing.bf16_weights, 0});
  ModelState state = decoder.store();
  for (RetentionState& layer : state.layers) layer.pos = timing.position;
  decoder.load(state);
  timing.seconds = median_step(decoder, model.device(), budget);
  timing.tokens_per_second = static_cast<double>(timing.batch) / timing.seconds;
  timing.weight_bytes_per_second = static_cast<double>(decoder.weight_bytes()) / timing.seconds;
  return timing;
}

}  // namespace

void bench_decode(const Config& config, Device device, double budget,
                  const std::function<void(const DecodeTiming&)>& report) {
  RetNet model(config);
  model.to(device);
  for (const bool bf16_weights : {false, true}) {
    if (bf16_weights && device != Device::cpu) continue;
    for (const std::int64_t batch : {1, 4, 16, 64})
      if (batch <= 16 || device != Device::cpu)
        report(time_case(model, {batch, bf16_weights, 0, 0, 0, 0}, budget));
  }
  for (const std::int64_t position : {100, 10000, 1000000})
    report(time_case(model, {1, false, position, 0, 0, 0}, budget));
}

}  // namespace retnet
