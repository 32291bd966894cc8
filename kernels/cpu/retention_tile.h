/// @file
/// The two products that retention is made of, on operands that lie packed in a core's own caches: a block of
/// the result stays in registers from the first product to the last factor.
///
/// Each element is one chain of fused additions in an order that depends on its own indices only. Files that
/// include this are compiled with -ffp-contract=fast.
#pragma once

#include <algorithm>
#include <array>

#include "kernels/cpu/bands.h"
#include "kernels/cpu/matmul_micro.h"
#include "kernels/cpu/matmul_pack.h"

namespace retnet::kernels {

/// Columns of the block that lives in registers: two vectors.
template <class T>
inline constexpr std::int64_t kPanel = 2 * kLanes<T>;

/// One term of a product: sum over p < depth of a[i, p] b[p, :]. Rows of b are dense; a is read an element at
/// a time, so that a transposed one costs nothing.
template <class T>
struct Term {
  const T* a = nullptr;
  std::int64_t a_row = 0, a_depth = 0;
  const T* b = nullptr;
  std::int64_t b_row = 0, depth = 0;
};

/// Which p of a term meet row i; the other elements of a are 0.
enum class Reach {
  all,
  past,   ///< p <= i
  future  ///< p >= i
};

/// What happens to a product before it is stored. Null factors are 1.
template <class T>
struct Finish {
  const T* before = nullptr;    ///< factors of the rows of the first term
  const T* whole = nullptr;     ///< factors of the rows of both
  const T* previous = nullptr;  ///< laid out as the result, whole panels: keep previous is added
  T keep = 0;
};

/// A product as multiply() describes it, for one panel of columns.
template <class T>
struct Panel {
  Term<T> first, second;
  Reach reach;
  std::int64_t offset;
  Finish<T> finish;
  T* out;
  std::int64_t out_row, columns;
};

/// The same for multiply_decayed().
template <class T>
struct DecayedPanel {
  Term<T> term;
  const T* diagonal;
  T* out;
  std::int64_t out_row;
};

namespace detail {

template <class T, int Rows>
using Block = Vec<T>[Rows][2];

/// sum += sum over p in [begin, end) of the term, from `row` on.
template <class T, int Rows>
[[gnu::always_inline]] inline void add_term(Block<T, Rows>& sum, const Term<T>& term, std::int64_t row,
                                            std::int64_t begin, std::int64_t end) {
  const std::int64_t a_row = term.a_row, a_depth = term.a_depth, b_row = term.b_row;
  const T *a = term.a + row * a_row + begin * a_depth, *b = term.b + begin * b_row;
  for (std::int64_t p = begin; p < end; ++p, a += a_depth, b += b_row) {
    const Vec<T> left = load(b), right = load(b + kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      sum[i][0] += a[i * a_row] * left;  // one fused instruction
      sum[i][1] += a[i * a_row] * right;
    }
  }
}

template <class T, int Rows>
[[gnu::always_inline]] inline void scale_rows(Block<T, Rows>& sum, const T* factors) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    sum[i][0] *= factors[i];
    sum[i][1] *= factors[i];
  }
}

/// Writes the first `columns` columns.
template <class T, int Rows>
[[gnu::always_inline]] inline void store_block(const Block<T, Rows>& sum, T* out, std::int64_t out_row,
                                               std::int64_t columns) {
  if (columns >= kPanel<T>) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      store<T>(out + i * out_row, sum[i][0]);
      store<T>(out + i * out_row + kLanes<T>, sum[i][1]);
    }
  } else {
    T block[Rows][kPanel<T>];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      store<T>(block[i], sum[i][0]);
      store<T>(block[i] + kLanes<T>, sum[i][1]);
    }
    for (int i = 0; i < Rows; ++i) std::copy_n(block[i], columns, out + i * out_row);
  }
}

/// `count` blocks of Rows rows, from `row` on.
template <class T, int Rows>
void two_terms(const Panel<T>& panel, std::int64_t row, std::int64_t count) {
  const Finish<T>& finish = panel.finish;
  for (const std::int64_t last = row + count * Rows; row < last; row += Rows) {
    Block<T, Rows> sum = {};
    if (panel.first.depth > 0) {
      add_term<T, Rows>(sum, panel.first, row, 0, panel.first.depth);
      if (finish.before) scale_rows<T, Rows>(sum, finish.before + row);
    }
    const std::int64_t depth = panel.second.depth;
    add_term<T, Rows>(sum, panel.second, row, panel.reach == Reach::future ? row : 0,
                      panel.reach == Reach::past ? std::min(depth, row + Rows + panel.offset) : depth);
    if (finish.whole) scale_rows<T, Rows>(sum, finish.whole + row);
    if (finish.previous) {
      const T* const previous = finish.previous + row * panel.out_row;
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        sum[i][0] += finish.keep * load(previous + i * panel.out_row);
        sum[i][1] += finish.keep * load(previous + i * panel.out_row + kLanes<T>);
      }
    }
    store_block<T, Rows>(sum, panel.out + row * panel.out_row, panel.out_row, panel.columns);
  }
}

template <class T, int Rows>
void decayed_term(const DecayedPanel<T>& panel, std::int64_t row, std::int64_t count) {
  for (const std::int64_t last = row + count * Rows; row < last; row += Rows) {
    Block<T, Rows> sum = {};
    add_term<T, Rows>(sum, panel.term, row, 0, panel.term.depth);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      sum[i][0] *= load(panel.diagonal - (row + i));
      sum[i][1] *= load(panel.diagonal - (row + i) + kLanes<T>);
    }
    store_block<T, Rows>(sum, panel.out + row * panel.out_row, panel.out_row, kPanel<T>);
  }
}

template <class T, int... I>
constexpr auto two_terms_of(std::integer_sequence<int, I...>) {
  return std::array{two_terms<T, I + 1>...};
}
template <class T, int... I>
constexpr auto decayed_term_of(std::integer_sequence<int, I...>) {
  return std::array{decayed_term<T, I + 1>...};
}

/// Kernels for 1 .. kRows rows.
template <class T>
inline constexpr auto kTwoTerms = two_terms_of<T>(std::make_integer_sequence<int, kRows>());
template <class T>
inline constexpr auto kDecayedTerm = decayed_term_of<T>(std::make_integer_sequence<int, kRows>());

/// Calls the kernels for the bands from `band` on: those of one size in one go.
template <class Kernels, class AnyPanel>
void for_bands(const Kernels& kernels, const AnyPanel& panel, const Bands& bands, std::int64_t band) {
  const auto kernel = [&](std::int64_t rows) { return kernels[static_cast<std::size_t>(rows - 1)]; };
  if (band < bands.larger) kernel(bands.small + 1)(panel, bands.begin(band), bands.larger - band);
  band = std::max(band, bands.larger);
  if (band < bands.count) kernel(bands.small)(panel, bands.begin(band), bands.count - band);
}

}  // namespace detail

/// out[rows, columns] = whole[i] (before[i] (first term) + second term) + keep previous.
///
/// b of both terms is read up to a multiple of kPanel columns; what is there matters to nothing.
/// @param reach   of the second term. Rows are computed in blocks, so a[i, p] must be 0 for those p beyond
/// the
///                reach of row i that another row of its block reaches.
/// @param offset  Reach::past means p <= i + offset
template <class T>
void multiply(std::int64_t rows, std::int64_t columns, const Term<T>& first, const Term<T>& second,
              Reach reach, const Finish<T>& finish, T* out, std::int64_t out_row, std::int64_t offset = 0) {
  if (rows <= 0) return;
  const Bands bands(rows, kRows);
  Panel<T> panel{first, second, reach, offset, finish, out, out_row, columns};
  for (std::int64_t j = 0; j < columns; j += kPanel<T>) {
    panel.first.b = first.b + j, panel.second.b = second.b + j;
    if (finish.previous) panel.finish.previous = finish.previous + j;
    panel.out = out + j, panel.columns = columns - j;
    detail::for_bands(detail::kTwoTerms<T>, panel, bands, 0);
  }
}

/// out[i, j] = diagonal[j - i] (term), for the blocks that have an i >= j - offset; the others, all zeros,
/// are left out. `out` has room for a multiple of kPanel columns, and `diagonal` elements for them.
template <class T>
void multiply_decayed(std::int64_t rows, std::int64_t columns, std::int64_t offset, const Term<T>& term,
                      const T* diagonal, T* out, std::int64_t out_row) {
  if (rows <= 0) return;
  const Bands bands(rows, kRows);
  DecayedPanel<T> panel{term, diagonal, out, out_row};
  std::int64_t band = 0;
  for (std::int64_t j = 0; j < columns; j += kPanel<T>) {
    while (band < bands.count && bands.begin(band) + bands.size(band) - 1 + offset < j) ++band;
    panel.term.b = term.b + j, panel.diagonal = diagonal + j, panel.out = out + j;
    detail::for_bands(detail::kDecayedTerm<T>, panel, bands, band);
  }
}

}  // namespace retnet::kernels
