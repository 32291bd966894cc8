/// @file
/// The innermost loop of the matrix product: a block of C in registers, one slice of k at a time.
#pragma once

#include <algorithm>
#include <array>

#include "kernels/cpu/simd.h"

namespace retnet::kernels {

/// Depth of one slice of k. A slice of B one panel wide, kSlice x kPanel, is 32 KiB and stays in the
/// first-level cache while all rows of A pass by. The slices are also part of the meaning: an element of C is
/// (..((C + s_0) + s_1) + ..), where s_i is the sum over slice i in increasing p, so kSlice is one constant
/// for all.
inline constexpr std::int64_t kSlice = 256;

/// Rows and columns of the block that lives in registers. With 32 registers: 14 x 2 accumulators, 2 vectors
/// of B and one element of A, 31 in all; a step issues 28 products for 16 loads, so the multipliers and not
/// the loads set the pace. With 16 registers 6 x 2 leave room for the same three and one product.
inline constexpr int kRows = kVectorRegisters == 32 ? 14 : 6;
template <class A>
inline constexpr std::int64_t kPanel = 2 * kLanes<A>;

/// Vectors side by side when B is read where it lies, for a block of `rows` rows. A sum is a chain of
/// dependent additions, so a block of few rows needs more columns to keep the multipliers busy.
constexpr int direct_vectors(int rows) {
  const int wanted = kVectorRegisters / 2 / rows;
  return wanted >= 8 ? 8 : wanted >= 4 ? 4 : 2;
}

/// C[Rows, Vectors * kLanes] = A B over one slice, added to C if `add`.  a: [Rows, depth], rows a_step apart;
/// b: [depth, Vectors * kLanes], rows b_step apart.
///
/// Each element is one chain of additions in order of p, whatever Rows and Vectors are: this is what makes
/// the bits of a row independent of the rows around it.
template <class A, int Rows, int Vectors>
void micro_kernel(std::int64_t depth, const A* a, std::int64_t a_step, const A* b, std::int64_t b_step, A* c,
                  std::int64_t c_step, bool add) {
  Vec<A> sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v) sum[i][v] = Vec<A>{};
  // C is far away by the time it is written: ask for it now, a whole slice ahead.
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v) __builtin_prefetch(c + i * c_step + v * kLanes<A>, 1);
  for (std::int64_t p = 0; p < depth; ++p) {
    Vec<A> b_p[Vectors];
    for (int v = 0; v < Vectors; ++v) b_p[v] = load(b + v * kLanes<A>);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < Vectors; ++v) sum[i][v] += a[i * a_step + p] * b_p[v];  // one fused instruction
    b += b_step;
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v) {
      A* c_iv = c + i * c_step + v * kLanes<A>;
      store<A>(c_iv, add ? load(c_iv) + sum[i][v] : sum[i][v]);
    }
}

template <class A>
using MicroKernel = void (*)(std::int64_t, const A*, std::int64_t, const A*, std::int64_t, A*, std::int64_t,
                             bool);

namespace detail {
template <class A, int... I>
constexpr std::array<MicroKernel<A>, sizeof...(I)> panel_kernels(std::integer_sequence<int, I...>) {
  return {micro_kernel<A, I + 1, 2>...};
}
template <class A, int... I>
constexpr std::array<MicroKernel<A>, sizeof...(I)> direct_kernels(std::integer_sequence<int, I...>) {
  return {micro_kernel<A, I + 1, direct_vectors(I + 1)>...};
}
}  // namespace detail

/// Kernels for 1 .. kRows rows, so that the last rows of a matrix need not be padded: over kPanel columns,
/// and over direct_vectors(rows) vectors of them.
template <class A>
inline constexpr auto kPanelKernels = detail::panel_kernels<A>(std::make_integer_sequence<int, kRows>());
template <class A>
inline constexpr auto kDirectKernels = detail::direct_kernels<A>(std::make_integer_sequence<int, kRows>());

}  // namespace retnet::kernels
