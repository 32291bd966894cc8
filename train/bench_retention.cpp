#include "retnet/decay.h"
#include "retnet/retention.h"
#include "train/bench_sections.h"
#include "train/presets.h"

namespace retnet {
namespace {

// From one token after the other to the fused kernels.
constexpr Way kSteps[] = {{"recurrent", Form::recurrent, false},
                          {"composed parallel", Form::parallel, true},
                          {"composed", Form::chunkwise, true},
                          {"parallel", Form::parallel, false},
                          {"chunkwise", Form::chunkwise, false}};

// One layer's retention at the sizes of a preset: q, k and v of a batch of windows.
struct Layer {
  Layer(const std::string& name, bool quick, Device device)
      : config(preset(name)), settings(preset_settings(name)), batch(quick ? 2 : settings.batch) {
    const auto random = [&](std::int64_t width, std::uint64_t stream) {
      return rand_normal({batch, config.heads, settings.window, width}, {1, stream}, 0, 1, Dtype::f32,
                         device);
    };
    q = Variable(random(config.dk(), 1), true), k = Variable(random(config.dk(), 2), true);
    v = Variable(random(config.dv(), 3), true), cotangent = random(config.dv(), 4);
  }

  Variable run(const Way& way) const {
    RetentionOptions options{decays(config)};
    options.reference = way.reference;
    const RetentionState start =
        initial_state(batch, config.heads, config.dk(), config.dv(), Dtype::f32, q.device());
    return retention(way.form, q, k, v, start, options, config.chunk).o;
  }

  Measurement measured(const std::string& which, Form form, double passes, double seconds) const {
    const auto tokens = static_cast<double>(batch * settings.window);
    const auto numbers = static_cast<double>(2 * (config.key_width + config.value_width));  // q, k, v, o
    return {"retention",
            which,
            "us/token",
            1e6 * seconds / tokens,
            seconds,
            passes * tokens * retention_flops(config, reach(config, form, settings.window)),
            passes * tokens * numbers * sizeof(float)};
  }

  Config config;
  TrainSettings settings;
  std::int64_t batch;
  Variable q, k, v;
  Tensor cotangent;
};

}  // namespace

void bench_retention(Report& report, const BenchOptions& options) {
  for (const std::string& name : options.presets) {
    const Layer layer(name, options.quick, options.device);
    report.heading("retention of one layer of preset " + name + ", batch " + std::to_string(layer.batch) +
                   ", window " + std::to_string(layer.settings.window));
    for (const Way& way : kSteps) {
      if (!wanted(options, way)) continue;
      const double forward = median_seconds(options.budget / 2, options.device, [&] {
        const NoGrad no_grad;
        layer.run(way);
      });
      report.add(layer.measured(name + ", " + way.name + ", forward", way.form, 1, forward));
      if (way.form == Form::recurrent) continue;  // nobody trains in it
      const double both = median_seconds(options.budget / 2, options.device, [&] {
        for (Variable x : {layer.q, layer.k, layer.v}) x.zero_grad();
        backward(layer.run(way), layer.cotangent, Graph::release);
      });
      report.add(layer.measured(name + ", " + way.name + ", with gradient", way.form, 3, both));
    }
  }
}

}  // namespace retnet
