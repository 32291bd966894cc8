// The chunkwise and the parallel form as one operation each: what training and reading a prompt run. They
// equal retention_chunkwise() and retention_parallel(), their specifications, in value and gradients; the
// gradient is derived in docs/chunkwise.md.

#include <cmath>

#include "autograd/functions.h"
#include "retnet/retention.h"

namespace retnet {
namespace {

/// Chunk length of the parallel form's gradient.
constexpr std::int64_t kGradientChunk = 64;

/// gamma^(N-1-n) [H, N, 1] and gamma^N [H, 1, 1]: what is left of step n, and of the state before, after N
/// steps.
std::pair<Tensor, Tensor> remaining(const std::vector<double>& gamma, std::int64_t n, const Tensor& like) {
  std::vector<double> steps, whole;
  for (const double gamma_h : gamma) {
    for (std::int64_t i = 0; i < n; ++i) steps.push_back(std::pow(gamma_h, static_cast<double>(n - 1 - i)));
    whole.push_back(std::pow(gamma_h, static_cast<double>(n)));
  }
  const auto heads = static_cast<std::int64_t>(gamma.size());
  return {astype(Tensor::from(steps, {heads, n, 1}), like.dtype()).to(like.device()),
          astype(Tensor::from(whole, {heads, 1, 1}), like.dtype()).to(like.device())};
}

}  // namespace

namespace detail {

/// The final state as a function of k, v and the state before: S_N = gamma^N S_0 + sum of gamma^(N-1-n) k_n^T
/// v_n and z_N likewise. The kernel has computed both; here are their gradients, which training never asks
/// for.
RetentionState final_state(const Variable& k, const Variable& v, const RetentionState& state,
                           const RetentionOptions& options, const RetentionOutputs& out) {
  const std::int64_t n = k.dim(2);
  RetentionState next;
  next.S = record("retention_state", out.S, {k, v, state.S},
                  [k = k.value(), v = v.value(), gamma = options.gamma, n](const Tensor& dS) {
                    const auto [steps, whole] = remaining(gamma, n, dS);
                    return std::vector<Tensor>{mul(matmul(v, dS, false, true), steps),
                                               mul(matmul(k, dS), steps), mul(dS, whole)};
                  });
  next.z = record("retention_keys", out.z, {k, state.z},
                  [shape = k.shape(), gamma = options.gamma, n](const Tensor& dz) {
                    const auto [steps, whole] = remaining(gamma, n, dz);
                    return std::vector<Tensor>{mul(broadcast_to(unsqueeze(dz, 2), shape), steps),
                                               mul(dz, squeeze(whole, -1))};
                  });
  next.pos = state.pos + n;
  return next;
}

}  // namespace detail

namespace {

RetentionInputs inputs(const Variable& q, const Variable& k, const Variable& v, const RetentionState& state,
                       const RetentionOptions& options, const std::vector<std::vector<double>>& s,
                       std::int64_t chunk) {
  return {q.value(),
          k.value(),
          v.value(),
          state.S.value(),
          state.z.value(),
          decay_powers(options.gamma, chunk, q.dtype(), q.device()),
          detail::root_of(s, options, q.dtype(), q.device()),
          options.score_norm_gradient};
}

/// What was computed, as a function of q, k, v and the state before; `in` is what the gradient works from.
Retained retained(const char* op, const Variable& q, const Variable& k, const Variable& v,
                  const RetentionState& state, const RetentionOptions& options,
                  const std::vector<std::vector<double>>& s, const RetentionInputs& in,
                  const RetentionOutputs& out) {
  const bool state_gradient = state.S.requires_grad() || state.z.requires_grad();
  Retained result{record(op, out.o, {q, k, v, state.S, state.z},
                         [in, out, state_gradient](const Tensor& dO) {
                           return retention_grad(in, out, dO, state_gradient);
                         }),
                  detail::final_state(k, v, state, options, out)};
  result.state.s = detail::last_sums(s, state.s);
  return result;
}

}  // namespace

// [fused]
Retained retention_fused(const Variable& q, const Variable& k, const Variable& v, const RetentionState& state,
                         const RetentionOptions& options, std::int64_t chunk) {
  detail::check_retention("retention_fused", q, k, v, state, options);
  require(chunk >= 1, "retention_fused", "the chunk length must be at least 1, got ", chunk);
  const auto s = decay_sums(options.gamma, state.s, q.dim(2));  // Eq. (R3)
  const RetentionInputs in = inputs(q, k, v, state, options, s, std::min(chunk, q.dim(2)));
  return retained("retention", q, k, v, state, options, s, in, retention(in));  // Eq. (7), Eq. (R4)
}
// [fused]

// [tiled]
Retained retention_tiled(const Variable& q, const Variable& k, const Variable& v, const RetentionState& state,
                         const RetentionOptions& options) {
  detail::check_retention("retention_tiled", q, k, v, state, options);
  const auto s = decay_sums(options.gamma, state.s, q.dim(2));  // Eq. (R3)
  RetentionInputs in = inputs(q, k, v, state, options, s, q.dim(2));
  const RetentionOutputs out = retention_parallel(in);  // Eq. (5), Eq. (R4)
  // The forms are one function and have one gradient: Eq. (G12) gives it in time linear in N.
  in.powers = decay_powers(options.gamma, std::min(kGradientChunk, q.dim(2)), q.dtype(), q.device());
  return retained("retention_parallel", q, k, v, state, options, s, in, out);
}
// [tiled]

}  // namespace retnet
