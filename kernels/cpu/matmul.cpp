// The fast matrix product. C is cut into tiles; a tile walks over k in slices; in each slice the tile's rows
// of A are packed, then strip after strip of B, and every panel of a strip meets all rows while it is in the
// first-level cache:
//
//   tile of C [rows, columns]         one thread
//     slice of k, at most kSlice      A [rows, slice] packed, second-level cache
//       strip of columns              B [slice, strip] packed
//         panel of `width` columns    B [slice, width], first-level cache
//           band of a few rows        C in registers: matmul_micro.h
//
// Operands that a copy would not help are read where they lie. Neither that, nor the tiles, nor the bands
// change the order in which an element is summed, so none of them changes its bits. After the last slice the
// epilogue passes over each block of C while it is in the first-level cache.

#include "kernels/matmul.h"

#include <algorithm>
#include <memory>

#include "kernels/cpu/bands.h"
#include "kernels/matmul_batch.h"
#include "kernels/cpu/matmul_isa.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// The largest tile. Packed A (256 KiB) must leave room for B and C in the second-level cache.
constexpr std::int64_t kMaxRows = 256, kMaxColumns = 1024;
/// Tiles are cut smaller until there is one for each thread, and further until there are kTilesPerThread
/// where packing is cheap, as long as kMinWork products remain in one.
constexpr std::int64_t kTilesPerThread = 4, kMinWork = 1 << 18, kCheap = 160;
/// Reading an element of B takes about as long as this many products.
constexpr std::int64_t kReading = 2;
/// An operand that is used by at most this many bands is read where it lies: packing costs about as much as
/// that.
constexpr std::int64_t kFewBands = 5;

std::int64_t divide_up(std::int64_t x, std::int64_t y) { return (x + y - 1) / y; }

/// Whether A has contiguous rows so short that a block of them is one stretch of memory.
template <class T>
bool rows_adjoin(const Matmul& s) {
  return std::is_same_v<T, accum_t<T>> && s.a_col == 1 && s.a_row <= kSlice;
}

/// Memory of the calling thread, kept from call to call.
template <class A>
struct Scratch {
  alignas(64) A packed_a[kMaxRows * kPackedRow<A>];
  alignas(64) A packed_b[kSlice * kMostStrip];
  alignas(64) A edge[kMostRows * kMostStrip];  // a block that is wider than what is left of C
  alignas(64) A sums[kMaxRows * kMaxColumns];  // of a tile that is stored in another type
};
template <class A>
Scratch<A>& scratch() {
  thread_local const std::unique_ptr<Scratch<A>> memory(new Scratch<A>);
  return *memory;
}

/// Applies an epilogue to finished sums and stores them in C[rows, columns], whose first element has offset
/// `at` and column `column`.
template <class T>
using Finish = void (*)(const void* epilogue, T* c, std::int64_t c_row, const accum_t<T>* sums,
                        std::int64_t sums_row, std::int64_t at, std::int64_t column, std::int64_t rows,
                        std::int64_t columns);
template <class Epilogue, class T>
void finish(const void* epilogue, T* c, std::int64_t c_row, const accum_t<T>* sums, std::int64_t sums_row,
            std::int64_t at, std::int64_t column, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kRun = 16;
  const Epilogue f = *static_cast<const Epilogue*>(epilogue);
  const auto pass = [=](std::int64_t i, std::int64_t first, auto run) {
    // A copy that overlaps with nothing, so that the loops are vectorised.
    accum_t<T> z[kRun];
    for (std::int64_t j = 0; j < run; ++j) z[j] = sums[i * sums_row + first + j];
    f(z, at + i * c_row + first, column + first, run);
    for (std::int64_t j = 0; j < run; ++j) c[i * c_row + first + j] = static_cast<T>(z[j]);
  };
  for (std::int64_t i = 0; i < rows; ++i) {
    std::int64_t first = 0;
    for (; first + kRun <= columns; first += kRun)
      pass(i, first, std::integral_constant<std::int64_t, kRun>{});
    if (first < columns) pass(i, first, columns - first);
  }
}

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

/// A block of C: where it and its operands begin, and its size.
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
        bands_(tile.rows, product.isa.rows),
        width_(product.isa.width[bands_.size(0) - 1]),
        memory_(scratch<A>()) {}

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
    const T* const a = p_.a + tile_.at.a + p * s_.a_col;
    if (a_in_place()) {
      if constexpr (kSameType) a_ = a, a_row_ = s_.a_row, a_col_ = s_.a_col;
    } else {
      p_.isa.pack_a(memory_.packed_a, a, s_.a_row, s_.a_col, tile_.rows, depth);
      a_ = memory_.packed_a, a_row_ = kPackedRow<A>, a_col_ = 1;
    }
    // Columns of B are copied panel by panel, for each is used at once; rows of B several panels at a time,
    // for each may be in another memory page.
    const std::int64_t step = s_.b_row == 1 && bands_.count > 1 ? width_ : p_.isa.strip;
    for (std::int64_t j = 0; j < tile_.columns; j += step)
      strip(p_.b + tile_.at.b + p * s_.b_row, j, std::min(step, tile_.columns - j));
  }

  /// Columns first .. first + columns - 1 of the slice, whose part of B begins at b.
  void strip(const T* b, std::int64_t first, std::int64_t columns) {
    std::int64_t j = 0;
    b += first * s_.b_col;
    if (columns_in_place()) {
      const std::int64_t width = p_.isa.column_width;
      for (; j + width <= columns; j += width)
        panel(p_.isa.column, b + j * s_.b_col, s_.b_col, width, first + j, width);
    } else if constexpr (kSameType) {
      if (s_.b_col == 1 && bands_.count <= kFewBands)
        for (; j + width_ <= columns; j += width_)
          panel(p_.isa.micro, b + j, s_.b_row, width_, first + j, width_);
    }
    if (j == columns) return;
    p_.isa.pack_b(memory_.packed_b, width_, b + j * s_.b_col, s_.b_row, s_.b_col, columns - j, depth_);
    for (const A* packed = memory_.packed_b; j < columns; j += width_, packed += width_ * depth_)
      panel(p_.isa.micro, packed, width_, width_, first + j, std::min(width_, columns - j));
  }

  /// One panel of B against all rows, by the kernels that fit it.
  template <class Kernels, class B>
  void panel(const Kernels& kernels, const B* b, std::int64_t b_step, std::int64_t width, std::int64_t column,
             std::int64_t columns) {
    for (std::int64_t band = 0, i = 0; band < bands_.count; ++band) {
      const std::int64_t rows = bands_.size(band);
      const A* const a = a_ + i * a_row_;
      A* const sums = sums_ + i * sums_row_ + column;
      if (columns == width) {
        kernels[rows - 1](depth_, a, a_row_, a_col_, b, b_step, sums, sums_row_, add_);
      } else {
        kernels[rows - 1](depth_, a, a_row_, a_col_, b, b_step, memory_.edge, width, false);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t j = 0; j < columns; ++j) {
            const A sum = memory_.edge[r * width + j];
            sums[r * sums_row_ + j] = add_ ? sums[r * sums_row_ + j] + sum : sum;
          }
      }
      if (last_ && p_.finish) {
        const std::int64_t at = tile_.at.c + i * s_.c_row + column;
        p_.finish(p_.epilogue, p_.c + at, s_.c_row, sums, sums_row_, at, tile_.column + column, rows,
                  columns);
      }
      i += rows;
    }
  }

  /// A is read where it lies if its rows are contiguous and there are few of them, or they are so short that
  /// a block of them is one stretch of memory.
  bool a_in_place() const {
    return kSameType && s_.a_col == 1 && (s_.a_row <= kSlice || bands_.count <= kFewBands);
  }
  /// Columns of B are read where they lie by very few rows, unless they begin at the same place in their
  /// pages: they would then compete for one set of the cache.
  bool columns_in_place() const {
    constexpr std::int64_t kPage = 4096 / sizeof(T);
    return s_.b_row == 1 && tile_.rows <= p_.isa.column_rows && s_.b_col % kPage != 0;
  }

  const Product<T>& p_;
  const Matmul& s_;
  const Tile& tile_;
  const Bands bands_;
  const std::int64_t width_;
  Scratch<A>& memory_;
  A* sums_ = nullptr;
  const A* a_ = nullptr;
  std::int64_t sums_row_ = 0, a_row_ = 0, a_col_ = 0, depth_ = 0;
  bool add_ = false, last_ = false;
};

/// Tiles that cover C[m, n]. Which thread computes an element may depend on the number of threads, its bits
/// do not.
struct Grid {
  std::int64_t down, across;   ///< number of tiles
  std::int64_t rows, columns;  ///< size of all but the last ones

  std::int64_t count() const { return down * across; }
};

/// Number of threads that a loop started here would have.
std::int64_t threads_here() {
#if defined(_OPENMP)
  if (omp_in_parallel()) return 1;
#endif
  return num_threads();
}

/// Cuts C into more tiles while threads lack some or the tiles can afford it: their operands are read and
/// packed once per tile, which takes rows + columns where computing takes rows x columns.
template <class T>
Grid choose_grid(const Matmul& s, std::int64_t batch, const MatmulIsa<T>& isa) {
  // A tile of few rows should not be narrower than the kernel for them.
  const std::int64_t unit = isa.width[std::min<std::int64_t>(s.m, isa.rows) - 1];
  const std::int64_t units = divide_up(s.n, unit);
  // Short rows of A that are read where they lie: as many as a packed block has elements.
  const std::int64_t most_rows = rows_adjoin<T>(s) && s.k < kSlice ? kMaxRows * kSlice / s.k : kMaxRows;
  std::int64_t down = divide_up(s.m, most_rows), across = divide_up(units * unit, kMaxColumns);
  const std::int64_t threads = threads_here();
  while (threads > 1) {
    const std::int64_t rows = s.m / down, columns = s.n / across, tiles = batch * down * across;
    if (tiles >= kTilesPerThread * threads || (rows + kReading) * columns * s.k < 2 * kMinWork) break;
    if (tiles >= threads && rows * columns < kCheap * (rows + columns)) break;
    (s.m * across >= s.n * down ? down : across) *= 2;  // the longer side of a tile
  }
  const std::int64_t rows = divide_up(s.m, down), columns = divide_up(units, across) * unit;
  return {divide_up(s.m, rows), divide_up(s.n, columns), rows, columns};
}

/// An empty sum: zeros, or what is to be added to, and the epilogue.
template <class T>
void finish_empty(const Product<T>& p, const BatchOffset& at) {
  using A = accum_t<T>;
  for (std::int64_t i = 0; i < p.s.m; ++i)
    for (std::int64_t j = 0; j < p.s.n; ++j) {
      T& c = p.c[at.c + i * p.s.c_row + j];
      const A sum = p.s.accumulate ? static_cast<A>(c) : A(0);
      c = static_cast<T>(sum);
      if (p.finish) p.finish(p.epilogue, &c, 1, &sum, 1, at.c + i * p.s.c_row + j, j, 1, 1);
    }
}

/// parallel_for(), but threads take tiles one by one: one that was interrupted takes fewer.
template <class Body>
void for_each_tile(std::int64_t count, [[maybe_unused]] std::int64_t work, Body&& body) {
#if defined(_OPENMP)
  if (count * work >= kParallelWork && threads_here() > 1) {
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#endif
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

template <class T>
void multiply(const Product<T>& p) {
  const Matmul& s = p.s;
  const std::int64_t batch = batch_count(s);
  if (s.m == 0 || s.n == 0 || batch == 0) return;
  if (s.k == 0) {
    for (std::int64_t index = 0; index < batch; ++index) finish_empty(p, batch_offset(s, index));
    return;
  }
  const Grid grid = choose_grid(s, batch, p.isa);
  const std::int64_t work = std::min(s.m, grid.rows) * std::min(s.n, grid.columns) * s.k;
  const auto multiply_one = [&](std::int64_t index) {
    BatchOffset at = batch_offset(s, index / grid.count());
    const std::int64_t i = index % grid.count() / grid.across * grid.rows;
    const std::int64_t j = index % grid.across * grid.columns;
    at.a += i * s.a_row, at.b += j * s.b_col, at.c += i * s.c_row + j;
    const Tile tile{at, j, std::min(grid.rows, s.m - i), std::min(grid.columns, s.n - j)};
    TileProduct<T>(p, tile).run();
  };
  const std::int64_t tiles = batch * grid.count();
  if (tiles == 1) return multiply_one(0);  // a small product is over before a parallel loop would have begun
  for_each_tile(tiles, work, multiply_one);
}

/// bf16 is always stored by an epilogue: its sums are in float.
template <class Epilogue, class T>
constexpr Finish<T> finish_of() {
  if constexpr (std::is_same_v<Epilogue, NoEpilogue> && std::is_same_v<T, accum_t<T>>)
    return nullptr;
  else
    return finish<Epilogue, T>;
}

}  // namespace

template <class Epilogue, class T>
void matmul(Cpu, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue) {
  multiply(Product<T>{s, c, a, b, finish_of<Epilogue, T>(), &epilogue, matmul_isa<T>()});
}

template <class T>
void matmul(Cpu cpu, const Matmul& s, T* c, const T* a, const T* b) {
  matmul(cpu, s, c, a, b, NoEpilogue{});
}

template <class T>
void matmul_serial(Cpu, const Matmul& s, T* c, const T* a, const T* b) {
  const NoEpilogue none;
  const Product<T> p{s, c, a, b, finish_of<NoEpilogue, T>(), &none, matmul_isa<T>()};
  if (s.k == 0) return finish_empty(p, {});
  for (std::int64_t i = 0; i < s.m; i += kMaxRows)
    for (std::int64_t j = 0; j < s.n; j += kMaxColumns) {
      const Tile tile{{i * s.a_row, j * s.b_col, i * s.c_row + j},
                      j,
                      std::min(kMaxRows, s.m - i),
                      std::min(kMaxColumns, s.n - j)};
      TileProduct<T>(p, tile).run();
    }
}

#define RETNET_MATMUL(T)                                                                      \
  template void matmul<T>(Cpu, const Matmul&, T*, const T*, const T*);                        \
  template void matmul_serial<T>(Cpu, const Matmul&, T*, const T*, const T*);                 \
  template void matmul(Cpu, const Matmul&, T*, const T*, const T*, const NoEpilogue&);        \
  template void matmul(Cpu, const Matmul&, T*, const T*, const T*, const AddBias<T>&);        \
  template void matmul(Cpu, const Matmul&, T*, const T*, const T*, const AddResidual<T>&);    \
  template void matmul(Cpu, const Matmul&, T*, const T*, const T*, const Activate<Gelu, T>&); \
  template void matmul(Cpu, const Matmul&, T*, const T*, const T*, const Activate<Swish, T>&);
RETNET_MATMUL(float)
RETNET_MATMUL(double)
RETNET_MATMUL(bf16)

}  // namespace retnet::kernels
