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

/// What the gradients of one step come to, where they are: nothing is read by the host until check().
struct GradientNorm {
  Tensor squares;   ///< sums of squares, one a parameter, f64 [P]
  Clipping global;  ///< norm of all of them, and what clipping multiplies them by
};

/// Keeps the moments and applies updates. Weight decay applies to matrices (rank 2) only.
class Optimizer {
 public:
  explicit Optimizer(std::vector<Parameter> parameters);

  /// Root of the sum of squares of all gradients, summed in double in a fixed order.
  /// @param step  for messages;  @param clip  the largest norm that is not clipped; 0 does not clip
  /// @throws Error naming the step and the first parameter whose gradient is missing
  GradientNorm gradient_norm(std::int64_t step, double clip) const;

  /// @throws Error naming the step and the first parameter whose gradient was not finite
  void check(const GradientNorm& norm, std::int64_t step) const;

  /// One step, counted from 1; scales the gradients as `norm` says, and forgets them. Where the norm is not
  /// finite, nothing is updated.
  void step(const TrainSettings& settings, std::int64_t step, const GradientNorm& norm);

  void zero_grad();
  void to(Device device);  ///< moves the moments; the parameters are the model's to move
  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::vector<Moments>& moments() { return moments_; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<Moments> moments_;
};

}  // namespace retnet
