#include "train/memory_need.h"

#include <algorithm>

#include "tensor/memory_limit.h"

namespace retnet {

double training_bytes(const Config& config, const TrainSettings& settings) {
  const auto weights = 4 * static_cast<double>(config.parameters());
  // For each token of a pass: in a layer q, k, v, what retention makes of it, and the feed-forward network's
  // hidden numbers, or only what the layer begins with; and its logits.
  const std::int64_t layer =
      settings.recompute ? config.d_model : 2 * config.key_width + 2 * config.value_width + config.ffn_width;
  const auto numbers = static_cast<double>(config.layers * layer + config.vocab);
  const std::int64_t windows = std::min(settings.batch, settings.micro_batch);
  const double kept = 4 * static_cast<double>(windows) * static_cast<double>(settings.window) * numbers;
  const double moments = settings.steps > 1 ? 2 * weights : 0;  // which the first step makes
  return std::max(4 * weights, weights + moments + kept);
}

double evaluation_bytes(const Config& config, std::int64_t tokens) {
  return 4 * static_cast<double>(tokens) * static_cast<double>(config.vocab);
}

double comparison_bytes(const Config& config, const CompareOptions& options, std::int64_t layers) {
  const auto state = static_cast<double>(config.heads * config.dk() * config.dv());
  return 8 * state * static_cast<double>(layers) * static_cast<double>(options.batch) *
         static_cast<double>(options.length);
}

void require_memory(const std::string& what, double bytes, const char* advice) {
  const MemoryLeft left = memory_left();
  if (bytes <= static_cast<double>(left.bytes)) return;
  const MemorySize needed(static_cast<std::int64_t>(std::min(bytes, 0x1p62))), there(left.bytes);
  throw OutOfMemory("%s takes at least %s, %s %s; %s", what.c_str(), needed.text, there.text, left.limit,
                    advice);
}

}  // namespace retnet
