#include "train/bench_training.h"

#include <algorithm>

#include "train/bench_sections.h"
#include "train/presets.h"

namespace retnet {

RetNet TrainingSteps::model_on(const std::string& name, Device device) {
  RetNet model(preset(name));
  model.to(device);
  return model;
}

TrainingSteps::TrainingSteps(const std::string& name, const Way& way, Device device,
                             std::int64_t largest_batch)
    : settings_(preset_settings(name, device)),
      model_(model_on(name, device)),
      optimizer_(model_.parameters()) {
  settings_.batch = std::min(settings_.batch, largest_batch);
  settings_.dropout = 0, settings_.form = way.form, settings_.reference = way.reference;
  batch_ = {random_tokens(config(), settings_.batch, settings_.window, 1),
            random_tokens(config(), settings_.batch, settings_.window, 2)};
  training_.emplace(model_, optimizer_, settings_, true);
}

void TrainingSteps::run() { training_->run(++step_ % settings_.steps + 1, {batch_}); }

void bench_training(Report& report, const BenchOptions& options) {
  const std::int64_t largest_batch = options.quick ? 2 : 1 << 20;
  for (const std::string& name : options.presets) {
    const TrainSettings settings = preset_settings(name, options.device);
    const Config config = preset(name);
    const std::int64_t window = settings.window, batch = std::min(settings.batch, largest_batch);
    report.heading("training steps of preset " + name + ", batch " + std::to_string(batch) + ", window " +
                   std::to_string(window));
    for (const Way& way : kWays) {
      if (way.form == Form::recurrent || !wanted(options, way))
        continue;  // nobody trains in the recurrent form
      TrainingSteps steps(name, way, options.device, largest_batch);
      steps.run();  // the second one is recorded as a graph
      const double seconds = median_seconds(4 * options.budget, options.device, [&] { steps.run(); });
      const auto count = static_cast<double>(batch * window);
      const double flops = 3 * count * forward_flops(config, reach(config, way.form, window));
      // At the least: a weight is read forward and backward, its gradient is written and read, and AdamW
      // reads and writes it and its two moments. Activations could stay in the caches.
      const double bytes = 10.0 * static_cast<double>(config.parameters()) * sizeof(float);
      report.add({"training", name + ", " + way.name, "tokens/s", count / seconds, seconds, flops, bytes});
      if (steps.launches() > 0)
        report.add({"training", name + ", " + way.name + ", in a graph", "launches",
                    static_cast<double>(steps.launches())});
    }
  }
}

}  // namespace retnet
