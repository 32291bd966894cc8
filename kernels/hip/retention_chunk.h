/// @file
/// What the kernels of chunkwise retention share. All chunks of all heads are worked on at once, so what lies
/// between them goes through memory: the states at the borders between chunks, N / C dk dv numbers a head,
/// and the scores within chunks, N C.
#pragma once

#include "kernels/hip/tile.h"
#include "kernels/retention.h"

namespace retnet::kernels {

/// Tiles of a side that n elements take.
RN_HD inline std::int64_t tiles(std::int64_t n, int side) { return (n + side - 1) / side; }

/// Tiles that leave work for fewer blocks than this are not chosen where smaller ones are.
constexpr std::int64_t kManyBlocks = 128;

/// A call's sizes, cut into chunks.
template <class T>
struct Chunks {
  Retention<T> s;
  std::int64_t chunk = 0, count = 0;
  std::int64_t powers_row = 0;  ///< powers of one head
  /// The strip of each chunk whose steps scores and outputs are wanted of: where it begins, and its rows.
  std::int64_t strip = 0, strip_rows = 0;

  /// @param chunk  at most s.chunk, whose powers are used
  Chunks(const Retention<T>& s, std::int64_t chunk)
      : s(s), chunk(chunk), count((s.n + chunk - 1) / chunk), powers_row(s.chunk + 1), strip_rows(chunk) {}

  RN_HD std::int64_t heads() const { return s.batch * s.heads; }
  RN_HD std::int64_t borders() const { return count > 0 ? count - 1 : 0; }
};

/// One chunk of one head of one sequence.
template <class T>
struct Chunk {
  unsigned head, b, h;
  int index, length;
  std::int64_t first;
  const T* powers;  ///< gamma^0 ..

  __device__ Chunk(const Chunks<T>& all, unsigned head, int index)
      : head(head),
        b(head / narrow(all.s.heads)),
        h(head % narrow(all.s.heads)),
        powers(all.s.powers + h * all.powers_row) {
    move_to(all, index);
  }
  /// Another chunk of the head.
  __device__ void move_to(const Chunks<T>& all, int to) {
    index = to;
    first = index * all.chunk;
    length = static_cast<int>(all.s.n - first < all.chunk ? all.s.n - first : all.chunk);
  }
  /// The row of the chunk's first step.
  template <class P>
  __device__ P* rows(P* x, const RetentionLayout& l) const {
    return x + b * l.batch + h * l.head + first * l.time;
  }
  /// The number of the chunk's first step, in an array [B, H, N] or null.
  template <class P>
  __device__ P* steps(P* x, std::int64_t n) const {
    return x ? x + head * n + first : nullptr;
  }
};

/// How a step's distance from a border of its chunk decays: gamma^(i+1) from the state before, gamma^(C'-1-i)
/// to the state after.
enum class Border { before, after };

/// The decay between a border of the chunk and step i.
template <class T>
__device__ T decay(const Chunk<T>& chunk, Border border, std::int64_t i) {
  return chunk.powers[border == Border::before ? i + 1 : chunk.length - 1 - i];
}

/// Whether a step has nothing left of one that far back: the decay has become 0.
template <class T>
__device__ bool out_of_reach(const Chunk<T>& chunk, std::int64_t distance) {
  return distance > 0 && !(chunk.powers[distance] > T(0));
}

/// States, or rows z, or gradients of either: `size` numbers for each border between chunks of each head, and
/// for the border before the first chunk.
template <class T>
struct Borders {
  const T* edge = nullptr;     ///< [heads, size]; null: 0
  const T* between = nullptr;  ///< [heads, borders, size]
  std::int64_t size = 0;

  /// Of the state before or after a chunk; null: 0, as is the gradient of what is after the last chunk.
  __device__ const T* at(const Chunks<T>& all, std::int64_t head, std::int64_t chunk, Border border) const {
    const std::int64_t index = border == Border::before ? chunk - 1 : chunk;
    if (index < 0) return edge ? edge + head * size : nullptr;
    return index < all.borders() ? between + (head * all.borders() + index) * size : nullptr;
  }
};

/// Operand whose X(., p) is multiplied by the decay between step p of a chunk and a border of it, and by a
/// factor of the step.
template <class T>
struct Decayed : Operand<T> {
  static constexpr bool kScaled = true;
  struct Factor {
    T power, of_step;  ///< apart, so that what loads them need not wait to multiply
  };
  const T* powers = nullptr;  ///< of step 0; those of the next ones follow forwards or backwards
  int direction = 1, steps = 0;
  const T* factors = nullptr;  ///< of the chunk's steps; null: 1

  __device__ Decayed() {}
  __device__ Decayed(const Operand<T>& x, const Chunk<T>& chunk, Border border, const T* factors)
      : Operand<T>(x),
        powers(chunk.powers + (border == Border::before ? 1 : chunk.length - 1)),
        direction(border == Border::before ? 1 : -1),
        steps(chunk.length),
        factors(factors) {}
  __device__ Factor factor(int p) const {
    if (p >= steps) return {T(0), T(0)};
    return {powers[direction * p], factors ? factors[p] : T(1)};
  }
};

/// 1 / c, c = max(|r|, sqrt(s)), Eq. (R4); NaN if the row sum r is.
template <class T>
__device__ T inverse_divisor(T row_sum, T root_s) {
  const T size = row_sum < 0 ? -row_sum : row_sum;
  return T(1) / (size < root_s ? root_s : size);
}

/// A walk over the chunks of every head that adds up outer products x_i^T y_i, decayed: forwards the states,
/// Eq. (7), from x = k and y = v; backwards their gradients, Eq. (G12), from x = q and y = do.
template <class T>
struct Walk {
  const T *x = nullptr, *y = nullptr;  ///< rows of dk and of dv elements
  RetentionLayout x_layout, y_layout;
  bool backwards = false;
  const T* factors = nullptr;                    ///< [B, H, N] of each product; null: 1
  const T* weights = nullptr;                    ///< [B, H, N] of x_i in z, besides the factors
  const T *S = nullptr, *z = nullptr;            ///< where it begins; null: 0
  T *between_S = nullptr, *between_z = nullptr;  ///< [B, H, borders, dk, dv] and without dv; null: not wanted
  T *end_S = nullptr, *end_z = nullptr;          ///< [B, H, dk, dv] and without dv; null: not wanted
};
template <class T>
void walk(Hip hip, const Chunks<T>& all, const Walk<T>& w);

/// A matrix of products of a chunk's steps with each other, under the mask:
/// M[i, j] = gamma^(i-j) factors_i (x_i y_j + added_i) for j <= i, else 0.
template <class T>
struct Scores {
  const T *x = nullptr, *y = nullptr;  ///< rows of `depth` elements
  RetentionLayout x_layout, y_layout;
  std::int64_t depth = 0;
  const T *factors = nullptr, *added = nullptr;  ///< [B, H, N]; null: 1 and 0
  T* to = nullptr;                               ///< [B, H, chunks, rows of the strip, C]
};
/// Any number of them of at most 2 in one launch.
template <class T>
void scores(Hip hip, const Chunks<T>& all, const Scores<T> (&m)[2], int count);

/// What a chunk's steps get from a state and from each other:
/// out_i = whole_i (decay_i factors_i (x_i S + weights_i z) + sum over j of M[i, j] y_j).
template <class T>
struct Mixture {
  const T* x = nullptr;  ///< rows of as many elements as S has rows
  RetentionLayout x_layout;
  std::int64_t depth = 0;
  Borders<T> S;             ///< [dk, dv]
  bool transposed = false;  ///< x_i S^T instead
  Borders<T> z;             ///< as long as out_i; without between and edge: no such term
  Border border = Border::before;
  const T *factors = nullptr, *weights = nullptr;  ///< [B, H, N]; null: 1
  const T* scores = nullptr;                       ///< M [B, H, chunks, rows of the strip, C]
  bool future = false;                             ///< M^T instead; the strip is the whole chunk then
  const T* y = nullptr;                            ///< rows as long as out_i
  RetentionLayout y_layout;
  const T *row_sums = nullptr, *root_s = nullptr;  ///< whole_i = 1 / c_i of these; null: 1
  T* out = nullptr;
  RetentionLayout out_layout;
  std::int64_t columns = 0;
};
/// At most 3 of them in one launch.
template <class T>
void mix(Hip hip, const Chunks<T>& all, const Mixture<T> (&m)[3], int count);

}  // namespace retnet::kernels
