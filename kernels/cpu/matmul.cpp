// The fast matrix product. C is cut into tiles; a tile walks over k in slices; in each slice the tile's rows
// of A and columns of B are packed once, then every panel of B meets all rows while it is in the first-level
// cache:
//
//   tile of C [rows, columns]         one thread
//     slice of k, at most kSlice      A [rows, slice] and B [slice, columns] packed, second-level cache
//       panel of kPanel columns       B [slice, kPanel], first-level cache
//         band of at most kRows rows  C in registers: matmul_micro.h
//
// Operands that a copy would not help are read where they lie. Neither that, nor the tiles, nor the bands
// change the order in which an element is summed, so none of them changes its bits.
//
// This file is compiled with -ffp-contract=fast, so that products and sums fuse in the innermost loop.

#include <vector>

#include "kernels/cpu/matmul_batch.h"
#include "kernels/cpu/matmul_pack.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// The largest tile. Packing a tile costs rows + columns where computing it costs rows x columns, so it
/// should be large, but packed A (256 KiB) and B (512 KiB) must leave room for C in the second-level cache.
constexpr std::int64_t kMaxRows = 256, kMaxColumns = 512;
/// Tiles are cut smaller to have this many of them, unless less than kMinWork products would remain in one.
constexpr std::int64_t kWantedTiles = 8, kMinWork = 1 << 19;
/// Reading or packing an element of B takes about as long as this many products.
constexpr std::int64_t kPackingRows = 8;

/// An operand that is used by at most this many bands is read where it lies: packing costs about as much as
/// that.
constexpr std::int64_t kFewBands = 5;
static_assert(direct_vectors((kRows + 1) / 2) == 2, "several bands, none shorter than that, share one width");

/// Tiles that cover C[m, n]. Depends on the problem only, not on the number of threads.
struct Grid {
  std::int64_t down, across;   ///< number of tiles
  std::int64_t rows, columns;  ///< size of all but the last ones

  std::int64_t count() const { return down * across; }
};

std::int64_t divide_up(std::int64_t x, std::int64_t y) { return (x + y - 1) / y; }

template <class A>
Grid choose_grid(const Matmul& s, std::int64_t batch) {
  // A tile of few rows should not be narrower than the kernel that reads B where it lies.
  const std::int64_t unit = direct_vectors(static_cast<int>(std::min<std::int64_t>(s.m, kRows))) * kLanes<A>;
  const std::int64_t units = divide_up(s.n, unit);
  std::int64_t down = divide_up(s.m, kMaxRows), across = divide_up(units * unit, kMaxColumns);
  const auto work = [&] { return (s.m / down + kPackingRows) * (s.n / across) * s.k; };
  while (batch * down * across < kWantedTiles && work() >= 2 * kMinWork)
    (s.m * across >= s.n * down ? down : across) *= 2;  // the longer side of a tile
  const std::int64_t rows = divide_up(s.m, down), columns = divide_up(units, across) * unit;
  return {divide_up(s.m, rows), divide_up(s.n, columns), rows, columns};
}

/// Memory of the calling thread, kept from call to call. Different `Use`s do not overlap.
enum class Use { packed_a, packed_b, sums };
template <class A, Use use>
A* scratch(std::int64_t size) {
  struct alignas(64) Line {  // whole cache lines: a packed row then begins with one
    A elements[64 / sizeof(A)];
  };
  thread_local std::vector<Line> memory;
  const auto lines = static_cast<std::size_t>(divide_up(size * static_cast<std::int64_t>(sizeof(A)), 64));
  if (memory.size() < lines) memory.resize(lines);
  return memory.data()->elements;
}

/// One tile: where its operands begin, and its size.
template <class T>
struct Tile {
  const T* a;
  const T* b;
  std::int64_t rows, columns;
};

/// A block of A or B for one slice of k, packed or where it lies: rows `step` apart, each of them contiguous.
template <class A>
struct Block {
  const A* at;
  std::int64_t step;
};

/// C[rows, width] (+)= one slice of the product, for the columns of one panel of B.
template <class A>
void multiply_panel(std::int64_t depth, Block<A> a, const Bands& bands, const A* b, std::int64_t width, A* c,
                    std::int64_t c_row, bool add) {
  constexpr std::int64_t N = kPanel<A>;
  for (std::int64_t band = 0; band < bands.count; ++band) {
    const std::int64_t i = bands.begin(band), size = bands.size(band);
    const auto kernel = kPanelKernels<A>[static_cast<std::size_t>(size - 1)];
    if (width == N) {
      kernel(depth, a.at + i * a.step, a.step, b, N, c + i * c_row, c_row, add);
      continue;
    }
    alignas(64) A whole[kRows * N];  // the kernel writes kPanel columns, of which C has room for `width`
    kernel(depth, a.at + i * a.step, a.step, b, N, whole, N, false);
    for (std::int64_t r = 0; r < size; ++r)
      for (std::int64_t j = 0; j < width; ++j) {
        A& c_rj = c[(i + r) * c_row + j];
        c_rj = add ? c_rj + whole[r * N + j] : whole[r * N + j];
      }
  }
}

/// The same for as many columns as fill whole vectors of B[depth, columns], which is read where it lies.
/// Returns how many that are.
template <class A>
std::int64_t multiply_in_place(std::int64_t depth, Block<A> a, const Bands& bands, Block<A> b,
                               std::int64_t columns, A* c, std::int64_t c_row, bool add) {
  const std::int64_t width = direct_vectors(static_cast<int>(bands.size(0))) * kLanes<A>;
  std::int64_t j = 0;
  for (; j + width <= columns; j += width)
    for (std::int64_t band = 0; band < bands.count; ++band) {
      const std::int64_t i = bands.begin(band);
      const auto kernel = kDirectKernels<A>[static_cast<std::size_t>(bands.size(band) - 1)];
      kernel(depth, a.at + i * a.step, a.step, b.at + j, b.step, c + i * c_row + j, c_row, add);
    }
  return j;
}

/// A is read where it lies if its rows are contiguous and there are few of them, or they are so short that a
/// block of them is one stretch of memory.
template <class T>
bool a_in_place(const Matmul& s, const Bands& bands) {
  return std::is_same_v<T, accum_t<T>> && s.a_col == 1 && (s.a_row <= kSlice || bands.count <= kFewBands);
}

/// B is read where it lies if its rows are contiguous and meet so few bands of A that a copy would not pay.
template <class T>
bool b_in_place(const Matmul& s, const Bands& bands) {
  return std::is_same_v<T, accum_t<T>> && s.b_col == 1 && bands.count <= kFewBands;
}

/// C (+)= A B for one tile, in the type that sums are kept in.
template <class T, class A>
void multiply_tile(const Matmul& s, const Tile<T>& tile, A* c, std::int64_t c_row, bool accumulate) {
  const Bands bands(tile.rows);
  A* const packed_a = a_in_place<T>(s, bands) ? nullptr : scratch<A, Use::packed_a>(tile.rows * kRowStep<A>);
  A* const packed_b = scratch<A, Use::packed_b>(divide_up(tile.columns, kPanel<A>) * kPanelStep<A>);
  for (std::int64_t p = 0; p < s.k; p += kSlice) {
    const std::int64_t depth = std::min(kSlice, s.k - p);
    const bool add = accumulate || p > 0;
    const T* const a = tile.a + p * s.a_col;
    const T* const b = tile.b + p * s.b_row;
    Block<A> a_block{packed_a, kRowStep<A>};
    std::int64_t j = 0;
    if (packed_a) pack_a(packed_a, a, s.a_row, s.a_col, tile.rows, depth);
    if constexpr (std::is_same_v<T, A>) {
      if (!packed_a) a_block = {a, s.a_row};
      if (b_in_place<T>(s, bands))
        j = multiply_in_place<A>(depth, a_block, bands, {b, s.b_row}, tile.columns, c, c_row, add);
    }
    if (j == tile.columns) continue;
    pack_b(packed_b, b + j * s.b_col, s.b_row, s.b_col, tile.columns - j, depth);
    for (const A* panel = packed_b; j < tile.columns; j += kPanel<A>, panel += kPanelStep<A>)
      multiply_panel<A>(depth, a_block, bands, panel, std::min(kPanel<A>, tile.columns - j), c + j, c_row,
                        add);
  }
}

/// C (+)= A B for one tile in storage type T. bf16 is summed in float over all of k and rounded once.
template <class T>
void store_tile(const Matmul& s, const Tile<T>& tile, T* c) {
  using A = accum_t<T>;
  if constexpr (std::is_same_v<T, A>) {
    multiply_tile<T, A>(s, tile, c, s.c_row, s.accumulate);
  } else {
    A* const sums = scratch<A, Use::sums>(tile.rows * tile.columns);
    if (s.accumulate)
      for (std::int64_t i = 0; i < tile.rows; ++i)
        gather(sums + i * tile.columns, c + i * s.c_row, 1, tile.columns);
    multiply_tile<T, A>(s, tile, sums, tile.columns, s.accumulate);
    for (std::int64_t i = 0; i < tile.rows; ++i)
      for (std::int64_t j = 0; j < tile.columns; ++j)
        c[i * s.c_row + j] = static_cast<T>(sums[i * tile.columns + j]);
  }
}

/// An empty sum: zeros, unless they are to be added.
template <class T>
void clear(const Matmul& s, std::int64_t batch, T* c) {
  if (s.accumulate) return;
  for (std::int64_t index = 0; index < batch; ++index)
    for (std::int64_t i = 0; i < s.m; ++i) std::fill_n(c + batch_offset(s, index).c + i * s.c_row, s.n, T{});
}

}  // namespace

template <class T>
void matmul(Cpu, const Matmul& s, T* c, const T* a, const T* b) {
  const std::int64_t batch = batch_count(s);
  if (s.m == 0 || s.n == 0 || batch == 0) return;
  if (s.k == 0) return clear(s, batch, c);
  const Grid grid = choose_grid<accum_t<T>>(s, batch);
  const std::int64_t work = std::min(s.m, grid.rows) * std::min(s.n, grid.columns) * s.k;
  const auto multiply_one = [&](std::int64_t index) {
    const BatchOffset at = batch_offset(s, index / grid.count());
    const std::int64_t i = index % grid.count() / grid.across * grid.rows;
    const std::int64_t j = index % grid.across * grid.columns;
    const Tile<T> tile{a + at.a + i * s.a_row, b + at.b + j * s.b_col, std::min(grid.rows, s.m - i),
                       std::min(grid.columns, s.n - j)};
    store_tile(s, tile, c + at.c + i * s.c_row + j);
  };
  const std::int64_t tiles = batch * grid.count();
  if (tiles == 1) return multiply_one(0);  // a small product is over before a parallel loop would have begun
  parallel_for(tiles, work, multiply_one);
}

template void matmul<float>(Cpu, const Matmul&, float*, const float*, const float*);
template void matmul<double>(Cpu, const Matmul&, double*, const double*, const double*);
template void matmul<bf16>(Cpu, const Matmul&, bf16*, const bf16*, const bf16*);

}  // namespace retnet::kernels
