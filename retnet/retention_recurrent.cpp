// The recurrent form, Eq. (6). Read it beside docs/recurrent.md.

#include "autograd/functions.h"
#include "retnet/retention.h"

namespace retnet {

// [recurrent]
Retained retention_recurrent(const Variable& q, const Variable& k, const Variable& v,
                             const RetentionState& state, const RetentionOptions& options) {
  detail::check_retention("retention_recurrent", q, k, v, state, options);
  const auto heads = static_cast<std::int64_t>(options.gamma.size());
  const Tensor decay = astype(Tensor::from(options.gamma, {heads, 1, 1}), q.dtype()).to(q.device());
  const Variable gamma(decay), gamma_z(squeeze(decay, -1));  // [H, 1, 1] against S, [H, 1] against z
  if (q.dim(2) == 0) return {matmul(q, state.S), state};     // [B, H, 0, dv]
  const std::vector<Variable> queries = split(q, 2, 1), keys = split(k, 2, 1), values = split(v, 2, 1);

  RetentionState at = state;
  std::vector<Variable> outputs;
  for (std::size_t n = 0; n < queries.size(); ++n) {
    const Variable &q_n = queries[n], &k_n = keys[n], &v_n = values[n];  // [B, H, 1, dk or dv]
    at.S = add(mul(at.S, gamma), matmul(k_n, v_n, true, false));  // Eq. (6):  S_n = gamma S_(n-1) + k_n^T v_n
    at.z = add(mul(at.z, gamma_z), squeeze(k_n, 2));              // Eq. (R2): z_n = gamma z_(n-1) + k_n
    std::vector<std::vector<double>> s;
    for (std::size_t h = 0; h < at.s.size(); ++h) {
      at.s[h] = options.gamma[h] * at.s[h] + 1;  // Eq. (R3): s_n = gamma s_(n-1) + 1
      s.push_back({at.s[h]});
    }
    Variable o = matmul(q_n, at.S);                             // Eq. (6):  o_n = q_n S_n
    const Variable row_sum = matmul(q_n, unsqueeze(at.z, -1));  // q_n z_n
    if (const Variable c = detail::score_divisor(row_sum, s, options); c.defined())
      o = div(o, c);  // Eq. (R4)
    outputs.push_back(o);
    ++at.pos;
  }
  return {outputs.size() == 1 ? outputs[0] : concat(outputs, 2), at};
}
// [recurrent]

}  // namespace retnet
