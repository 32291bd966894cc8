/// @file
/// Iterates over the rows of a pair of strided operands, in pieces that threads share.
#pragma once

#include "kernels/exec.h"
#include "kernels/parallel.h"

namespace retnet::kernels {

/// Calls `body(i, a_at, b_at, n)` for runs of n neighbours along the last dimension that together cover the
/// shape: i is the row-major index of the first one, a_at and b_at its offsets in the two operands, all in
/// elements.
template <class Body>
void for_each_row(int rank, const std::int64_t* dims, const std::int64_t* a_stride,
                  const std::int64_t* b_stride, Body&& body) {
  if (rank == 0) {
    body(std::int64_t{0}, std::int64_t{0}, std::int64_t{0}, std::int64_t{1});
    return;
  }
  const int last = rank - 1;
  const std::int64_t n = dims[last];
  std::int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= dims[d];
  if (rows == 0 || n == 0) return;
  // A piece of work is several short rows, or one block of a long row.
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  const std::int64_t rows_per_piece = blocks > 1 ? 1 : kBlock / n;
  const std::int64_t pieces = (rows + rows_per_piece - 1) / rows_per_piece * blocks;
  parallel_for(pieces, std::min(kBlock, rows_per_piece * n), [&](std::int64_t piece) {
    const std::int64_t begin = piece % blocks * kBlock, end = std::min(n, begin + kBlock);
    const std::int64_t first = piece / blocks * rows_per_piece, stop = std::min(rows, first + rows_per_piece);
    for (std::int64_t row = first; row < stop; ++row) {
      std::int64_t a_at = begin * a_stride[last], b_at = begin * b_stride[last], rest = row;
      for (int d = last - 1; d >= 0; --d) {
        a_at += rest % dims[d] * a_stride[d];
        b_at += rest % dims[d] * b_stride[d];
        rest /= dims[d];
      }
      body(row * n + begin, a_at, b_at, end - begin);
    }
  });
}

}  // namespace retnet::kernels
