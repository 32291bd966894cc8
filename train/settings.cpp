#include "train/settings.h"

#include <cmath>

#include "train/streams.h"

namespace retnet {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 40;

void check_range(const char* key, std::int64_t value, std::int64_t low, std::int64_t high) {
  require(value >= low && value <= high, "settings", key, " must be in ", low, " .. ", high, ", got ", value);
}

// Written so that NaN is refused.
void check_fraction(const char* key, double value) {
  require(value >= 0 && value < 1, "settings", key, " must be in [0, 1), got ", value);
}

}  // namespace

void TrainSettings::validate() const {
  check_range("steps", steps, 1, kMaxSteps);
  check_range("batch", batch, 1, 1 << 20);
  check_range("window", window, 1, 1 << 24);
  check_range("micro_batch", micro_batch, 1, 1 << 20);
  check_range("accumulate", accumulate, 1, kMaxParts);
  require((batch + micro_batch - 1) / micro_batch * accumulate <= kMaxParts, "settings",
          "a step must have at most ", kMaxParts, " forward passes, got ", accumulate, " batches of ", batch,
          " windows, ", micro_batch, " at a time; use a larger micro_batch");
  check_range("seed", seed, 0, INT64_MAX);
  require(learning_rate > 0 && learning_rate <= 1e3, "settings", "learning_rate must be in (0, 1000], got ",
          learning_rate);
  check_range("warmup", warmup, 0, kMaxSteps);
  require(final_lr >= 0 && final_lr <= 1, "settings", "final_lr must be in [0, 1], got ", final_lr);
  check_fraction("beta1", beta1);
  check_fraction("beta2", beta2);
  require(weight_decay >= 0 && weight_decay <= 1e3, "settings", "weight_decay must be in [0, 1000], got ",
          weight_decay);
  require(clip >= 0 && std::isfinite(clip), "settings", "clip must be 0 (off) or a positive number, got ",
          clip);
  check_fraction("dropout", dropout);
  check_fraction("held_out", held_out);
  check_range("eval_every", eval_every, 0, kLargest);
  check_range("eval_windows", eval_windows, 1, kLargest);
  check_range("save_every", save_every, 1, kLargest);
}

double learning_rate(const TrainSettings& settings, std::int64_t step) {
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  if (step <= settings.warmup) return settings.learning_rate * real(step) / real(settings.warmup);
  const double progress = real(step - settings.warmup) / real(settings.steps - settings.warmup);  // in (0, 1]
  double remaining = 1;  // of the way down from 1 to final_lr
  if (settings.decay == Decay::linear) remaining = 1 - progress;
  if (settings.decay == Decay::cosine) remaining = 0.5 * (1 + std::cos(3.14159265358979323846 * progress));
  return settings.learning_rate * (settings.final_lr + (1 - settings.final_lr) * remaining);
}

}  // namespace retnet
