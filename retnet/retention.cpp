#include "retnet/retention.h"

#include <cmath>
#include <tuple>

#include "autograd/functions.h"
#include "retnet/memo.h"

namespace retnet {

RetentionState initial_state(std::int64_t batch, std::int64_t heads, std::int64_t dk, std::int64_t dv,
                             Dtype dtype, Device device) {
  return {Variable(Tensor::zeros({batch, heads, dk, dv}, dtype, device)),
          Variable(Tensor::zeros({batch, heads, dk}, dtype, device)),
          std::vector<double>(static_cast<std::size_t>(heads), 0.0), 0};
}

Retained retention(Form form, const Variable& q, const Variable& k, const Variable& v,
                   const RetentionState& state, const RetentionOptions& options, std::int64_t chunk) {
  switch (form) {
    case Form::parallel:
      return options.reference ? retention_parallel(q, k, v, state, options)
                               : retention_tiled(q, k, v, state, options);
    case Form::recurrent:
      return retention_recurrent(q, k, v, state, options);
    case Form::chunkwise:
      break;
  }
  return options.reference ? retention_chunkwise(q, k, v, state, options, chunk)
                           : retention_fused(q, k, v, state, options, chunk);
}

namespace detail {

void check_retention(const char* op, const Variable& q, const Variable& k, const Variable& v,
                     const RetentionState& state, const RetentionOptions& options) {
  require(q.rank() == 4 && v.rank() == 4 && q.shape() == k.shape() && q.dim(0) == v.dim(0) &&
              q.dim(1) == v.dim(1) && q.dim(2) == v.dim(2),
          op, "needs q and k [B, H, N, dk] and v [B, H, N, dv], got ", q.shape(), ", ", k.shape(), " and ",
          v.shape());
  // No sequences and no steps are results without elements; without heads or channels nothing has a meaning.
  require(q.dim(1) >= 1 && q.dim(3) >= 1 && v.dim(3) >= 1, op,
          "needs at least one head of at least one channel, got q ", q.shape(), " and v ", v.shape());
  const auto heads = static_cast<std::size_t>(q.dim(1));
  require(options.gamma.size() == heads, op, "got ", heads, " heads in ", q.shape(), " but ",
          options.gamma.size(), " decays");
  require(state.S.defined() && state.z.defined() && state.s.size() == heads &&
              state.S.shape() == Shape{q.dim(0), q.dim(1), q.dim(3), v.dim(3)} &&
              state.z.shape() == Shape{q.dim(0), q.dim(1), q.dim(3)},
          op, "the state does not fit q ", q.shape(), " and v ", v.shape(),
          "; start with initial_state() or with a state that another form returned");
}

namespace {

Tensor make_roots(const std::vector<std::vector<double>>& s, Dtype dtype, Device device) {
  std::vector<double> roots;
  for (const std::vector<double>& head : s)
    for (const double value : head) roots.push_back(std::sqrt(value));
  const Shape shape{static_cast<std::int64_t>(s.size()), static_cast<std::int64_t>(s[0].size()), 1};
  return astype(Tensor::from(roots, shape), dtype).to(device);
}

}  // namespace

Tensor root_of(const std::vector<std::vector<double>>& s, const RetentionOptions& options, Dtype dtype,
               Device device) {
  if (options.score_norm == ScoreNorm::none) return {};
  if (device == Device::cpu) return make_roots(s, dtype, device);
  // All layers ask for the same roots, and to copy them to a GPU takes longer than to compute them.
  thread_local Memo<std::tuple<std::vector<std::vector<double>>, Dtype, Device>, Tensor> memo;
  return memo({s, dtype, device}, [&] { return make_roots(s, dtype, device); });
}

std::vector<double> last_sums(const std::vector<std::vector<double>>& s, const std::vector<double>& before) {
  std::vector<double> last = before;
  for (std::size_t h = 0; h < last.size(); ++h)
    if (!s[h].empty()) last[h] = s[h].back();
  return last;
}

// [score-divisor]
Variable score_divisor(const Variable& row_sums, const std::vector<std::vector<double>>& s,
                       const RetentionOptions& options) {
  const Tensor root_s = root_of(s, options, row_sums.dtype(), row_sums.device());
  if (!root_s.defined()) return {};
  const Variable c = maximum(abs(row_sums), Variable(root_s));  // Eq. (R4): c_n = max(|q_n z_n|, sqrt(s_n))
  return options.score_norm_gradient ? c : c.detach();
}
// [score-divisor]

}  // namespace detail
}  // namespace retnet
