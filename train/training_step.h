/// @file
/// One step of training, as the trainer and the benchmarks make it.
#pragma once

#include <optional>

#include "retnet/model.h"
#include "tensor/graph.h"
#include "train/dataset.h"
#include "train/optimizer.h"

namespace retnet {

/// What a step leaves behind, where it was computed: until it is read, the host need not wait for it.
struct StepResult {
  Tensor loss;     ///< mean over all windows of the step, f64 []
  Tensor squares;  ///< sums of squares of the gradients, one a parameter, f64 [P]
  Tensor norm;     ///< of all gradients, before clipping, f64 []
};

/// Forward, backward, norm, clipping and AdamW.
///
/// What differs from step to step - tokens, the rates of AdamW, the streams of dropout - is in memory of the
/// device that stays where it is; everything else is the same in each. So on a GPU the first step is made as
/// on the CPU, the second one is recorded as a DeviceGraph, and from then on a step is one launch, with the
/// same bits.
class TrainingStep {
 public:
  /// @param model      moved to its device, as the optimizer's moments are; both must outlive this
  /// @param graphs     false: every step is made as the first
  TrainingStep(RetNet& model, Optimizer& optimizer, const TrainSettings& settings, bool graphs);

  /// Queues a step, counted from 1. Where the norm of the gradients is not finite, nothing is updated.
  /// @param batches  settings.accumulate of them, on the CPU: [batch, window] each
  StepResult run(std::int64_t step, const std::vector<Batch>& batches);

  /// Launches in a step; 0 unless it is a graph.
  std::int64_t launches() const { return graph_ ? graph_->launches() : 0; }

 private:
  void write(std::int64_t step, const std::vector<Batch>& batches) const;
  StepResult compute(std::int64_t step);
  Tensor backpropagate();
  Tensor backpropagate(std::int64_t part, std::int64_t piece, std::int64_t pass, Turn& turn);

  RetNet& model_;
  Optimizer& optimizer_;
  TrainSettings settings_;
  bool graphs_;
  bool warm_ = false;        ///< true after a step that was not a graph
  Tensor tokens_, targets_;  ///< i32 [accumulate, batch, window]
  Tensor numbers_;           ///< the bytes of StepNumbers
  StepResult recorded_;      ///< what each run of the graph overwrites
  std::optional<DeviceGraph> graph_;
};

}  // namespace retnet
