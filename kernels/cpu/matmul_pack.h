/// @file
/// Copies of blocks of A and B in the order in which the innermost loop reads them. Packing takes strides,
/// transposes and bf16 out of that loop, and turns reads scattered over many memory pages into one stream.
#pragma once

#include "kernels/cpu/matmul_micro.h"

namespace retnet::kernels {

/// A number of rows cut into bands of at most kRows, as equal as possible: 64 rows are 4 bands of 13 and one
/// of 12, which costs less than 4 of 14 and one of 8.
struct Bands {
  explicit Bands(std::int64_t rows)
      : count((rows + kRows - 1) / kRows), small(rows / count), larger(rows % count) {}
  std::int64_t begin(std::int64_t band) const { return band * small + std::min(band, larger); }
  std::int64_t size(std::int64_t band) const { return small + (band < larger ? 1 : 0); }

  std::int64_t count, small, larger;  ///< the first `larger` bands have small + 1 rows
};

/// Copies `count` elements `step` apart, 1 <= count, into consecutive ones.
template <class T, class A>
inline void gather(A* to, const T* from, std::int64_t step, std::int64_t count) {
  constexpr std::int64_t L = kLanes<A>;
  if (step == 1 && count >= L) {
    for (std::int64_t p = 0; p + L <= count; p += L) store<A>(to + p, load(from + p));
    if (count % L != 0)
      store<A>(to + count - L, load(from + count - L));  // the rest, overlapping what is already there
  } else {
    for (std::int64_t p = 0; p < count; ++p) to[p] = static_cast<A>(from[p * step]);
  }
}

/// to[i, j] = from[j, i] for i < rows, j < columns, where `from` has contiguous rows: L x L blocks are
/// transposed in registers. The last blocks overlap the ones before rather than reach outside.
template <class T, class A>
void copy_transposed(A* to, std::int64_t to_step, const T* from, std::int64_t from_step, std::int64_t rows,
                     std::int64_t columns) {
  constexpr std::int64_t L = kLanes<A>;
  if (rows < L || columns < L) {
    for (std::int64_t i = 0; i < rows; ++i) gather(to + i * to_step, from + i, from_step, columns);
    return;
  }
  for (std::int64_t next_j = 0; next_j < columns; next_j += L)
    for (std::int64_t next_i = 0; next_i < rows; next_i += L) {
      const std::int64_t i = std::min(next_i, rows - L), j = std::min(next_j, columns - L);
      Vec<A> block[L];
      for (std::int64_t q = 0; q < L; ++q) block[q] = load(from + (j + q) * from_step + i);
      transpose<A>(block);
      for (std::int64_t q = 0; q < L; ++q) store<A>(to + (i + q) * to_step + j, block[q]);
    }
}

/// Distance between rows of packed A: one cache line more than a slice, for rows a power of two apart would
/// compete for the same few sets of the cache.
template <class A>
inline constexpr std::int64_t kRowStep = kSlice + 64 / static_cast<std::int64_t>(sizeof(A));

/// Packs A[rows, depth] into rows kRowStep apart.
template <class T, class A>
void pack_a(A* packed, const T* a, std::int64_t a_row, std::int64_t a_col, std::int64_t rows,
            std::int64_t depth) {
  if (a_row == 1 && a_col != 1) return copy_transposed(packed, kRowStep<A>, a, a_col, rows, depth);
  for (std::int64_t i = 0; i < rows; ++i) gather(packed + i * kRowStep<A>, a + i * a_row, a_col, depth);
}

/// Distance between packed panels of B: again one cache line more than the panel.
template <class A>
inline constexpr std::int64_t kPanelStep = kSlice* kPanel<A> + 64 / static_cast<std::int64_t>(sizeof(A));

/// Packs B[depth, columns] into panels of kPanel columns, [depth, kPanel] each. The last panel is filled up
/// with zeros; what is computed from them is thrown away.
template <class T, class A>
void pack_b(A* packed, const T* b, std::int64_t b_row, std::int64_t b_col, std::int64_t columns,
            std::int64_t depth) {
  constexpr std::int64_t N = kPanel<A>;
  const std::int64_t panels = (columns + N - 1) / N;
  if (b_row == 1) {
    for (std::int64_t q = 0; q < panels; ++q)
      copy_transposed(packed + q * kPanelStep<A>, N, b + q * N * b_col, b_col, depth,
                      std::min(N, columns - q * N));
  } else {
    // All panels of a row in turn: each row may be in another memory page, and is visited once.
    for (std::int64_t p = 0; p < depth; ++p)
      for (std::int64_t q = 0; q < panels; ++q)
        gather(packed + q * kPanelStep<A> + p * N, b + p * b_row + q * N * b_col, b_col,
               std::min(N, columns - q * N));
  }
  A* const last = packed + (panels - 1) * kPanelStep<A>;
  const std::int64_t filled = columns - (panels - 1) * N;
  for (std::int64_t p = 0; p < depth; ++p) std::fill(last + p * N + filled, last + (p + 1) * N, A(0));
}

}  // namespace retnet::kernels
