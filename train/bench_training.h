/// @file
/// Training steps to be measured.
#pragma once

#include "retnet/model.h"
#include "train/optimizer.h"
#include "train/ways.h"

namespace retnet {

/// A freshly initialised model of a preset, and everything that a step of its training takes, on random
/// tokens.
class TrainingSteps {
 public:
  /// @param largest_batch  the preset's batch is cut down to this
  explicit TrainingSteps(const std::string& preset, std::int64_t largest_batch = 1 << 20);

  /// One step as the trainer makes it: forward and backward some windows at a time, norm, AdamW.
  void run(const Way& way);

  const Config& config() const { return model_.config(); }
  const TrainSettings& settings() const { return settings_; }

 private:
  TrainSettings settings_;
  RetNet model_;
  Optimizer optimizer_;
  Tensor tokens_, targets_;
  std::int64_t step_ = 0;
};

}  // namespace retnet
