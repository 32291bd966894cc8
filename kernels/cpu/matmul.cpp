// The fast matrix product. C is cut into tiles; a tile walks over k in slices; in each slice the tile's rows
// of A are packed once, then B is packed panel by panel, and each panel meets all rows while it is in the
// first-level cache:
//
//   tile of C [rows, columns]         one thread
//     slice of k, at most kSlice      A packed: [rows, slice], second-level cache
//       panel of kPanel columns       B packed: [slice, kPanel], first-level cache
//         band of at most kRows rows  C in registers: matmul_micro.h
//
// This file is compiled with -ffp-contract=fast, so that products and sums fuse in the innermost loop.

#include <vector>

#include "kernels/cpu/matmul_batch.h"
#include "kernels/cpu/matmul_pack.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// The largest tile. Packing a tile costs rows + columns where computing it costs rows x columns, so it
/// should be large, but kMaxRows rows of packed A must leave room in the second-level cache.
constexpr std::int64_t kMaxRows = 256, kMaxColumns = 512;
/// Tiles are cut smaller to have this many of them, unless less than kMinWork products would remain in one.
constexpr std::int64_t kWantedTiles = 16, kMinWork = 1 << 20;

/// Tiles that cover C[m, n]. Depends on the problem only, not on the number of threads.
struct Grid {
  std::int64_t down, across;   ///< number of tiles
  std::int64_t rows, columns;  ///< size of all but the last ones

  std::int64_t count() const { return down * across; }
};

std::int64_t divide_up(std::int64_t x, std::int64_t y) { return (x + y - 1) / y; }

template <class A>
Grid choose_grid(const Matmul& s, std::int64_t batch) {
  const std::int64_t panels = divide_up(s.n, kPanel<A>);
  std::int64_t down = divide_up(s.m, kMaxRows), across = divide_up(panels * kPanel<A>, kMaxColumns);
  while (batch * down * across < kWantedTiles && s.m * s.n * s.k / (down * across) >= 2 * kMinWork) {
    if (s.m * across >= s.n * down) {
      down *= 2;
    } else {
      across *= 2;
    }
  }
  const std::int64_t rows = divide_up(s.m, down), columns = divide_up(panels, across) * kPanel<A>;
  return {divide_up(s.m, rows), divide_up(s.n, columns), rows, columns};
}

/// Memory of the calling thread, kept from call to call. Different `Use`s do not overlap.
enum class Use { packed_a, sums };
template <class A, Use use>
A* scratch(std::int64_t size) {
  thread_local std::vector<A> memory;
  if (static_cast<std::int64_t>(memory.size()) < size) memory.resize(static_cast<std::size_t>(size));
  return memory.data();
}

/// One tile: where its operands begin, and its size.
template <class T>
struct Tile {
  const T* a;
  const T* b;
  std::int64_t rows, columns;
};

/// C[rows, width] (+)= one slice of the product, for the columns of one packed panel of B.
template <class A>
void multiply_panel(std::int64_t depth, const A* a, Order order, const Bands& bands, const A* b,
                    std::int64_t width, A* c, std::int64_t c_row, bool add) {
  constexpr std::int64_t N = kPanel<A>;
  for (std::int64_t band = 0; band < bands.count; ++band) {
    const std::int64_t size = bands.size(band);
    const auto kernel = panel_kernel<A>(order, size);
    const A* a_band = packed_band(a, order, bands, band);
    A* c_band = c + bands.begin(band) * c_row;
    if (width == N) {
      kernel(depth, a_band, b, N, c_band, c_row, add);
      continue;
    }
    alignas(64) A whole[kRows * N];  // the kernel writes kPanel columns, of which C has room for `width`
    kernel(depth, a_band, b, N, whole, N, false);
    for (std::int64_t i = 0; i < size; ++i)
      for (std::int64_t j = 0; j < width; ++j)
        c_band[i * c_row + j] = add ? c_band[i * c_row + j] + whole[i * N + j] : whole[i * N + j];
  }
}

/// The same for as many columns as fit whole vectors of B read in place, b: [depth, columns]. Returns how
/// many.
template <class A>
std::int64_t multiply_direct(std::int64_t depth, const A* a, Order order, const Bands& bands, const A* b,
                             std::int64_t b_row, std::int64_t columns, A* c, std::int64_t c_row, bool add) {
  const std::int64_t width = direct_vectors(static_cast<int>(bands.size(0))) * kLanes<A>;
  std::int64_t j = 0;
  for (; j + width <= columns; j += width)
    for (std::int64_t band = 0; band < bands.count; ++band)
      direct_kernel<A>(order, bands.size(band))(depth, packed_band(a, order, bands, band), b + j, b_row,
                                                c + bands.begin(band) * c_row + j, c_row, add);
  return j;
}

/// C (+)= A B for one tile, in the type that sums are kept in.
template <class T, class A>
void multiply_tile(const Matmul& s, const Tile<T>& tile, A* c, std::int64_t c_row, bool accumulate) {
  const Bands bands(tile.rows);
  const Order order = s.a_row == 1 && s.a_col != 1 ? Order::columns : Order::rows;
  A* const packed_a = scratch<A, Use::packed_a>(packed_a_size<A>(tile.rows));
  alignas(64) A packed_b[kSlice * kPanel<A>];
  for (std::int64_t p = 0; p < s.k; p += kSlice) {
    const std::int64_t depth = std::min(kSlice, s.k - p);
    const bool add = accumulate || p > 0;
    if (order == Order::rows) {
      pack_a_rows(packed_a, tile.a + p * s.a_col, s.a_row, s.a_col, tile.rows, depth);
    } else {
      pack_a_columns(packed_a, tile.a + p * s.a_col, s.a_col, bands, tile.rows, depth);
    }
    const T* b = tile.b + p * s.b_row;
    std::int64_t j = 0;
    if constexpr (std::is_same_v<T, A>) {
      // One band of rows, as in decoding, would use each packed element once: not worth the copy.
      if (s.b_col == 1 && bands.count == 1)
        j = multiply_direct(depth, packed_a, order, bands, b, s.b_row, tile.columns, c, c_row, add);
    }
    for (; j < tile.columns; j += kPanel<A>) {
      const std::int64_t width = std::min(kPanel<A>, tile.columns - j);
      pack_b(packed_b, b + j * s.b_col, s.b_row, s.b_col, width, depth);
      multiply_panel<A>(depth, packed_a, order, bands, packed_b, width, c + j, c_row, add);
    }
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
  parallel_for(batch * grid.count(), work, [&](std::int64_t index) {
    const BatchOffset at = batch_offset(s, index / grid.count());
    const std::int64_t i = index % grid.count() / grid.across * grid.rows;
    const std::int64_t j = index % grid.across * grid.columns;
    const Tile<T> tile{a + at.a + i * s.a_row, b + at.b + j * s.b_col, std::min(grid.rows, s.m - i),
                       std::min(grid.columns, s.n - j)};
    store_tile(s, tile, c + at.c + i * s.c_row + j);
  });
}

template void matmul<float>(Cpu, const Matmul&, float*, const float*, const float*);
template void matmul<double>(Cpu, const Matmul&, double*, const double*, const double*);
template void matmul<bf16>(Cpu, const Matmul&, bf16*, const bf16*, const bf16*);

}  // namespace retnet::kernels
