#include <chrono>

#include "retnet/decoder.h"
#include "train/bench_sections.h"
#include "train/bench_training.h"
#include "train/presets.h"

namespace retnet {
namespace {

/// Calls of `body` per second, over `budget` seconds: what a person gets who waits for all of them.
template <class Body>
double mean_rate(double budget, Device device, Body&& body) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < 3; ++i) body();
  synchronize(device);
  const auto begin = Clock::now();
  std::int64_t calls = 0;
  double seconds = 0;
  for (; seconds < budget; ++calls) {
    body();
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  synchronize(device);
  return static_cast<double>(calls) / std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

void bench_rates(Report& report, const BenchOptions& options) {
  const Way chunkwise{"chunkwise", Form::chunkwise, false};
  for (const std::string& name : options.presets) {
    report.heading("mean rates of preset " + name);
    const auto add = [&](const std::string& which, std::int64_t tokens, const auto& body) {
      const double rate = static_cast<double>(tokens) * mean_rate(options.budget, options.device, body);
      report.add({"rates", name + ", " + which, "tokens/s", rate});
    };
    const TrainSettings settings = preset_settings(name, options.device);
    for (const std::int64_t batch : {settings.batch, std::int64_t{2}}) {
      TrainingSteps steps(name, chunkwise, options.device, batch);
      add("training, batch " + std::to_string(batch), batch * settings.window, [&] { steps.run(); });
    }
    RetNet model(preset(name));
    model.to(options.device);
    for (const std::int64_t batch : {1, 4, 16}) {
      Decoder decoder(model, batch);
      const std::vector<std::int32_t> tokens(static_cast<std::size_t>(batch), 10);
      add("decoding, batch " + std::to_string(batch), batch, [&] { decoder.step(tokens); });
    }
  }
}

}  // namespace retnet
