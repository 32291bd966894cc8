/// @file
/// Gated multi-scale retention, @eq{8}: H heads with their own decay, normalised one by one and gated.
#pragma once

#include "retnet/layers.h"
#include "retnet/retention.h"

namespace retnet {

/// Which form to run, and how.
struct FormOptions {
  Form form = Form::chunkwise;
  std::int64_t chunk = 0;  ///< chunk length; 0 takes the config's
  bool reference = false;  ///< run the composed form where there is a fused one
};

/// MSR(x) = (gate(x W_G) . GroupNorm_H(concat_h o^h)) W_O
class MultiScaleRetention {
 public:
  MultiScaleRetention() = default;
  /// @param key  seed and first stream of the initial weights; five streams are used
  MultiScaleRetention(const Config& config, RandomKey key, Dtype dtype);

  /// @param x         [B, N, d]
  /// @param state     before the first step; replaced by the one after the last
  /// @param residual  [B, N, d], added to the result where it is defined
  /// @shape [B, N, d]
  Variable operator()(const Variable& x, RetentionState& state, const FormOptions& options,
                      const Variable& residual = Variable()) const;

  /// The state before the first step, for a batch of B sequences.
  RetentionState initial_state(std::int64_t batch, Dtype dtype, Device device) const;

  /// Calls `visit(name, variable)` for every parameter.
  template <class Visit>
  void for_each_parameter(Visit&& visit) {
    visit("q.weight", w_q_.weight), visit("k.weight", w_k_.weight), visit("v.weight", w_v_.weight);
    if (w_g_.weight.defined()) visit("g.weight", w_g_.weight);
    if (head_weight_.defined()) visit("head_norm.weight", head_weight_);
    if (head_bias_.defined()) visit("head_norm.bias", head_bias_);
    visit("o.weight", w_o_.weight);
  }

 private:
  Variable normalize_heads(const Variable& o) const;
  Variable composed(const Variable& x, RetentionState& state, const FormOptions& options) const;
  Variable fused(const Variable& x, RetentionState& state, const FormOptions& options) const;
  RetentionState fused_final_state(const Variable& x, const RetentionState& state,
                                   const RetentionOutputs& out, std::int64_t n) const;

  Config config_;
  std::vector<double> theta_;
  RetentionOptions retention_;
  Linear w_q_, w_k_, w_v_, w_g_, w_o_;
  Variable head_weight_, head_bias_;  ///< [dv] or [H dv], as config.head_affine says
};

}  // namespace retnet
