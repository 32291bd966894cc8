/// @file
/// The innermost loop of the matrix product: a block of C in registers, one slice of k at a time.
#pragma once

#include "kernels/cpu/simd.h"

namespace retnet::kernels {
inline namespace RETNET_ISA {

/// Rows of the block that lives in registers. With 32 registers: 14 rows of 2 vectors, 2 vectors of B and one
/// element of A, 31 in all; a step issues 28 products for 16 loads, so the multipliers and not the loads set
/// the pace. With 16 registers 6 x 2 leave room for the same three and one product.
inline constexpr int kRows = kVectorRegisters == 32 ? 14 : 6;

/// Vectors side by side in a block of `rows` rows. A sum is a chain of dependent additions, so a block of few
/// rows needs more columns to keep the multipliers busy.
constexpr int vectors(int rows) {
  const int wanted = kVectorRegisters / 2 / rows;
  return wanted >= 8 ? 8 : wanted >= 4 ? 4 : 2;
}

/// C[Rows, vectors(Rows) * kLanes] = A B over one slice, added to C if `add`. A [Rows, depth] has any
/// strides; B [depth, ..] has contiguous rows, b_row apart.
///
/// Each element is one chain of additions in order of p, whatever Rows is: this is what makes the bits of a
/// row independent of the rows around it.
template <class A, int Rows>
void micro_kernel(std::int64_t depth, const A* a, std::int64_t a_row, std::int64_t a_col, const A* b,
                  std::int64_t b_row, A* c, std::int64_t c_row, bool add) {
  constexpr int V = vectors(Rows);
  Vec<A> sum[Rows][V];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < V; ++v) sum[i][v] = Vec<A>{};
  // C is far away by the time it is written: ask for it now, a whole slice ahead.
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < V; ++v) __builtin_prefetch(c + i * c_row + v * kLanes<A>, 1);
  for (std::int64_t p = 0; p < depth; ++p) {
    Vec<A> b_p[V];
    for (int v = 0; v < V; ++v) b_p[v] = load(b + v * kLanes<A>);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < V; ++v) sum[i][v] += a[i * a_row] * b_p[v];  // one fused instruction
    a += a_col;
    b += b_row;
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < V; ++v) {
      A* const c_iv = c + i * c_row + v * kLanes<A>;
      store<A>(c_iv, add ? load(c_iv) + sum[i][v] : sum[i][v]);
    }
}

/// The most rows for which columns of B are read where they lie. Packing pays for more.
inline constexpr int kColumnRows = 2;

/// The same over two vectors for B whose columns are contiguous and b_col apart, as the weights of a linear
/// map are, in storage type T. They are transposed on the way. Columns that begin at the same place in their
/// pages or half pages compete for a few places of the cache; of those, a square as wide as a vector uses up
/// each line at once. The order of each sum is that of micro_kernel().
template <class T, int Rows, class A = accum_t<T>>
void column_kernel(std::int64_t depth, const A* a, std::int64_t a_row, std::int64_t a_col, const T* b,
                   std::int64_t b_col, A* c, std::int64_t c_row, bool add) {
  constexpr int V = 2, L = kLanes<A>, Q = kQuad<A>;
  Vec<A> sum[Rows][V];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < V; ++v) sum[i][v] = Vec<A>{};
  constexpr std::int64_t kHalfPage = 2048 / sizeof(T);
  std::int64_t p = 0;
  for (; b_col % kHalfPage == 0 && p + L <= depth; p += L, a += L * a_col, b += L)
    for (int v = 0; v < V; ++v) {
      Vec<A> b_p[L];
      for (int l = 0; l < L; ++l) b_p[l] = load(b + (v * L + l) * b_col);
      transpose<A>(b_p);
#pragma GCC unroll 16
      for (int l = 0; l < L; ++l)
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) sum[i][v] += a[i * a_row + l * a_col] * b_p[l];
    }
  for (; p + Q <= depth; p += Q, a += Q * a_col, b += Q)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec<A> b_p[Q];
      load_columns(b_p, b + v * L * b_col, b_col);
#pragma GCC unroll 4
      for (int q = 0; q < Q; ++q)
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) sum[i][v] += a[i * a_row + q * a_col] * b_p[q];
    }
  for (; p < depth; ++p, a += a_col, ++b)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec<A> b_p;
      for (int l = 0; l < L; ++l) b_p[l] = load_one(b + (v * L + l) * b_col);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) sum[i][v] += a[i * a_row] * b_p;
    }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < V; ++v) {
      A* const c_iv = c + i * c_row + v * L;
      store<A>(c_iv, add ? load(c_iv) + sum[i][v] : sum[i][v]);
    }
}

}  // namespace RETNET_ISA
}  // namespace retnet::kernels
