#include "kernels/retention.h"
#include "retnet/decay.h"
#include "retnet/retention.h"
#include "tensor/dispatch.h"
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

// q, k and v of one layer, for a batch of windows.
struct Layer {
  Layer(const Config& sizes, std::int64_t sequences, std::int64_t length, Device device)
      : config(sizes), batch(sequences), window(length) {
    const auto random = [&](std::int64_t width, std::uint64_t stream) {
      return rand_normal({batch, config.heads, window, width}, {1, stream}, 0, 1, Dtype::f32, device);
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

  void run_with_gradient(const Way& way) const {
    for (Variable x : {q, k, v}) x.zero_grad();
    backward(run(way), cotangent, Graph::release);
  }

  Measurement measured(const std::string& which, Form form, double passes, double seconds) const {
    const auto tokens = static_cast<double>(batch * window);
    const auto numbers = static_cast<double>(2 * (config.key_width + config.value_width));  // q, k, v, o
    return {"retention",
            which,
            "us/token",
            1e6 * seconds / tokens,
            seconds,
            passes * tokens * retention_flops(config, reach(config, form, window)),
            passes * tokens * numbers * sizeof(float)};
  }

  Config config;
  std::int64_t batch, window;
  Variable q, k, v;
  Tensor cotangent;
};

void report_layer(Report& report, const BenchOptions& options, const std::string& name, const Layer& layer,
                  const std::function<bool(const Way&)>& affordable) {
  report.heading("retention of one layer of " + name + ", batch " + std::to_string(layer.batch) +
                 ", window " + std::to_string(layer.window));
  for (const Way& way : kSteps) {
    if (!wanted(options, way) || !affordable(way)) continue;
    const double forward = median_seconds(options.budget / 2, options.device, [&] {
      const NoGrad no_grad;
      layer.run(way);
    });
    report.add(layer.measured(name + ", " + way.name + ", forward", way.form, 1, forward));
    if (way.form == Form::recurrent) continue;  // nobody trains in it
    const double both =
        median_seconds(options.budget / 2, options.device, [&] { layer.run_with_gradient(way); });
    report.add(layer.measured(name + ", " + way.name + ", with gradient", way.form, 3, both));
  }
}

// A layer of the paper's 1.3B model: 8 heads of 256 and 512.
Config large() {
  Config config;
  config.d_model = config.key_width = 2048, config.value_width = 4096, config.heads = 8, config.chunk = 128;
  return config;
}

// On a GPU: the same number of tokens in longer and longer sequences, and the memory of it.
void report_large_layers(Report& report, const BenchOptions& options) {
  constexpr std::int64_t tokens = 16384;
  for (const std::int64_t window : {std::int64_t{2048}, std::int64_t{8192}, tokens, 4 * tokens}) {
    const Layer layer(large(), std::max(tokens / window, std::int64_t{1}), window, options.device);
    const std::string name = "1.3B, N " + std::to_string(window);
    report_layer(report, options, name, layer, [&](const Way& way) {
      const bool fused =
          !way.reference && way.form != Form::recurrent;  // the others take long, or much memory
      return fused ? way.form == Form::chunkwise || window <= 8192 : window <= 2048;
    });
    release_cached_memory(options.device);
    reset_peak_memory(options.device);
    layer.run_with_gradient({"chunkwise", Form::chunkwise, false});
    report.add({"retention", name + ", chunkwise, with gradient, tensors", "MiB",
                static_cast<double>(memory_stats(options.device).peak) / (1 << 20)});
  }
}

// On a GPU: one step of the recurrent form, Eq. (6), as decoding runs it.
void report_steps(Report& report, const BenchOptions& options) {
  const Config config = large();
  report.heading("one step of retention, a layer of 1.3B");
  for (const std::int64_t batch : {1, 16, 64}) {
    const std::int64_t H = config.heads, dk = config.dk(), dv = config.dv();
    const auto random = [&](const Shape& shape, std::uint64_t stream) {
      return rand_normal(shape, {1, stream}, 0, 1, Dtype::f32, options.device);
    };
    const Tensor q = random({batch, H, dk}, 1), k = random({batch, H, dk}, 2), v = random({batch, H, dv}, 3);
    const Tensor S = random({batch, H, dk, dv}, 4), z = random({2, batch, H, dk}, 5), o = clone(v);
    const Tensor gamma = astype(Tensor::from(decays(config), {H}), Dtype::f32).to(options.device);
    kernels::RetentionStep<float> s;
    s.batch = batch, s.heads = H, s.dk = dk, s.dv = dv;
    s.q = s.k = {H * dk, dk}, s.v = s.o = {H * dv, dv};
    s.q_n = q.data<float>(), s.k_n = k.data<float>(), s.v_n = v.data<float>(), s.o_n = o.data<float>();
    s.gamma = gamma.data<float>();
    s.S = S.data<float>(), s.S_before = s.S;
    s.z = select(z, 0, 0).data<float>(), s.z_before = select(z, 0, 1).data<float>();
    const double seconds = median_seconds(options.budget / 4, options.device, [&] {
      on_gpu("bench", [&](auto exec) { kernels::retention_step(exec, s); });
    });
    const auto state = static_cast<double>(S.size());
    report.add({"retention", "1.3B, one step, batch " + std::to_string(batch), "us", 1e6 * seconds, seconds,
                6 * state, 2 * state * sizeof(float)});
  }
}

}  // namespace

void bench_retention(Report& report, const BenchOptions& options) {
  for (const std::string& name : options.presets) {
    const TrainSettings settings = preset_settings(name);
    const Layer layer(preset(name), options.quick ? 2 : settings.batch, settings.window, options.device);
    report_layer(report, options, name, layer, [](const Way&) { return true; });
  }
  if (options.device == Device::cpu || options.quick) return;
  report_large_layers(report, options);
  report_steps(report, options);
}

}  // namespace retnet
