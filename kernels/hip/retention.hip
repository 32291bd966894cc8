// Chunkwise retention, Eq. (7), and its gradient, (G10), (G12) and (G13), as derived in docs/chunkwise.md;
// the products are the kernels of retention_chunk.h. U = o before its division by c, C' = the length of a
// chunk. The parallel form, Eq. (5), is a single chunk of N steps, whose scores are computed and used a strip
// of rows at a time: nothing of N x N numbers exists.
//
// dU = do / c is never formed: 1 / c_i is a factor of row i in each product that dU takes part in. The
// gradient dr of the row sums is kept as c dr, so that it has the same factor.

#include "kernels/hip/block.h"
#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// A block works on kRows rows of one chunk or head, with a team of threads each.
constexpr int kRows = 8;

/// The blocks of `count` chunks or heads of n rows.
unsigned blocks_of_rows(std::int64_t count, std::int64_t n) { return narrow(count * tiles(n, kRows)); }

/// The row of this thread's team among the n of its chunk or head, and which of those that is.
struct Row {
  unsigned of, i;

  __device__ explicit Row(std::int64_t n) {
    const unsigned blocks = narrow(tiles(n, kRows));
    of = blockIdx.x / blocks, i = blockIdx.x % blocks * kRows + threadIdx.y;
  }
};

/// r_i = gamma^(i+1) q_i z + sum over j <= i of A[i, j]: what a column of ones beside V would give.
template <class T>
__global__ void sum_scores(Chunks<T> all, const T* q, Borders<T> z, const T* scores, T* row_sums) {
  const Row row(all.strip_rows);
  const int i = static_cast<int>(all.strip + row.i);
  const Chunk<T> chunk(all, row.of / narrow(all.count), static_cast<int>(row.of % narrow(all.count)));
  if (row.i >= all.strip_rows || i >= chunk.length) return;  // the whole team
  T sum = T(0);
  if (const T* const before = z.at(all, chunk.head, chunk.index, Border::before)) {
    const T* const q_i = chunk.rows(q, all.s.q) + i * all.s.q.time;
    for (int d = static_cast<int>(threadIdx.x); d < all.s.dk; d += Team::kThreadsEach)
      sum += q_i[d] * before[d];
    sum *= decay(chunk, Border::before, i);
  }
  const T* const A = scores + (row.of * all.strip_rows + row.i) * all.chunk;
#pragma unroll 4
  for (int j = static_cast<int>(threadIdx.x); j <= i; j += Team::kThreadsEach) sum += A[j];
  sum = Team::sum(sum);
  if (threadIdx.x == 0) chunk.steps(row_sums, all.s.n)[i] = sum;
}

/// Eq. (G13): 1 / c, and c dr from o = U / c: dc = -sum(do o) / c, which reaches the row sum r where it, and
/// not sqrt(s), was the larger.
template <class T>
__global__ void read_outputs(Retention<T> s, RetentionResults<T> out, T* inverse_c, T* c_dr) {
  const Row row(s.n);
  if (row.i >= s.n) return;  // the whole team
  const unsigned b = row.of / narrow(s.heads), h = row.of % narrow(s.heads);
  const std::int64_t i = row.i, at = row.of * s.n + i;
  const T r = out.row_sums[at], root_s = s.root_s ? s.root_s[h * s.n + i] : T(1);
  const bool differentiate = s.root_s && s.divisor_gradient;
  T sum = T(0);
  if (differentiate) {
    const RetentionLayout& l = out.do_layout;
    const T* const o_i = out.o + b * s.o.batch + h * s.o.head + i * s.o.time;
    const T* const do_i = out.do_ + b * l.batch + h * l.head + i * l.time;
#pragma unroll 4
    for (int e = static_cast<int>(threadIdx.x); e < s.dv; e += Team::kThreadsEach) sum += do_i[e] * o_i[e];
  }
  sum = Team::sum(sum);
  if (threadIdx.x > 0) return;
  inverse_c[at] = s.root_s ? inverse_divisor(r, root_s) : T(1);
  const bool constant = !differentiate || (r < 0 ? -r : r) < root_s;
  c_dr[at] = constant ? T(0) : r > 0 ? -sum : r < 0 ? sum : T(0) * sum;
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

/// Rows of a strip of the parallel form: enough for all heads together to fill the GPU, and a multiple of
/// every tile's.
std::int64_t rows_of_strip(std::int64_t heads, std::int64_t n) {
  constexpr std::int64_t enough = 8192, step = 128;
  const std::int64_t rows = (enough / heads + step - 1) / step * step;
  return rows < step ? step : rows < n ? rows : n;
}

/// Row sums and outputs of a strip of each chunk, Eq. (7), from the states S and z before the chunks.
/// @param A  where its scores go
template <class T>
void outputs(Hip hip, const Chunks<T>& all, const RetentionTensors<T>& in, const Borders<T>& S,
             const Borders<T>& z, T* A, const RetentionOutput<T>& out) {
  const Retention<T>& s = all.s;
  const Scores<T> QK{in.q, in.k, s.q, s.k, s.dk, nullptr, nullptr, A};
  scores(hip, all, {QK, {}}, 1);
  const unsigned blocks = blocks_of_rows(all.heads() * all.count, all.strip_rows);
  sum_scores<<<blocks, dim3(Team::kThreadsEach, kRows), 0, stream_of(hip)>>>(all, in.q, z, A, out.row_sums);
  check_launch("retention, row sums");

  Mixture<T> o;  // o_i = (gamma^(i+1) q_i S + A_i V) / c_i
  o.x = in.q, o.x_layout = s.q, o.depth = s.dk, o.S = S;
  o.scores = A, o.y = in.v, o.y_layout = s.v;
  o.row_sums = out.row_sums, o.root_s = s.root_s;
  o.out = out.o, o.out_layout = s.o, o.columns = s.dv;
  mix(hip, all, {o, {}, {}}, 1);
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
  if (heads * s.n > 0)
    outputs(hip, all, in, {in.S, between_S.as<T>(), size}, {in.z, between_z.as<T>(), s.dk}, A.as<T>(), out);
}

template <class T>
void retention_parallel(Hip hip, const Retention<T>& s, const RetentionTensors<T>& in,
                        const RetentionOutput<T>& out) {
  constexpr std::int64_t states_chunk = 128;  // the state is still Eq. (7)'s, taken in pieces
  Walk<T> w = states(s, in, static_cast<T*>(nullptr), static_cast<T*>(nullptr));
  w.end_S = out.S, w.end_z = out.z;
  walk(hip, Chunks<T>(s, s.n < states_chunk && s.n > 0 ? s.n : states_chunk), w);

  const std::int64_t heads = s.batch * s.heads;
  if (heads * s.n == 0) return;
  Chunks<T> all(s, s.n);
  const std::int64_t rows = rows_of_strip(heads, s.n);
  const Scratch A = take<T>(hip, heads * rows * s.n);
  all.strip_rows = rows;  // those past the end compute nothing
  for (all.strip = 0; all.strip < s.n; all.strip += rows)
    outputs(hip, all, in, {in.S, nullptr, s.dk * s.dv}, {in.z, nullptr, s.dk}, A.as<T>(), out);
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
    const dim3 teams(Team::kThreadsEach, kRows);
    read_outputs<<<blocks_of_rows(heads, s.n), teams, 0, stream_of(hip)>>>(s, out, inverse_c, c_dr);
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

#define RETNET_RETENTION(T)                                                                 \
  template void retention<T>(Hip, const Retention<T>&, const RetentionTensors<T>&,          \
                             const RetentionOutput<T>&);                                    \
  template void retention_parallel<T>(Hip, const Retention<T>&, const RetentionTensors<T>&, \
                                      const RetentionOutput<T>&);                           \
  template void retention_grad<T>(Hip, const Retention<T>&, const RetentionTensors<T>&,     \
                                  const RetentionResults<T>&, const RetentionGradients<T>&);
RETNET_RETENTION(float)
RETNET_RETENTION(double)

}  // namespace retnet::kernels
