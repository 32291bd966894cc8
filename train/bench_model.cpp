#include <algorithm>

#include "retnet/model.h"
#include "train/bench_decode.h"
#include "train/bench_sections.h"

namespace retnet {
namespace {

ForwardOptions forward_options(const Way& way) {
  ForwardOptions options;
  options.form = way.options();
  return options;
}

// Lengths that are read in a form when none are given. What grows with N^2, or goes token by token, stops
// early.
std::vector<std::int64_t> lengths(const BenchOptions& options, const Way& way) {
  if (!options.lengths.empty()) return options.lengths;
  if (options.quick) return {256};
  const bool fused_chunkwise = way.form == Form::chunkwise && !way.reference;
  return fused_chunkwise ? std::vector<std::int64_t>{1024, 4096, 16384, 65536}
                         : std::vector<std::int64_t>{1024, 4096};
}

std::string batch_text(std::int64_t batch, bool bf16_weights) {
  return "batch " + std::to_string(batch) + (bf16_weights ? ", bf16 weights" : ", f32 weights");
}

}  // namespace

bool wanted(const BenchOptions& options, const Way& way) {
  return options.forms.empty() ||
         std::find(options.forms.begin(), options.forms.end(), way.name) != options.forms.end();
}

std::int64_t reach(const Config& config, Form form, std::int64_t length) {
  return form == Form::parallel ? length : form == Form::chunkwise ? std::min(config.chunk, length) : 0;
}

void bench_forward(Report& report, const BenchOptions& options) {
  const NoGrad no_grad;
  for (const std::string& name : options.presets) {
    const Config config = preset(name);
    RetNet model(config);
    model.to(options.device);
    report.heading("forward pass of preset " + name + ", one sequence of N tokens");
    for (const Way& way : kWays) {
      if (!wanted(options, way)) continue;
      for (const std::int64_t length : lengths(options, way)) {
        const Tensor tokens = random_tokens(config, 1, length, 3);
        const double seconds = median_seconds(options.budget, options.device,
                                              [&] { model.forward(tokens, forward_options(way)); });
        const auto count = static_cast<double>(length);
        const double flops = count * forward_flops(config, reach(config, way.form, length));
        report.add({"forward", name + ", " + way.name + ", N " + std::to_string(length), "tokens/s",
                    count / seconds, seconds, flops, 0});
      }
    }
  }
}

namespace {

void report_decoding(Report& report, const BenchOptions& options, const std::string& name,
                     const Config& config) {
  bench_decode(config, options.device, options.budget / 2, [&](const DecodeTiming& timing) {
    std::string which = name + ", " + batch_text(timing.batch, timing.bf16_weights);
    if (timing.position > 0) which += ", after " + std::to_string(timing.position);
    const auto batch = static_cast<double>(timing.batch);
    // The state is read and written, the weights are read.
    const auto state =
        static_cast<double>(2 * config.layers * config.key_width * (config.dv() + 1)) * sizeof(float);
    report.add({"decode", which, "tokens/s", timing.tokens_per_second, timing.seconds,
                batch * forward_flops(config, 0),
                timing.weight_bytes_per_second * timing.seconds + batch * state});
  });
}

// 267 million parameters: weights that no cache holds.
Config large() {
  Config c;
  c.d_model = c.key_width = 1024, c.value_width = c.ffn_width = 2048, c.layers = 16, c.vocab = 32000;
  return c;
}

}  // namespace

void bench_decoding(Report& report, const BenchOptions& options) {
  for (const std::string& name : options.presets) {
    report.heading("decoding with preset " + name);
    report_decoding(report, options, name, preset(name));
  }
  if (options.device == Device::cpu || options.quick) return;
  report.heading("decoding with a model of 267 million parameters");
  report_decoding(report, options, "267M", large());
}

}  // namespace retnet
