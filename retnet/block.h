/// @file
/// One block of the network, @eq{9}: retention and a feed-forward network, each behind a norm and beside a
/// residual.
#pragma once

#include "retnet/multi_scale_retention.h"

namespace retnet {

/// FFN(x) = act(x W_1) W_2, or (act(x W_1) . x W_3) W_2 for FfnKind::glu.
class FeedForward {
 public:
  FeedForward() = default;
  FeedForward(const Config& config, RandomKey key, Dtype dtype);  ///< three streams are used

  /// FFN(x), plus the residual where it is defined. @param reference  composed of small operations, not fused
  Variable operator()(const Variable& x, const Variable& residual, bool reference) const;

  template <class Visit>
  void for_each_parameter(Visit&& visit) {
    visit("ffn.act.weight", w_1_.weight);
    if (w_3_.weight.defined()) visit("ffn.lin.weight", w_3_.weight);
    visit("ffn.down.weight", w_2_.weight);
  }

 private:
  Activation activation_ = Activation::gelu;
  Linear w_1_, w_3_, w_2_;
};

/// What dropout needs: how often, and which stream of random numbers.
struct Dropout {
  double p = 0;   ///< probability of a zero, in [0, 1)
  RandomKey key;  ///< changes from step to step
};

/// y = MSR(norm(x)) + x,  x' = FFN(norm(y)) + y
class Block {
 public:
  Block() = default;
  Block(const Config& config, RandomKey key, Dtype dtype);  ///< kStreams streams are used

  static constexpr std::uint64_t kStreams = 8;         ///< of random numbers, for the initial weights
  static constexpr std::uint64_t kDropoutStreams = 2;  ///< the outputs of the two sublayers

  /// Arguments as MultiScaleRetention's.
  Variable operator()(const Variable& x, RetentionState& state, const FormOptions& options,
                      const Dropout& dropout = {}) const;

  /// The same value and gradients from the zero state, with what is inside computed again by backward()
  /// instead of kept: the memory of one block instead of all, for the time of one more forward pass.
  Variable recomputed(const Variable& x, const FormOptions& options, const Dropout& dropout = {}) const;

  RetentionState initial_state(std::int64_t batch, Dtype dtype, Device device) const {
    return retention_.initial_state(batch, dtype, device);
  }

  template <class Visit>
  void for_each_parameter(Visit&& visit) {
    visit("norm1.weight", norm1_.weight);
    if (norm1_.bias.defined()) visit("norm1.bias", norm1_.bias);
    retention_.for_each_parameter(visit);
    visit("norm2.weight", norm2_.weight);
    if (norm2_.bias.defined()) visit("norm2.bias", norm2_.bias);
    ffn_.for_each_parameter(visit);
  }

 private:
  Norm norm1_, norm2_;
  MultiScaleRetention retention_;
  FeedForward ffn_;
};

}  // namespace retnet
