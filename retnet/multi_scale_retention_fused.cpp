// Multi-scale retention up to the output projection as one operation: one product for q, k, v and g, rotated
// in place, then fused retention, then norm and gate in one pass. It equals MultiScaleRetention::composed(),
// which is its specification; each step of the gradient is derived in docs/gradients.md and
// docs/chunkwise.md.

#include <cmath>

#include "retnet/decay.h"
#include "retnet/multi_scale_retention.h"
#include "retnet/rotation.h"

namespace retnet {
namespace {

/// The columns of the product x [W_Q; W_K; W_V; W_G]^T: [B, N, ..], views of one matrix.
struct Projections {
  Tensor q, k;  ///< [B, N, H, dk]
  Tensor v;     ///< [B, N, H, dv]
  Tensor gate;  ///< [B, N, H dv]; undefined without a gate
};

Projections columns(const Tensor& all, const Config& config) {
  const std::int64_t B = all.dim(0), N = all.dim(1), H = config.heads, keys = config.key_width,
                     values = config.value_width;
  const auto heads = [&](std::int64_t begin, std::int64_t width) {
    const Tensor part = slice(all, 2, begin, begin + width);
    return Tensor(part.storage(), part.offset(), {B, N, H, width / H},
                  {part.strides()[0], part.strides()[1], width / H, 1}, part.dtype());
  };
  Projections p{heads(0, keys), heads(keys, keys), heads(2 * keys, values), {}};
  if (config.gate != Activation::none) p.gate = slice(all, 2, 2 * keys + values, 2 * keys + 2 * values);
  return p;
}

/// [B, N, H, .] as [B, H, N, .]
Tensor by_head(const Tensor& x) { return transpose(x, 1, 2); }

/// Everything about one call that its gradient needs, apart from x.
struct Saved {
  Config config;
  Tensor weights;           ///< [W_Q; W_K; W_V; W_G]
  RotationTables rotation;  ///< undefined tensors for Rotation::none
  RetentionInputs retention;
  RetentionOutputs outputs;  ///< without the final state
  bool state_gradient = false;
  GroupNormInputs norm;
  GroupNormOutputs statistics;  ///< without y
};

/// q and k turned by their positions, and k divided by sqrt(dk), Eq. (5); or back, which is also the
/// gradient.
void rotate_keys(const Projections& p, const RotationTables& tables, bool inverse) {
  const double scale = 1 / std::sqrt(static_cast<double>(p.k.dim(3)));
  if (!tables.cosines.defined()) return copy_into(p.k, mul(p.k, scale));
  rotate_in_place(p.q, tables.cosines, tables.sines, 1, inverse);
  rotate_in_place(p.k, tables.cosines, tables.sines, scale, inverse);
}

/// dx and the gradient of the stacked weights, from the gradient of all projections.
std::vector<Tensor> gradient(const Saved& s, const Recipe& x, const Tensor& dy) {
  const Tensor& q = s.retention.q;
  const Tensor dall = Tensor::empty({q.dim(0), q.dim(2), s.weights.dim(0)}, dy.dtype(), dy.device());
  const Projections d = columns(dall, s.config);
  const std::vector<Tensor> dnorm = group_norm_grad(s.norm, s.statistics, dy, d.gate);  // Eq. (G5), (G6)
  const Tensor do_ = by_head(reshape(dnorm[0], d.v.shape()));
  const std::vector<Tensor> dretention =
      retention_grad(s.retention, s.outputs, do_, s.state_gradient,
                     {by_head(d.q), by_head(d.k), by_head(d.v)});  // Eq. (G12)
  rotate_keys(d, s.rotation, true);                                // Eq. (G8)

  std::vector<Tensor> result{matmul(dall, s.weights)};  // Eq. (G1)
  const Tensor dweights = linear_weight_grad(dall, x());
  const std::int64_t keys = s.config.key_width, values = s.config.value_width;
  std::int64_t row = 0;
  for (const std::int64_t rows : {keys, keys, values, d.gate.defined() ? values : 0}) {
    if (rows > 0) result.push_back(slice(dweights, 0, row, row + rows));
    row += rows;
  }
  for (const Tensor& dw : {dnorm[1], dnorm[2]})
    if (dw.defined()) result.push_back(dw);
  result.push_back(dretention[3]), result.push_back(dretention[4]);
  return result;
}

}  // namespace

Variable MultiScaleRetention::fused(const Variable& x, RetentionState& state,
                                    const FormOptions& options) const {
  const std::int64_t B = x.dim(0), N = x.dim(1);
  const std::int64_t chunk = std::min(options.chunk > 0 ? options.chunk : config_.chunk, N);
  std::vector<Variable> inputs{x, w_q_.weight, w_k_.weight, w_v_.weight};
  if (w_g_.weight.defined()) inputs.push_back(w_g_.weight);
  std::vector<Tensor> weights;
  for (std::size_t i = 1; i < inputs.size(); ++i) weights.push_back(inputs[i].value());

  Saved s;
  s.config = config_;
  s.weights = concat(weights, 0);
  if (!theta_.empty()) s.rotation = rotation_tables(theta_, state.pos, N, x.dtype(), x.device());
  const Projections p = columns(matmul(x.value(), s.weights, false, true), config_);
  rotate_keys(p, s.rotation, false);

  const auto sums = decay_sums(retention_.gamma, state.s, N);  // Eq. (R3)
  const bool parallel = options.form == Form::parallel;
  s.retention = {by_head(p.q),
                 by_head(p.k),
                 by_head(p.v),
                 state.S.value(),
                 state.z.value(),
                 decay_powers(retention_.gamma, parallel ? N : chunk, x.dtype(), x.device()),
                 detail::root_of(sums, retention_, x.dtype(), x.device()),
                 retention_.score_norm_gradient};
  s.outputs = parallel ? retention_parallel(s.retention) : retention(s.retention);  // Eq. (5), (7), (R4)
  // The forms are one function and have one gradient, which the chunkwise form gives in time linear in N.
  if (parallel) s.retention.powers = decay_powers(retention_.gamma, chunk, x.dtype(), x.device());
  s.state_gradient = state.S.requires_grad() || state.z.requires_grad();

  const auto value_of = [](const Variable& w) { return w.defined() ? w.value() : Tensor(); };
  s.norm = {reshape(transpose(s.outputs.o, 1, 2), {B, N, config_.value_width}),
            value_of(head_weight_),
            value_of(head_bias_),
            p.gate,
            {config_.heads, config_.head_norm_eps, config_.head_norm == NormKind::layer, config_.gate}};
  s.statistics = group_norm(s.norm);  // Eq. (8)
  const Tensor y = std::exchange(s.statistics.y, Tensor());

  for (const Variable& w : {head_weight_, head_bias_})
    if (w.defined()) inputs.push_back(w);
  inputs.push_back(state.S), inputs.push_back(state.z);
  const std::vector<double> last = detail::last_sums(sums, state.s);
  state = fused_final_state(x, state, s.outputs, N);
  state.s = last;
  s.outputs.S = s.outputs.z = Tensor();
  return record("multi_scale_retention", y, inputs,
                [s, x = x.recipe()](const Tensor& dy) { return gradient(s, x, dy); });
}

/// The final state as a function of x, the weights and the state before. Training never asks for its
/// gradient, so the rules build the composed graph from x to the state, and walk that.
RetentionState MultiScaleRetention::fused_final_state(const Variable& x, const RetentionState& state,
                                                      const RetentionOutputs& out, std::int64_t n) const {
  const auto composed_state = [theta = theta_, how = retention_, before = state, out, heads = config_.heads](
                                  const Variable& x_leaf, const Variable& w_k, const Variable& w_v) {
    const std::int64_t B = x_leaf.dim(0), N = x_leaf.dim(1), dk = w_k.dim(0) / heads, dv = w_v.dim(0) / heads;
    const Variable k =
        mul(reshape(linear(x_leaf, w_k), {B, N, heads, dk}), 1 / std::sqrt(static_cast<double>(dk)));
    const Variable v = reshape(linear(x_leaf, w_v), {B, N, heads, dv});
    RetentionState leaf = before;
    leaf.S = Variable(before.S.value(), true), leaf.z = Variable(before.z.value(), true);
    const RetentionState after = detail::final_state(transpose(rotate_positions(k, theta, before.pos), 1, 2),
                                                     transpose(v, 1, 2), leaf, how, out);
    return std::pair(leaf, after);
  };
  const auto rule = [composed_state, x = x.recipe(), w_k = w_k_.weight.value(),
                     w_v = w_v_.weight.value()](bool of_S) {
    return [=](const Tensor& dy) {
      const Recording on(true);  // backward() has switched it off
      const std::vector<Variable> leaves{Variable(x(), true), Variable(w_k, true), Variable(w_v, true)};
      const auto [before, after] = composed_state(leaves[0], leaves[1], leaves[2]);
      if (of_S) return gradients(after.S, dy, {leaves[0], leaves[1], leaves[2], before.S});
      return gradients(after.z, dy, {leaves[0], leaves[1], before.z});
    };
  };
  RetentionState next;
  next.S = record("retention_state", out.S, {x, w_k_.weight, w_v_.weight, state.S}, rule(true));
  next.z = record("retention_keys", out.z, {x, w_k_.weight, state.z}, rule(false));
  next.pos = state.pos + n;
  return next;
}

}  // namespace retnet
