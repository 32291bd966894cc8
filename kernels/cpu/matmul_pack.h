/// @file
/// Copies of blocks of A and B in the order in which the innermost loop reads them. Packing takes strides,
/// transposes and bf16 out of that loop, and turns reads scattered over many memory pages into one stream.
#pragma once

#include "kernels/cpu/matmul_isa.h"

namespace retnet::kernels {
inline namespace RETNET_ISA {

/// Rows are in different memory pages, where the processor does not look ahead by itself: so many are asked
/// for before they are needed.
inline constexpr std::int64_t kAhead = 8;
template <class T>
void ask_for(const T* row, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 64 / static_cast<std::int64_t>(sizeof(T)))
    __builtin_prefetch(row + i);
}

/// Copies `count` elements `step` apart into consecutive ones.
template <class T, class A>
void gather(A* to, const T* from, std::int64_t step, std::int64_t count) {
  constexpr std::int64_t L = kLanes<A>;
  if (step == 1 && count >= L) {
    for (std::int64_t p = 0; p + L <= count; p += L) store<A>(to + p, load(from + p));
    if (count % L != 0)
      store<A>(to + count - L, load(from + count - L));  // the rest, overlapping what is already there
  } else {
    for (std::int64_t p = 0; p < count; ++p) to[p] = load_one(from + p * step);
  }
}

/// to[i, j] = from[j, i] for i < rows, j < columns, where `from` has contiguous rows. The last blocks overlap
/// the ones before rather than reach outside.
template <class T, class A>
void copy_transposed(A* to, std::int64_t to_row, const T* from, std::int64_t from_row, std::int64_t rows,
                     std::int64_t columns) {
  constexpr std::int64_t L = kLanes<A>, Q = kQuad<A>;
  if (rows < Q || columns < L) {
    for (std::int64_t i = 0; i < rows; ++i) gather(to + i * to_row, from + i, from_row, columns);
    return;
  }
  for (std::int64_t next_j = 0; next_j < columns; next_j += L) {
    for (std::int64_t q = next_j + L; q < next_j + 2 * L && q < columns; ++q)
      ask_for(from + q * from_row, rows);
    for (std::int64_t next_i = 0; next_i < rows; next_i += Q) {
      const std::int64_t i = next_i + Q <= rows ? next_i : rows - Q;
      const std::int64_t j = next_j + L <= columns ? next_j : columns - L;
      Vec<A> block[Q];
      load_columns(block, from + j * from_row + i, from_row);
      for (std::int64_t q = 0; q < Q; ++q) store<A>(to + (i + q) * to_row + j, block[q]);
    }
  }
}

/// Rows of band number `band`, as Bands has it.
inline std::int64_t rows_of(const BandCounts& bands, std::int64_t band) {
  return bands.small + (band < bands.larger ? 1 : 0);
}

/// Copies `count` columns of one band, contiguous and a_col apart, the first `whole` of them by vectors.
template <class T, class A>
void copy_band(A* to, const T* from, std::int64_t a_col, std::int64_t rows, std::int64_t count,
               std::int64_t whole) {
  constexpr std::int64_t L = kLanes<A>;
  std::int64_t q = 0;
  for (; q < whole; ++q, to += rows, from += a_col)
    for (std::int64_t i = 0; i < rows; i += L) store<A>(to + i, load(from + i));
  for (; q < count; ++q, to += rows, from += a_col) gather(to, from, 1, rows);
}

/// MatmulIsa::pack_a for columns that are contiguous: a few at a time for all bands, because each may be in
/// another memory page. (One at a time would write to one line of every band, and those compete for a few
/// places of the cache.) Vectors may reach into the next column of their band, which is copied after them,
/// but not out of the band, and not out of A.
template <class T, class A>
void pack_columns(A* packed, const T* a, std::int64_t a_col, const BandCounts& bands, std::int64_t depth) {
  constexpr std::int64_t L = kLanes<A>, kTogether = 8;
  const std::int64_t all = bands.count * bands.small + bands.larger;
  for (std::int64_t p = 0; p < depth; p += kTogether, a += kTogether * a_col) {
    for (std::int64_t q = kTogether; q < 2 * kTogether && p + q < depth; ++q) ask_for(a + q * a_col, all);
    const std::int64_t count = p + kTogether <= depth ? kTogether : depth - p;
    for (std::int64_t band = 0, i = 0; band < bands.count; ++band) {
      const std::int64_t rows = rows_of(bands, band), reach = (rows + L - 1) / L * L;
      const std::int64_t left =
          depth - p + 1 - (reach + rows - 1) / rows;  // columns with `reach` behind them
      const std::int64_t whole = i + reach > all || left < 0 ? 0 : left < count ? left : count;
      copy_band(packed + i * depth + p * rows, a + i, a_col, rows, count, whole);
      i += rows;
    }
  }
}

/// MatmulIsa::pack_a. Rows are read a whole vector at a time: where they are a power of two apart, their
/// lines would not stay in the cache for a second visit.
template <class T, class A>
void pack_a(A* packed, const T* a, std::int64_t a_row, std::int64_t a_col, const BandCounts& bands,
            std::int64_t depth) {
  if (a_row == 1) return pack_columns(packed, a, a_col, bands, depth);
  constexpr std::int64_t L = kLanes<A>;
  for (std::int64_t band = 0; band < bands.count; ++band) {
    const std::int64_t rows = rows_of(bands, band), whole = (rows + L - 1) / L * L;
    std::int64_t p = 0;
    // Again whole vectors, up to where they would reach into the next band; from the last rows to the first,
    // which overwrite what is too much.
    for (; a_col == 1 && (p + L - 1) * rows + whole <= depth * rows; p += L)
      for (std::int64_t i = whole - L; i >= 0; i -= L) {
        Vec<A> block[L];
        for (std::int64_t l = 0; l < L; ++l) block[l] = load(a + (i + l < rows ? i + l : 0) * a_row + p);
        transpose<A>(block);
        for (std::int64_t l = 0; l < L; ++l) store<A>(packed + (p + l) * rows + i, block[l]);
      }
    for (; p < depth; ++p) gather(packed + p * rows, a + p * a_col, a_row, rows);
    a += rows * a_row, packed += rows * depth;
  }
}

/// MatmulIsa::pack_b.
template <class T, class A>
void pack_b(A* packed, std::int64_t width, const T* b, std::int64_t b_row, std::int64_t b_col,
            std::int64_t columns, std::int64_t depth) {
  const std::int64_t last = (columns - 1) / width;  // panel, which has `filled` columns
  const std::int64_t filled = columns - last * width;
  if (b_row == 1) {
    for (std::int64_t q = 0; q <= last; ++q)
      copy_transposed(packed + q * depth * width, width, b + q * width * b_col, b_col, depth,
                      q < last ? width : filled);
  } else {
    // All panels of a row in turn: each row may be in another memory page, and is visited once.
    const std::int64_t whole = b_col == 1 ? columns / width : 0;  // panels that are copied vector by vector
    for (std::int64_t p = 0; p < depth; ++p) {
      A* to = packed + p * width;
      const T* from = b + p * b_row;
      if (b_col == 1 && p + kAhead < depth) ask_for(from + kAhead * b_row, columns);
      for (std::int64_t q = 0; q < whole; ++q, to += depth * width, from += width)
        for (std::int64_t j = 0; j < width; j += kLanes<A>) store<A>(to + j, load(from + j));
      for (std::int64_t q = whole; q <= last; ++q, to += depth * width, from += width * b_col)
        gather(to, from, b_col, q < last ? width : filled);
    }
  }
  for (std::int64_t p = 0; p < depth; ++p)
    for (std::int64_t j = filled; j < width; ++j) packed[(last * depth + p) * width + j] = A(0);
}

}  // namespace RETNET_ISA
}  // namespace retnet::kernels
