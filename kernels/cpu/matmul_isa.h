/// @file
/// The part of the matrix product that depends on the instruction set: its innermost loops and the copies
/// that feed them, as a table of functions. A build for one machine has one such table, a portable build one
/// for each instruction set that it may meet (matmul_isa.cpp compiled several times).
#pragma once

#include "kernels/cpu/simd.h"

namespace retnet::kernels {

/// Depth of one slice of k. The slices are part of the meaning: an element of C is
/// (..((C + s_0) + s_1) + ..), where s_i is the sum over slice i in increasing p, so kSlice is one constant
/// for all. A slice of B two vectors wide, 16 or 32 KiB, stays in the first-level cache while the rows of A
/// pass by.
inline constexpr std::int64_t kSlice = 256;

/// The most rows that a kernel has, and the most columns a strip of B can have, over all instruction sets.
inline constexpr int kMostRows = 14, kMostStrip = 8 * 64 / sizeof(float);

/// Rows cut into bands as Bands does it, in numbers alone: no inline function may enter these tables.
struct BandCounts {
  std::int64_t count, small, larger;  ///< the first `larger` bands have small + 1 rows
};

/// Functions for operands stored as T and sums of type A.
template <class T, class A = accum_t<T>>
struct MatmulIsa {
  /// C[rows, width] (+)= A[rows, depth] B[depth, width]. A has any strides, rows of B are contiguous and
  /// b_row apart; rows and width belong to the kernel.
  using Micro = void (*)(std::int64_t depth, const A* a, std::int64_t a_row, std::int64_t a_col, const A* b,
                         std::int64_t b_row, A* c, std::int64_t c_row, bool add);
  Micro micro[kMostRows];  ///< [r - 1] computes r rows, for r = 1 .. rows
  int width[kMostRows];    ///< of so many columns
  /// The same over column_width columns for B whose columns are contiguous and b_col apart, 1 .. column_rows
  /// rows.
  using Column = void (*)(std::int64_t depth, const A* a, std::int64_t a_row, std::int64_t a_col, const T* b,
                          std::int64_t b_col, A* c, std::int64_t c_row, bool add);
  Column column[2];
  int column_rows, column_width;
  int rows;
  int strip;  ///< columns of B that are packed at a time: a multiple of every width

  /// Copies A[all rows of the bands, depth] to one band after the other, each [depth, its rows].
  void (*pack_a)(A* packed, const T* a, std::int64_t a_row, std::int64_t a_col, const BandCounts& bands,
                 std::int64_t depth);
  /// Copies B[depth, columns], columns <= strip, to dense panels [depth, width]; zeros fill up the last one.
  void (*pack_b)(A* packed, std::int64_t width, const T* b, std::int64_t b_row, std::int64_t b_col,
                 std::int64_t columns, std::int64_t depth);
};

inline namespace RETNET_ISA {
/// The table of the instruction set that the including file is compiled for.
template <class T>
const MatmulIsa<T>& compiled_isa();
}  // namespace RETNET_ISA

#if defined(RETNET_MATMUL_DISPATCH)
namespace avx2 {
template <class T>
const MatmulIsa<T>& compiled_isa();
}
namespace avx512 {
template <class T>
const MatmulIsa<T>& compiled_isa();
}
#endif

/// The best table for the machine that runs this.
template <class T>
const MatmulIsa<T>& matmul_isa() {
#if defined(RETNET_MATMUL_DISPATCH)
  static const MatmulIsa<T>& best = __builtin_cpu_supports("avx512f") ? avx512::compiled_isa<T>()
                                    : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
                                        ? avx2::compiled_isa<T>()
                                        : compiled_isa<T>();
  return best;
#else
  return compiled_isa<T>();
#endif
}

}  // namespace retnet::kernels
