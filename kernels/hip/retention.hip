// Chunkwise retention, Eq. (7), and its gradient, (G10), (G12) and (G13), as derived in docs/chunkwise.md;
// the products are the kernels of retention_chunk.h. U = o before its division by c, C' = the length of a
// chunk.
//
// dU = do / c is never formed: 1 / c_i is a factor of row i in each product that dU takes part in. The
// gradient dr of the row sums is kept as c dr, so that it has the same factor.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// A block works on kRows rows, with kLanes threads each.
constexpr int kRows = 8, kLanes = 32;

/// The sum over the threads of a row of `x`, as a tree. All threads of the block call it together.
template <class T>
__device__ T sum_of_row(T x) {
  __shared__ T parts[kRows][kLanes];
  T* const row = parts[threadIdx.y];
  row[threadIdx.x] = x;
  for (unsigned half = kLanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) row[threadIdx.x] += row[threadIdx.x + half];
  }
  __syncthreads();
  return row[0];
}

/// r_i = gamma^(i+1) q_i z + sum over j <= i of A[i, j]: what a column of ones beside V would give.
template <class T>
__global__ void sum_scores(Chunks<T> all, const T* q, Borders<T> z, const T* scores, T* row_sums) {
  const std::int64_t row = std::int64_t(blockIdx.x) * kRows + threadIdx.y, n = all.s.n;
  const bool inside = row < all.heads() * n;
  T sum = T(0);
  if (inside) {
    const std::int64_t index = row % n / all.chunk;
    const Chunk<T> chunk(all, row / n, index);
    const std::int64_t i = row % n - chunk.first;
    if (const T* const before = z.at(all, chunk.head, index, Border::before)) {
      const T* const q_i = chunk.rows(q, all.s.q) + i * all.s.q.time;
      for (std::int64_t d = threadIdx.x; d < all.s.dk; d += kLanes) sum += q_i[d] * before[d];
      sum *= decay(chunk, Border::before, i);
    }
    const T* const A = scores + ((chunk.head * all.count + index) * all.chunk + i) * all.chunk;
    for (std::int64_t j = threadIdx.x; j <= i; j += kLanes) sum += A[j];
  }
  sum = sum_of_row(sum);
  if (inside && threadIdx.x == 0) row_sums[row] = sum;
}

/// Eq. (G13): 1 / c, and c dr from o = U / c: dc = -sum(do o) / c, which reaches the row sum r where it, and
/// not sqrt(s), was the larger.
template <class T>
__global__ void read_outputs(Retention<T> s, RetentionResults<T> out, T* inverse_c, T* c_dr) {
  const std::int64_t row = std::int64_t(blockIdx.x) * kRows + threadIdx.y;
  const bool inside = row < s.batch * s.heads * s.n;
  const std::int64_t b = row / (s.heads * s.n), h = row / s.n % s.heads, i = row % s.n;
  const bool differentiate = s.root_s && s.divisor_gradient;
  T sum = T(0);
  if (inside && differentiate) {
    const RetentionLayout& l = out.do_layout;
    const T* const o_i = out.o + b * s.o.batch + h * s.o.head + i * s.o.time;
    const T* const do_i = out.do_ + b * l.batch + h * l.head + i * l.time;
    for (std::int64_t e = threadIdx.x; e < s.dv; e += kLanes) sum += do_i[e] * o_i[e];
  }
  sum = sum_of_row(sum);
  if (!inside || threadIdx.x > 0) return;
  const T r = out.row_sums[row], root_s = s.root_s ? s.root_s[h * s.n + i] : T(1);
  inverse_c[row] = s.root_s ? inverse_divisor(r, root_s) : T(1);
  const bool constant = !differentiate || (r < 0 ? -r : r) < root_s;
  c_dr[row] = constant ? T(0) : r > 0 ? -sum : r < 0 ? sum : T(0) * sum;
}

template <class T>
unsigned blocks_of_rows(const Retention<T>& s) {
  return static_cast<unsigned>((s.batch * s.heads * s.n + kRows - 1) / kRows);
}

/// Scratch memory for `count` numbers.
template <class T>
Scratch take(Hip hip, std::int64_t count) {
  return Scratch(hip, count * static_cast<std::int64_t>(sizeof(T)));
}

/// Eq. (7), the states between chunks.
template <class T>
Walk<T> states(const Retention<T>& s, const RetentionTensors<T>& in, T* between_S, T* between_z) {
  Walk<T> w;
  w.x = in.k, w.x_layout = s.k, w.y = in.v, w.y_layout = s.v;
  w.S = in.S, w.z = in.z, w.between_S = between_S, w.between_z = between_z;
  return w;
}

template <class T>
Chunks<T> chunks_of(const Retention<T>& s) {
  return Chunks<T>(s, s.n < s.chunk && s.n > 0 ? s.n : s.chunk);
}

}  // namespace

template <class T>
void retention(Hip hip, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionOutput<T>& out) {
  const Chunks<T> all = chunks_of(s);
  const std::int64_t heads = all.heads(), borders = heads * all.borders(), size = s.dk * s.dv;
  const Scratch between_S = take<T>(hip, borders * size), between_z = take<T>(hip, borders * s.dk);
  const Scratch A = take<T>(hip, heads * all.count * all.chunk * all.chunk);

  Walk<T> w = states(s, in, between_S.as<T>(), between_z.as<T>());
  w.end_S = out.S, w.end_z = out.z;
  walk(hip, all, w);
  if (heads * s.n == 0) return;

  const Scores<T> QK{in.q, in.k, s.q, s.k, s.dk, nullptr, nullptr, A.as<T>()};
  scores(hip, all, {QK, {}}, 1);
  const Borders<T> S{in.S, between_S.as<T>(), size}, z{in.z, between_z.as<T>(), s.dk};
  sum_scores<<<blocks_of_rows(s), dim3(kLanes, kRows), 0, stream_of(hip)>>>(all, in.q, z, A.as<T>(),
                                                                            out.row_sums);
  check_launch("retention, row sums");

  Mixture<T> o;  // o_i = (gamma^(i+1) q_i S + A_i V) / c_i
  o.x = in.q, o.x_layout = s.q, o.depth = s.dk, o.S = S;
  o.scores = A.as<T>(), o.y = in.v, o.y_layout = s.v;
  o.row_sums = out.row_sums, o.root_s = s.root_s;
  o.out = out.o, o.out_layout = s.o, o.columns = s.dv;
  mix(hip, all, {o, {}, {}}, 1);
}

template <class T>
void retention_grad(Hip hip, const Retention<T>& s, const RetentionTensors<T>& in,
                    const RetentionResults<T>& out, const RetentionGradients<T>& to) {
  const Chunks<T> all = chunks_of(s);
  const std::int64_t heads = all.heads(), borders = heads * all.borders(), size = s.dk * s.dv;
  const std::int64_t square = heads * all.count * all.chunk * all.chunk;
  const Scratch S = take<T>(hip, borders * size), z = take<T>(hip, borders * s.dk);
  const Scratch dS = take<T>(hip, borders * size), dz = take<T>(hip, borders * s.dk);
  const Scratch A = take<T>(hip, square), dA = take<T>(hip, square);
  const Scratch divisors = take<T>(hip, 2 * heads * s.n);
  T *const inverse_c = divisors.as<T>(), *const c_dr = inverse_c + heads * s.n;

  if (heads * s.n > 0) {
    read_outputs<<<blocks_of_rows(s), dim3(kLanes, kRows), 0, stream_of(hip)>>>(s, out, inverse_c, c_dr);
    check_launch("retention_grad, divisors");
  }
  walk(hip, all, states(s, in, S.as<T>(), z.as<T>()));
  Walk<T> w;  // dS = sum of gamma^(i+1) q_i^T dU_i + gamma^C' dS
  w.x = in.q, w.x_layout = s.q, w.y = out.do_, w.y_layout = out.do_layout, w.backwards = true;
  w.factors = inverse_c, w.weights = c_dr;
  w.between_S = dS.as<T>(), w.between_z = dz.as<T>(), w.end_S = to.dS, w.end_z = to.dz;
  walk(hip, all, w);
  if (heads * s.n == 0) return;

  // A_ij / c_i, as it meets do and not dU, and dA = (dU V^T + dr 1^T) . D
  const Scores<T> QK{in.q, in.k, s.q, s.k, s.dk, inverse_c, nullptr, A.as<T>()};
  const Scores<T> dUV{out.do_, in.v, out.do_layout, s.v, s.dv, inverse_c, c_dr, dA.as<T>()};
  scores(hip, all, {QK, dUV}, 2);

  Mixture<T> dq;  // gamma^(i+1) (dU_i S^T + dr_i z) + dA_i K
  dq.x = out.do_, dq.x_layout = out.do_layout, dq.depth = s.dv, dq.transposed = true;
  dq.S = {in.S, S.as<T>(), size}, dq.z = {in.z, z.as<T>(), s.dk};
  dq.factors = inverse_c, dq.weights = c_dr;
  dq.scores = dA.as<T>(), dq.y = in.k, dq.y_layout = s.k;
  dq.out = to.dq, dq.out_layout = to.q, dq.columns = s.dk;

  Mixture<T> dk;  // gamma^(C'-1-i) (v_i dS^T + dz) + dA^T_i Q
  dk.x = in.v, dk.x_layout = s.v, dk.depth = s.dv, dk.transposed = true, dk.border = Border::after;
  dk.S = {nullptr, dS.as<T>(), size}, dk.z = {nullptr, dz.as<T>(), s.dk};
  dk.scores = dA.as<T>(), dk.future = true, dk.y = in.q, dk.y_layout = s.q;
  dk.out = to.dk, dk.out_layout = to.k, dk.columns = s.dk;

  Mixture<T> dv;  // gamma^(C'-1-i) k_i dS + A^T_i dU
  dv.x = in.k, dv.x_layout = s.k, dv.depth = s.dk, dv.border = Border::after;
  dv.S = {nullptr, dS.as<T>(), size};
  dv.scores = A.as<T>(), dv.future = true, dv.y = out.do_, dv.y_layout = out.do_layout;
  dv.out = to.dv, dv.out_layout = to.v, dv.columns = s.dv;
  mix(hip, all, {dv, dq, dk}, 3);
}

#define RETNET_RETENTION(T)                                                             \
  template void retention<T>(Hip, const Retention<T>&, const RetentionTensors<T>&,      \
                             const RetentionOutput<T>&);                                \
  template void retention_grad<T>(Hip, const Retention<T>&, const RetentionTensors<T>&, \
                                  const RetentionResults<T>&, const RetentionGradients<T>&);
RETNET_RETENTION(float)
RETNET_RETENTION(double)

}  // namespace retnet::kernels
