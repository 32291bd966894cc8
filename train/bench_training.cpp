#include "train/bench_training.h"

#include <algorithm>

#include "train/bench_sections.h"
#include "train/presets.h"

namespace retnet {

TrainingSteps::TrainingSteps(const std::string& name, std::int64_t largest_batch)
    : settings_(preset_settings(name)), model_(preset(name)), optimizer_(model_.parameters()) {
  settings_.batch = std::min(settings_.batch, largest_batch);
  tokens_ = random_tokens(config(), settings_.batch, settings_.window, 1);
  targets_ = random_tokens(config(), settings_.batch, settings_.window, 2);
}

void TrainingSteps::run(const Way& way) {
  ForwardOptions options;
  options.form = way.options();
  optimizer_.zero_grad();
  for (std::int64_t begin = 0; begin < settings_.batch; begin += settings_.micro_batch) {
    const std::int64_t end = std::min(settings_.batch, begin + settings_.micro_batch);
    const Variable loss = model_.loss(slice(tokens_, 0, begin, end), slice(targets_, 0, begin, end), options);
    const double share = static_cast<double>(end - begin) / static_cast<double>(settings_.batch);
    backward(mul(loss, share), Graph::release);
  }
  ++step_;
  optimizer_.step(settings_, step_, optimizer_.gradient_norm(step_, settings_.clip));
}

void bench_training(Report& report, const BenchOptions& options) {
  for (const std::string& name : options.presets) {
    TrainingSteps steps(name, options.quick ? 2 : 1 << 20);
    const Config& config = steps.config();
    const std::int64_t window = steps.settings().window, batch = steps.settings().batch;
    report.heading("training steps of preset " + name + ", batch " + std::to_string(batch) + ", window " +
                   std::to_string(window));
    for (const Way& way : kWays) {
      if (way.form == Form::recurrent || !wanted(options, way))
        continue;  // nobody trains in the recurrent form
      const double seconds = median_seconds(4 * options.budget, [&] { steps.run(way); });
      const auto count = static_cast<double>(batch * window);
      const double flops = 3 * count * forward_flops(config, reach(config, way.form, window));
      // At the least: a weight is read forward and backward, its gradient is written and read, and AdamW
      // reads and writes it and its two moments. Activations could stay in the caches.
      const double bytes = 10.0 * static_cast<double>(config.parameters()) * sizeof(float);
      report.add({"training", name + ", " + way.name, "tokens/s", count / seconds, seconds, flops, bytes});
    }
  }
}

}  // namespace retnet
