/// @file
/// Training steps to be measured.
#pragma once

#include "train/training_step.h"
#include "train/ways.h"

namespace retnet {

/// A freshly initialised model of a preset, and everything that a step of its training takes, on random
/// tokens.
class TrainingSteps {
 public:
  /// @param largest_batch  the preset's batch is cut down to this
  TrainingSteps(const std::string& preset, const Way& way, Device device,
                std::int64_t largest_batch = 1 << 20);

  /// One step as the trainer makes it: forward and backward some windows at a time, norm, AdamW. It is
  /// queued.
  void run();

  const Config& config() const { return model_.config(); }
  std::int64_t launches() const { return training_->launches(); }  ///< of a step that is a graph; else 0

 private:
  static RetNet model_on(const std::string& preset, Device device);

  TrainSettings settings_;
  RetNet model_;
  Optimizer optimizer_;
  Batch batch_;
  std::optional<TrainingStep> training_;
  std::int64_t step_ = 0;
};

}  // namespace retnet
