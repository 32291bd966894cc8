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

/// Distance between packed bands, Order::columns. Copies move whole vectors and so end up to one vector late.
template <class A>
inline constexpr std::int64_t kBandStep = kRows* kSlice + kLanes<A>;

/// Elements that a packed block of `rows` rows takes, in either order.
template <class A>
std::int64_t packed_a_size(std::int64_t rows) {
  return std::max(rows * kRowStep<A>, Bands(rows).count * kBandStep<A>);
}

/// Where a band of the packed block begins.
template <class A>
const A* packed_band(const A* packed, Order order, const Bands& bands, std::int64_t band) {
  return packed + (order == Order::rows ? bands.begin(band) * kRowStep<A> : band * kBandStep<A>);
}

/// Copies `count` elements `step` apart, 1 <= count, into consecutive ones.
template <class T, class A>
inline void gather(A* to, const T* from, std::int64_t step, std::int64_t count) {
  constexpr std::int64_t L = kLanes<A>;
  if (step == 1 && count >= L) {
    for (std::int64_t p = 0; p + L <= count; p += L) store<A>(to + p, load(from + p));
    store<A>(to + count - L, load(from + count - L));  // the rest, overlapping what is already there
  } else {
    for (std::int64_t p = 0; p < count; ++p) to[p] = static_cast<A>(from[p * step]);
  }
}

/// Packs A[rows, depth] by rows.
template <class T, class A>
void pack_a_rows(A* packed, const T* a, std::int64_t a_row, std::int64_t a_col, std::int64_t rows,
                 std::int64_t depth) {
  for (std::int64_t i = 0; i < rows; ++i) gather(packed + i * kRowStep<A>, a + i * a_row, a_col, depth);
}

/// Packs A[rows, depth], whose columns are contiguous in memory (a_row = 1), by columns within each band.
template <class T, class A>
void pack_a_columns(A* packed, const T* a, std::int64_t a_col, const Bands& bands, std::int64_t rows,
                    std::int64_t depth) {
  constexpr std::int64_t L = kLanes<A>;
  for (std::int64_t p = 0; p < depth; ++p)
    for (std::int64_t band = 0; band < bands.count; ++band) {
      const std::int64_t begin = bands.begin(band), size = bands.size(band);
      const T* from = a + p * a_col + begin;
      A* to = packed + band * kBandStep<A> + p * size;
      // A whole vector may hold elements of the next band, which the next column overwrites, but none past
      // the row.
      std::int64_t i = 0;
      for (; i < size && begin + i + L <= rows; i += L) store<A>(to + i, load(from + i));
      for (; i < size; ++i) to[i] = static_cast<A>(from[i]);
    }
}

/// Packs the L columns of B at `b`, contiguous along p (b_row = 1), by transposing L x L blocks in registers.
/// Columns from `width` on become zero.
template <class T, class A>
void pack_b_transposed(A* packed, const T* b, std::int64_t b_col, std::int64_t width, std::int64_t depth) {
  constexpr int L = kLanes<A>;
  std::int64_t p = 0;
  for (; p + L <= depth; p += L) {
    Vec<A> block[L];
    for (int j = 0; j < L; ++j) block[j] = j < width ? load(b + p + j * b_col) : Vec<A>{};
    transpose<A>(block);
    for (int q = 0; q < L; ++q) store<A>(packed + (p + q) * kPanel<A>, block[q]);
  }
  for (; p < depth; ++p)
    for (int j = 0; j < L; ++j)
      packed[p * kPanel<A> + j] = j < width ? static_cast<A>(b[p + j * b_col]) : A(0);
}

/// Packs B[depth, width], 1 <= width <= kPanel, into [depth, kPanel]. Columns from `width` on become zero;
/// what is computed from them is thrown away.
template <class T, class A>
void pack_b(A* packed, const T* b, std::int64_t b_row, std::int64_t b_col, std::int64_t width,
            std::int64_t depth) {
  constexpr std::int64_t N = kPanel<A>, L = kLanes<A>;
  if (b_col == 1 && width == N) {
    for (std::int64_t p = 0; p < depth; ++p)
      for (std::int64_t j = 0; j < N; j += L) store<A>(packed + p * N + j, load(b + p * b_row + j));
  } else if (b_row == 1) {
    for (std::int64_t j = 0; j < N; j += L)
      pack_b_transposed(packed + j, b + j * b_col, b_col, width - j, depth);
  } else {
    for (std::int64_t p = 0; p < depth; ++p) {
      gather(packed + p * N, b + p * b_row, b_col, width);
      std::fill(packed + p * N + width, packed + (p + 1) * N, A(0));
    }
  }
}

}  // namespace retnet::kernels
