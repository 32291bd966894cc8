/// @file
/// A tile of the fast matrix product: what one thread computes at a time.
///
///     tile of C [rows, columns]
///       slice of k, at most kSlice      C is gone over once
///         block of rows                 A [block, slice] packed, second-level cache
///           strip of columns            B [slice, strip] packed, by the first block for all
///             panel of `width` columns  B [slice, width], first-level cache
///               band of a few rows      C in registers: matmul_micro.h
///
/// Operands that a copy would not help are read where they lie. Neither that, nor the blocks, nor the bands
/// change the order in which an element is summed, so none of them changes its bits. After the last slice the
/// epilogue passes over each block of C while it is in the first-level cache.
#pragma once

#include <memory>

#include "kernels/cpu/bands.h"
#include "kernels/cpu/matmul_isa.h"
#include "kernels/matmul_batch.h"

namespace retnet::kernels {

/// The most rows of a block: packed A (256 KiB of float) must leave room for B and C in the second-level
/// cache.
inline constexpr std::int64_t kBlockRows = 256;
/// The largest tile. All of its blocks use one packed slice of B (512 KiB of float), which comes from the
/// third-level cache, one panel for a whole block of rows.
inline constexpr std::int64_t kMaxRows = 4 * kBlockRows, kMaxColumns = 512;
/// An operand is read where it lies if it is used by at most this many bands (B) or panels (A): packing costs
/// about as much as that.
inline constexpr std::int64_t kFewBands = 5, kFewPanels = 8;
/// Rows of A that begin at the same place in their memory pages compete for a few places of the first-level
/// cache, so that packing pays sooner.
inline constexpr std::int64_t kFewCompeting = 2, kPage = 4096 / sizeof(float);

inline std::int64_t divide_up(std::int64_t x, std::int64_t y) { return (x + y - 1) / y; }

/// The most rows that a tile can have.
template <class T>
std::int64_t most_rows() {
  return std::is_same_v<T, accum_t<T>> ? kMaxRows : kBlockRows;  // of others, the sums are kept apart
}

/// Memory of the calling thread, kept from call to call.
template <class A>
struct MatmulScratch {
  alignas(64) A packed_a[kBlockRows * kSlice];
  alignas(64) A packed_b[kSlice * (kMaxColumns + kMostStrip)];
  alignas(64) A edge[kMostRows * kMostStrip];    // a block that is wider than what is left of C
  alignas(64) A sums[kBlockRows * kMaxColumns];  // of a tile that is stored in another type
};
template <class A>
MatmulScratch<A>& matmul_scratch() {
  thread_local const std::unique_ptr<MatmulScratch<A>> memory(new MatmulScratch<A>);
  return *memory;
}

/// Applies an epilogue to finished sums and stores them in C[rows, columns], whose first element has offset
/// `at` and column `column`.
template <class T>
using Finish = void (*)(const void* epilogue, T* c, std::int64_t c_row, const accum_t<T>* sums,
                        std::int64_t sums_row, std::int64_t at, std::int64_t column, std::int64_t rows,
                        std::int64_t columns);

/// One product, not yet cut.
template <class T>
struct Product {
  const Matmul& s;
  T* c;
  const T *a, *b;
  Finish<T> finish;  ///< null if sums are stored as they are
  const void* epilogue;
  const MatmulIsa<T>& isa;
};

/// A part of C: where it and its operands begin, and its size.
struct Tile {
  BatchOffset at;
  std::int64_t column, rows, columns;
};

template <class T>
class TileProduct {
  using A = accum_t<T>;
  static constexpr bool kSameType = std::is_same_v<T, A>;

 public:
  TileProduct(const Product<T>& product, const Tile& tile)
      : p_(product),
        s_(product.s),
        tile_(tile),
        blocks_(tile.rows, kBlockRows),
        width_(product.isa.width[Bands(blocks_.size(0), product.isa.rows).size(0) - 1]),
        memory_(matmul_scratch<A>()) {}

  void run() {
    start_sums();
    for (std::int64_t p = 0; p < s_.k; p += kSlice) slice(p, std::min(kSlice, s_.k - p));
  }

 private:
  /// Sums are kept in C where C has their type.
  void start_sums() {
    T* const c = p_.c + tile_.at.c;
    if constexpr (kSameType) {
      sums_ = c, sums_row_ = s_.c_row;
    } else {
      sums_ = memory_.sums, sums_row_ = tile_.columns;
      for (std::int64_t i = 0; s_.accumulate && i < tile_.rows; ++i)
        for (std::int64_t j = 0; j < tile_.columns; ++j)
          sums_[i * sums_row_ + j] = static_cast<A>(c[i * s_.c_row + j]);
    }
  }

  void slice(std::int64_t p, std::int64_t depth) {
    depth_ = depth, add_ = s_.accumulate || p > 0, last_ = p + depth == s_.k;
    const T* const b = p_.b + tile_.at.b + p * s_.b_row;
    for (std::int64_t block = 0; block < blocks_.count; ++block) {
      first_row_ = blocks_.begin(block), bands_ = Bands(blocks_.size(block), p_.isa.rows);
      load_rows(p_.a + tile_.at.a + first_row_ * s_.a_row + p * s_.a_col);
      // Columns of B are copied panel by panel, for each is used at once; rows of B several panels at a time,
      // for each may be in another memory page.
      const std::int64_t step = s_.b_row == 1 && bands_.count > 1 ? width_ : p_.isa.strip;
      for (std::int64_t j = 0; j < tile_.columns; j += step)
        strip(b, j, std::min(step, tile_.columns - j), block == 0);
    }
  }

  /// The block of A that begins at a.
  void load_rows(const T* a) {
    in_bands_ = !rows_in_place();
    if (in_bands_) {
      a_ = memory_.packed_a;
      p_.isa.pack_a(memory_.packed_a, a, s_.a_row, s_.a_col, {bands_.count, bands_.small, bands_.larger},
                    depth_);
    } else if constexpr (kSameType) {
      a_ = a, a_row_ = s_.a_row, a_col_ = s_.a_col;
    }
  }

  /// Columns first .. first + columns - 1 of the slice of B that begins at b.
  void strip(const T* b, std::int64_t first, std::int64_t columns, bool pack) {
    std::int64_t j = 0;
    b += first * s_.b_col;
    if (columns_in_place()) {
      const std::int64_t width = p_.isa.column_width;
      for (; j + width <= columns; j += width)
        panel(p_.isa.column, b + j * s_.b_col, s_.b_col, width, first + j, width);
    } else if constexpr (kSameType) {
      if (s_.b_col == 1 && blocks_.count == 1 && bands_.count <= kFewBands)
        for (; j + width_ <= columns; j += width_)
          panel(p_.isa.micro, b + j, s_.b_row, width_, first + j, width_);
    }
    if (j == columns) return;
    // A strip that no other block will ask for is packed where the one before was, which is in the cache.
    const A* packed = memory_.packed_b + (blocks_.count > 1 ? first * depth_ : 0);
    if (pack)
      p_.isa.pack_b(const_cast<A*>(packed), width_, b + j * s_.b_col, s_.b_row, s_.b_col, columns - j,
                    depth_);
    for (; j < columns; j += width_, packed += width_ * depth_)
      panel(p_.isa.micro, packed, width_, width_, first + j, std::min(width_, columns - j));
  }

  /// One panel of B against all rows of the block, by the kernels that fit it.
  template <class Kernels, class B>
  void panel(const Kernels& kernels, const B* b, std::int64_t b_step, std::int64_t width, std::int64_t column,
             std::int64_t columns) {
    for (std::int64_t band = 0, i = 0; band < bands_.count; ++band) {
      const std::int64_t rows = bands_.size(band), row = first_row_ + i;
      const A* const a = a_ + i * (in_bands_ ? depth_ : a_row_);
      const std::int64_t a_row = in_bands_ ? 1 : a_row_, a_col = in_bands_ ? rows : a_col_;
      A* const sums = sums_ + row * sums_row_ + column;
      if (columns == width) {
        kernels[rows - 1](depth_, a, a_row, a_col, b, b_step, sums, sums_row_, add_);
      } else {
        kernels[rows - 1](depth_, a, a_row, a_col, b, b_step, memory_.edge, width, false);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t j = 0; j < columns; ++j) {
            const A sum = memory_.edge[r * width + j];
            sums[r * sums_row_ + j] = add_ ? sums[r * sums_row_ + j] + sum : sum;
          }
      }
      if (last_ && p_.finish) {
        const std::int64_t at = tile_.at.c + row * s_.c_row + column;
        p_.finish(p_.epilogue, p_.c + at, s_.c_row, sums, sums_row_, at, tile_.column + column, rows,
                  columns);
      }
      i += rows;
    }
  }

  /// A is read where it lies if its rows are contiguous, and so short that they follow one another closely or
  /// not used often; or if it is a small matrix, transposed.
  bool rows_in_place() const {
    constexpr std::int64_t kSmall = 64;
    if (!kSameType) return false;
    if (s_.a_col != 1) return s_.a_row == 1 && s_.a_col <= kSmall;
    const std::int64_t few = s_.a_row % kPage == 0 ? kFewCompeting : kFewPanels;
    return s_.a_row <= kSlice || bands_.count <= kFewBands || tile_.columns <= few * width_;
  }
  /// Columns of B are read where they lie by very few rows.
  bool columns_in_place() const { return s_.b_row == 1 && tile_.rows <= p_.isa.column_rows; }

  const Product<T>& p_;
  const Matmul& s_;
  const Tile& tile_;
  const Bands blocks_;
  const std::int64_t width_;
  MatmulScratch<A>& memory_;
  Bands bands_{1, 1};  ///< of the current block of rows
  std::int64_t first_row_ = 0;
  A* sums_ = nullptr;
  const A* a_ = nullptr;
  std::int64_t sums_row_ = 0, a_row_ = 0, a_col_ = 0, depth_ = 0;
  bool in_bands_ = false;  ///< the block of A is packed: then the columns of a band of r rows are r apart
  bool add_ = false, last_ = false;
};

}  // namespace retnet::kernels
