/// @file
/// AdamW over a model's parameters, with clipping by the global norm.
#pragma once

#include "retnet/layers.h"
#include "train/settings.h"

namespace retnet {

/// The moments of one parameter.
struct Moments {
  Tensor m, v;  ///< of the parameter's shape and dtype
};

/// Keeps the moments and applies updates. Weight decay applies to matrices (rank 2) only.
class Optimizer {
 public:
  explicit Optimizer(std::vector<Parameter> parameters);

  /// Root of the sum of squares of all gradients, summed in double in a fixed order.
  /// @param step  for messages
  /// @throws Error naming the step and the first parameter whose gradient is missing or not finite
  double gradient_norm(std::int64_t step) const;

  /// One step, counted from 1; scales gradients down to settings.clip where `norm` is larger, and forgets
  /// them.
  void step(const TrainSettings& settings, std::int64_t step, double norm);

  void zero_grad();
  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::vector<Moments>& moments() { return moments_; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<Moments> moments_;
};

}  // namespace retnet
