#include "retnet/multi_scale_retention.h"

#include <cmath>

#include "retnet/decay.h"
#include "retnet/rotation.h"

namespace retnet {

MultiScaleRetention::MultiScaleRetention(const Config& config, RandomKey key, Dtype dtype)
    : config_(config),
      theta_(rotation_angles(config.rotation, config.dk())),
      retention_{decays(config), config.score_norm, config.score_norm_gradient} {
  const auto next = [&] { return RandomKey{key.seed, key.stream++}; };
  // Glorot's bound, with a gain of 2^-2.5 where retention multiplies three projections, and 2^-1 towards the
  // residual stream: what the official code starts from.
  const double gain = std::exp2(-2.5);
  w_q_ = Linear(config.d_model, config.key_width, gain, next(), dtype);
  w_k_ = Linear(config.d_model, config.key_width, gain, next(), dtype);
  w_v_ = Linear(config.d_model, config.value_width, gain, next(), dtype);
  const RandomKey gate_key = next();
  if (config.gate != Activation::none)
    w_g_ = Linear(config.d_model, config.value_width, gain, gate_key, dtype);
  w_o_ = Linear(config.value_width, config.d_model, 0.5, next(), dtype);
  if (config.head_affine == HeadAffine::none) return;
  const std::int64_t width = config.head_affine == HeadAffine::shared ? config.dv() : config.value_width;
  head_weight_ = Variable(Tensor::full({width}, 1, dtype), true);
  if (config.head_norm == NormKind::layer) head_bias_ = Variable(Tensor::zeros({width}, dtype), true);
}

RetentionState MultiScaleRetention::initial_state(std::int64_t batch, Dtype dtype, Device device) const {
  return retnet::initial_state(batch, config_.heads, config_.dk(), config_.dv(), dtype, device);
}

// [group-norm]
Variable MultiScaleRetention::normalize_heads(const Variable& o) const {
  // o [B, H, N, dv]: one token and one head at a time, so that nothing of a later position enters.  Eq. (8)
  const std::int64_t B = o.dim(0), H = o.dim(1), N = o.dim(2), dv = o.dim(3);
  Variable y = normalize(transpose(o, 1, 2), config_.head_norm_eps, config_.head_norm == NormKind::layer);
  if (config_.head_affine == HeadAffine::channel) y = reshape(y, {B, N, H * dv});
  if (head_weight_.defined()) y = mul(y, head_weight_);
  if (head_bias_.defined()) y = add(y, head_bias_);
  return reshape(y, {B, N, H * dv});
}
// [group-norm]

Variable MultiScaleRetention::operator()(const Variable& x, RetentionState& state, const FormOptions& options,
                                         const Variable& residual) const {
  if (options.form != Form::recurrent && !options.reference && fusable(x.dtype()))
    return w_o_(fused(x, state, options), residual);
  const Variable y = w_o_(composed(x, state, options));  // Eq. (8)
  return residual.defined() ? add(y, residual) : y;
}

// [msr]
Variable MultiScaleRetention::composed(const Variable& x, RetentionState& state,
                                       const FormOptions& options) const {
  const std::int64_t B = x.dim(0), N = x.dim(1), H = config_.heads, dk = config_.dk(), dv = config_.dv();
  const auto by_head = [](const Variable& y) { return transpose(y, 1, 2); };  // [B, N, H, .] -> [B, H, N, .]

  RetentionOptions how = retention_;
  how.reference = options.reference;

  const Variable q = reshape(w_q_(x), {B, N, H, dk});                                               // Eq. (5)
  const Variable k = mul(reshape(w_k_(x), {B, N, H, dk}), 1 / std::sqrt(static_cast<double>(dk)));  // Eq. (5)
  const Variable v = reshape(w_v_(x), {B, N, H, dv});                                               // Eq. (5)

  const Retained retained = retention(options.form, by_head(rotate_positions(q, theta_, state.pos)),
                                      by_head(rotate_positions(k, theta_, state.pos)), by_head(v), state, how,
                                      options.chunk > 0 ? options.chunk : config_.chunk);
  state = retained.state;

  const Variable y = normalize_heads(retained.o);  // Eq. (8)
  if (config_.gate == Activation::none) return y;
  return mul(activate(config_.gate, w_g_(x)), y);  // Eq. (8)
}
// [msr]

}  // namespace retnet
