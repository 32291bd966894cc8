// The parallel form, Eq. (5), and with it one chunk of the chunkwise form, Eq. (7). Read it beside
// docs/parallel.md.

#include "autograd/functions.h"
#include "retnet/retention.h"

namespace retnet {
namespace detail {

// [piece]
Retained retention_piece(const Variable& q, const Variable& k, const Variable& v, const RetentionState& prev,
                         const DecayTables& decay, const RetentionOptions& options) {
  const std::int64_t n = q.dim(2);
  const Variable D(decay.mask), from_state(decay.from_state), to_state(decay.to_state), whole(decay.whole);

  // [inner]
  const Variable scores = mul(matmul(q, k, false, true), D);  // [B, H, N, N]   Eq. (5): Q K^T . D
  const Variable inner = matmul(scores, v);                   // [B, H, N, dv]  Eq. (5): (Q K^T . D) V
  // [inner]
  // [cross]
  const Variable q_decayed = mul(q, from_state);       // [B, H, N, dk]  Eq. (7): gamma^(i+1) q_i
  Variable o = add(inner, matmul(q_decayed, prev.S));  // [B, H, N, dv]  Eq. (7): o_i c_i
  // [cross]

  // [divisor]
  // The row sums q_n z_n are what V would give in one more column, of ones.
  const Variable row_sums =
      add(sum(scores, -1, true), matmul(q_decayed, unsqueeze(prev.z, -1)));                // [B, H, N, 1]
  const auto s = decay_sums(options.gamma, prev.s, n);                                     // Eq. (R3)
  if (const Variable c = score_divisor(row_sums, s, options); c.defined()) o = div(o, c);  // Eq. (R4)
  // [divisor]

  // [state]
  RetentionState next;
  const Variable k_decayed = mul(k, to_state);                          // [B, H, N, dk]  gamma^(N-1-i) k_i
  next.S = add(mul(prev.S, whole), matmul(k_decayed, v, true, false));  // Eq. (7): S_next
  next.z = add(mul(prev.z, squeeze(whole, -1)), sum(k_decayed, 2));     // Eq. (R2)
  next.s = last_sums(s, prev.s);
  next.pos = prev.pos + n;
  // [state]
  return {o, next};
}
// [piece]

}  // namespace detail

// [parallel]
Retained retention_parallel(const Variable& q, const Variable& k, const Variable& v,
                            const RetentionState& state, const RetentionOptions& options) {
  detail::check_retention("retention_parallel", q, k, v, state, options);
  return detail::retention_piece(q, k, v, state, decay_tables(options.gamma, q.dim(2), q.dtype(), q.device()),
                                 options);
}
// [parallel]

}  // namespace retnet
