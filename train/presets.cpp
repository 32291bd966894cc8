#include "train/presets.h"

#include <algorithm>

#include "retnet/config.h"

namespace retnet {

TrainSettings preset_settings(const std::string& name, Device device) {
  preset(name);     // refuses unknown names
  TrainSettings s;  // the defaults are tiny's
  if (name == "small") {
    s.window = 512, s.batch = 8;
    s.steps = 2000, s.warmup = 100, s.learning_rate = 2e-3;
  }
  if (name == "base") {
    s.window = 512, s.batch = 8;
    s.steps = 5000, s.warmup = 200, s.learning_rate = 1e-3;
    s.dropout = 0.1;  // a model of this size learns a text of a megabyte by heart
  }
  s.micro_batch = usual_micro_batch(s, device);
  return s;
}

std::int64_t usual_micro_batch(const TrainSettings& settings, Device device) {
  constexpr std::int64_t kTokens = 512, kPasses = 4;
  if (device != Device::cpu) return settings.batch;
  const std::int64_t windows = kTokens / std::max<std::int64_t>(settings.window, 1);
  return std::clamp<std::int64_t>(windows, 1, std::max<std::int64_t>(settings.batch / kPasses, 1));
}

std::int64_t usual_warmup(const TrainSettings& preset, std::int64_t steps) {
  // In double: nobody has looked yet whether there are too many steps.
  const auto share = static_cast<double>(preset.warmup) * static_cast<double>(steps);
  return static_cast<std::int64_t>(share / static_cast<double>(preset.steps));
}

}  // namespace retnet
