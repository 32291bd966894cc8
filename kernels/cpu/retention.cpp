// Chunkwise retention, Eq. (7), one head of one sequence per thread, chunk after chunk. Everything between
// reading q, k, v and writing o stays in a scratch that fits the second-level cache. The gradient is derived
// in docs/chunkwise.md; names: d = gradient, U = o before its division by c, S = state.

#include "kernels/retention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/lanes.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// A dense or strided matrix; a transposed one is a choice of strides.
template <class T>
struct Matrix {
  T* at;
  std::int64_t row, col = 1;

  Matrix<T> transposed() const { return {at, col, row}; }
};

/// C[m, n] (+)= A[m, k] B[k, n]; small enough to run on the calling thread alone.
template <class T>
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> c, Matrix<const T> a,
              Matrix<const T> b, bool accumulate = false) {
  Matmul s;
  s.m = m, s.n = n, s.k = k;
  s.a_row = a.row, s.a_col = a.col, s.b_row = b.row, s.b_col = b.col, s.c_row = c.row;
  s.accumulate = accumulate;
  matmul(Cpu{}, s, c.at, a.at, b.at);
}

/// Rows of x scaled one by one: y[i, :] = w[i] x[i, :].
template <class T>
void scale_rows(std::int64_t rows, std::int64_t columns, T* y, const T* w, Matrix<const T> x) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) y[i * columns + j] = w[i] * x.at[i * x.row + j];
}

/// y = w y + sum of the rows of x[rows, columns].
template <class T>
void decay_and_add_rows(std::int64_t rows, std::int64_t columns, T* y, T w, const T* x) {
  for (std::int64_t j = 0; j < columns; ++j) y[j] *= w;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) y[j] += x[i * columns + j];
}

/// One chunk of one head: where its rows begin, how many there are, and the decays that belong to it.
template <class T>
struct Chunk {
  std::int64_t length;  // C' <= C
  Matrix<const T> q, k, v;
  const T *mask, *from_state, *to_state, *root_s;
  std::int64_t mask_row;
  T whole;  // gamma^C'
};

template <class T>
Chunk<T> chunk_at(const Retention<T>& s, const RetentionTensors<T>& in, std::int64_t bh, std::int64_t first) {
  const std::int64_t b = bh / s.heads, h = bh % s.heads, length = std::min(s.chunk, s.n - first);
  const auto rows = [&](const T* x, const RetentionLayout& l) {
    return Matrix<const T>{x + b * l.batch + h * l.head + first * l.time, l.time};
  };
  const T* from_state = s.from_state + h * s.chunk;
  return {length,
          rows(in.q, s.q),
          rows(in.k, s.k),
          rows(in.v, s.v),
          s.mask + h * s.chunk * s.chunk,
          from_state,
          s.to_state + h * s.chunk + (s.chunk - length),
          s.root_s ? s.root_s + h * s.n + first : nullptr,
          s.chunk,
          from_state[length - 1]};
}

/// The calling thread's memory, kept from call to call, handed out piece by piece.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t size) {
    thread_local std::vector<T> memory;
    if (static_cast<std::int64_t>(memory.size()) < size) memory.resize(static_cast<std::size_t>(size));
    next_ = memory.data();
  }
  T* take(std::int64_t size) {
    T* piece = next_;
    next_ += size;
    return piece;
  }

 private:
  T* next_;
};

/// scores = Q K^T . D [C', C'], the future zero.
template <class T>
void masked_scores(const Chunk<T>& c, std::int64_t dk, T* scores) {
  multiply<T>(c.length, c.length, dk, {scores, c.length}, c.q, c.k.transposed());
  for (std::int64_t i = 0; i < c.length; ++i)
    for (std::int64_t j = 0; j < c.length; ++j) scores[i * c.length + j] *= c.mask[i * c.mask_row + j];
}

/// S = gamma^C' S + sum of gamma^(C'-1-i) k_i^T v_i, and z likewise; `k_decayed` is scratch [C', dk].
template <class T>
void advance_state(const Chunk<T>& c, std::int64_t dk, std::int64_t dv, T* k_decayed, T* S, T* z) {
  scale_rows(c.length, dk, k_decayed, c.to_state, c.k);
  for (std::int64_t i = 0; i < dk * dv; ++i) S[i] *= c.whole;
  multiply<T>(dk, dv, c.length, {S, dv}, {k_decayed, 1, dk}, c.v, true);
  decay_and_add_rows(c.length, dk, z, c.whole, k_decayed);
}

/// c_i = max(|q_i z_i|, sqrt(s_i)), Eq. (R4); NaN if the row sum is.
template <class T>
T divisor(T row_sum, T root_s) {
  const T size = std::abs(row_sum);
  return size < root_s ? root_s : size;
}

template <class T>
void forward_chunk(const Chunk<T>& c, std::int64_t dk, std::int64_t dv, const T* S, const T* z, T* scores,
                   T* q_decayed, Matrix<T> o, T* row_sums) {
  masked_scores(c, dk, scores);
  multiply<T>(c.length, dv, c.length, o, {scores, c.length}, c.v);  // Eq. (5): (Q K^T . D) V
  scale_rows(c.length, dk, q_decayed, c.from_state, c.q);
  multiply<T>(c.length, dv, dk, o, {q_decayed, dk}, {S, dv}, true);  // Eq. (7): gamma^(i+1) q_i S_prev
  for (std::int64_t i = 0; i < c.length; ++i) {
    const T *a = scores + i * c.length, *q = q_decayed + i * dk;
    row_sums[i] = lane_sum<T>(c.length, [=](std::int64_t j) { return a[j]; }) +
                  lane_sum<T>(dk, [=](std::int64_t j) { return q[j] * z[j]; });
    if (!c.root_s) continue;
    const T scale = T(1) / divisor(row_sums[i], c.root_s[i]);
    for (std::int64_t j = 0; j < dv; ++j) o.at[i * o.row + j] *= scale;
  }
}

/// Eq. (G13): dU = do / c and, when c is differentiated, the gradient of the row sums, from o = U / c:
/// dc = -sum(do o) / c, which reaches q_i z_i where it, and not sqrt(s_i), was the larger.
template <class T>
void divisor_grad(const Chunk<T>& c, std::int64_t dv, bool differentiate, const T* row_sums,
                  Matrix<const T> o, Matrix<const T> dO, T* dU, T* dr) {
  for (std::int64_t i = 0; i < c.length; ++i) {
    const T *o_i = o.at + i * o.row, *do_i = dO.at + i * dO.row;
    const T r = row_sums[i], scale = c.root_s ? T(1) / divisor(r, c.root_s[i]) : T(1);
    for (std::int64_t j = 0; j < dv; ++j) dU[i * dv + j] = do_i[j] * scale;
    dr[i] = T(0);
    if (c.root_s && differentiate && !(std::abs(r) < c.root_s[i])) {
      const T dc = -scale * lane_sum<T>(dv, [=](std::int64_t j) { return do_i[j] * o_i[j]; });
      dr[i] = r > 0 ? dc : r < 0 ? -dc : T(0) * dc;
    }
  }
}

/// Where one chunk's gradients go, and what the later chunks left of the state's.
template <class T>
struct ChunkGradients {
  Matrix<T> dq, dk, dv;
  T *dS, *dz;
};

/// Eq. (G10) within the chunk and Eq. (G12) across its borders.
template <class T>
void backward_chunk(const Chunk<T>& c, std::int64_t dk, std::int64_t dv, const T* S, const T* z, const T* dU,
                    const T* dr, T* scores, T* dscores, T* rows, const ChunkGradients<T>& g) {
  const std::int64_t n = c.length;
  // dV = A^T dU + gamma^(C'-1-i) k_i dS
  masked_scores(c, dk, scores);
  multiply<T>(n, dv, n, g.dv, {scores, 1, n}, {dU, dv});
  scale_rows(n, dk, rows, c.to_state, c.k);
  multiply<T>(n, dv, dk, g.dv, {rows, dk}, {g.dS, dv}, true);
  // dA = (dU V^T + dr 1^T) . D
  multiply<T>(n, n, dv, {dscores, n}, {dU, dv}, c.v.transposed());
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      dscores[i * n + j] = (dscores[i * n + j] + dr[i]) * c.mask[i * c.mask_row + j];
  // dQ = dA K + gamma^(i+1) (dU S^T + dr z^T)
  multiply<T>(n, dk, n, g.dq, {dscores, n}, c.k);
  multiply<T>(n, dk, dv, {rows, dk}, {dU, dv}, {S, 1, dv});
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < dk; ++j)
      g.dq.at[i * g.dq.row + j] += c.from_state[i] * (rows[i * dk + j] + dr[i] * z[j]);
  // dK = dA^T Q + gamma^(C'-1-i) (V dS^T + 1 dz^T)
  multiply<T>(n, dk, n, g.dk, {dscores, 1, n}, c.q);
  multiply<T>(n, dk, dv, {rows, dk}, c.v, {g.dS, 1, dv});
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < dk; ++j)
      g.dk.at[i * g.dk.row + j] += c.to_state[i] * (rows[i * dk + j] + g.dz[j]);
  // dS_prev = gamma^C' dS + sum of gamma^(i+1) q_i^T dU_i, and dz likewise with dr
  scale_rows(n, dk, rows, c.from_state, c.q);
  for (std::int64_t i = 0; i < dk * dv; ++i) g.dS[i] *= c.whole;
  multiply<T>(dk, dv, n, {g.dS, dv}, {rows, 1, dk}, {dU, dv}, true);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < dk; ++j) rows[i * dk + j] *= dr[i];
  decay_and_add_rows(n, dk, g.dz, c.whole, rows);
}

}  // namespace

template <class T>
void retention(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, T* o, T* row_sums, T* S_next,
               T* z_next) {
  const std::int64_t dk = s.dk, dv = s.dv, C = std::min(s.chunk, s.n);
  parallel_for(s.batch * s.heads, s.n * (dk + dv) * C, [&](std::int64_t bh) {
    Scratch<T> scratch(C * (C + dk));
    T *scores = scratch.take(C * C), *rows = scratch.take(C * dk);
    T *S = S_next + bh * dk * dv, *z = z_next + bh * dk;
    std::copy_n(in.S + bh * dk * dv, dk * dv, S);
    std::copy_n(in.z + bh * dk, dk, z);
    T* o_bh = o + bh / s.heads * s.o.batch + bh % s.heads * s.o.head;
    for (std::int64_t first = 0; first < s.n; first += s.chunk) {
      const Chunk<T> c = chunk_at(s, in, bh, first);
      forward_chunk<T>(c, dk, dv, S, z, scores, rows, {o_bh + first * s.o.time, s.o.time},
                       row_sums + bh * s.n + first);
      advance_state(c, dk, dv, rows, S, z);
    }
  });
}

template <class T>
void retention_grad(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, const T* o, const T* row_sums,
                    const T* do_, const RetentionLayout& do_layout, T* dq, T* dk_, T* dv_, T* dS, T* dz) {
  const std::int64_t dk = s.dk, dv = s.dv, C = std::min(s.chunk, s.n), chunks = (s.n + s.chunk - 1) / s.chunk;
  parallel_for(s.batch * s.heads, 3 * s.n * (dk + dv) * C, [&](std::int64_t bh) {
    const std::int64_t states =
        std::max<std::int64_t>(1, chunks);  // without a step there is the first one only
    Scratch<T> scratch(states * dk * (dv + 1) + C * (2 * C + dk + dv + 1));
    T *S = scratch.take(states * dk * dv), *z = scratch.take(states * dk);
    T *scores = scratch.take(C * C), *dscores = scratch.take(C * C), *rows = scratch.take(C * dk);
    T *dU = scratch.take(C * dv), *dr = scratch.take(C);
    std::copy_n(in.S + bh * dk * dv, dk * dv, S);
    std::copy_n(in.z + bh * dk, dk, z);
    for (std::int64_t i = 0; i + 1 < chunks; ++i) {  // the state before every chunk, computed again
      std::copy_n(S + i * dk * dv, dk * dv, S + (i + 1) * dk * dv);
      std::copy_n(z + i * dk, dk, z + (i + 1) * dk);
      advance_state(chunk_at(s, in, bh, i * s.chunk), dk, dv, rows, S + (i + 1) * dk * dv, z + (i + 1) * dk);
    }
    const auto rows_of = [&](auto* x, const RetentionLayout& l, std::int64_t first) {
      using P = std::remove_pointer_t<decltype(x)>;
      return Matrix<P>{x + bh / s.heads * l.batch + bh % s.heads * l.head + first * l.time, l.time};
    };
    T *dS_bh = dS + bh * dk * dv, *dz_bh = dz + bh * dk;
    std::fill_n(dS_bh, dk * dv, T(0));
    std::fill_n(dz_bh, dk, T(0));
    for (std::int64_t i = chunks - 1; i >= 0; --i) {
      const std::int64_t first = i * s.chunk;
      const Chunk<T> c = chunk_at(s, in, bh, first);
      divisor_grad<T>(c, dv, s.divisor_gradient, row_sums + bh * s.n + first, rows_of(o, s.o, first),
                      rows_of(do_, do_layout, first), dU, dr);
      backward_chunk<T>(
          c, dk, dv, S + i * dk * dv, z + i * dk, dU, dr, scores, dscores, rows,
          {rows_of(dq, s.q, first), rows_of(dk_, s.k, first), rows_of(dv_, s.v, first), dS_bh, dz_bh});
    }
  });
}

#define RETNET_RETENTION(T)                                                                                 \
  template void retention<T>(Cpu, const Retention<T>&, const RetentionTensors<T>&, T*, T*, T*, T*);         \
  template void retention_grad<T>(Cpu, const Retention<T>&, const RetentionTensors<T>&, const T*, const T*, \
                                  const T*, const RetentionLayout&, T*, T*, T*, T*, T*);
RETNET_RETENTION(float)
RETNET_RETENTION(double)

}  // namespace retnet::kernels
