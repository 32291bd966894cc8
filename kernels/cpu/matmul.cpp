// The fast matrix product: C is cut into tiles, and a thread computes one after the other (matmul_tile.h).

#include "kernels/matmul.h"

#include <algorithm>

#include "kernels/cpu/matmul_tile.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// Tiles are cut smaller until there is one for each thread, and further until there are kTilesPerThread
/// where packing is cheap, as long as kMinWork products remain in one.
constexpr std::int64_t kTilesPerThread = 4, kMinWork = 1 << 18, kCheap = 160;
/// Reading an element of B takes about as long as this many products.
constexpr std::int64_t kReading = 2;
/// So many times taller than wide a tile may be where A is read as it lies and only B is packed.
constexpr std::int64_t kTall = 4;

/// Finish<T> for an epilogue.
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

/// Tiles that cover C[m, n]. Which thread computes an element may depend on the number of threads, its bits
/// do not.
struct Grid {
  std::int64_t down, across;   ///< number of tiles
  std::int64_t rows, columns;  ///< size of all but the last ones

  std::int64_t count() const { return down * across; }
};

/// Cuts C into more tiles while threads lack some or the tiles can afford it: their operands are read and
/// packed once per tile, which takes rows + columns where computing takes rows x columns.
template <class T>
Grid choose_grid(const Matmul& s, std::int64_t batch, const MatmulIsa<T>& isa) {
  // A tile of few rows should not be narrower than the kernel for them.
  const std::int64_t unit = isa.width[std::min<std::int64_t>(s.m, isa.rows) - 1];
  const std::int64_t units = divide_up(s.n, unit);
  std::int64_t down = divide_up(s.m, most_rows<T>()), across = divide_up(units * unit, kMaxColumns);
  const std::int64_t taller = s.a_col == 1 && s.a_row <= kSlice ? kTall : 1;
  const std::int64_t threads = num_threads();
  while (threads > 1) {
    const std::int64_t rows = s.m / down, columns = s.n / across, tiles = batch * down * across;
    if (tiles >= kTilesPerThread * threads || (rows + kReading) * columns * s.k < 2 * kMinWork) break;
    if (tiles >= threads && rows * columns < kCheap * (rows + columns)) break;
    (s.m * across >= taller * s.n * down ? down : across) *= 2;  // the longer side of a tile
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
  if (tiles * work >= kParallelWork) return parallel_in_order(tiles, multiply_one);
  for (std::int64_t index = 0; index < tiles; ++index) multiply_one(index);
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
  const std::int64_t rows = most_rows<T>();
  for (std::int64_t i = 0; i < s.m; i += rows)
    for (std::int64_t j = 0; j < s.n; j += kMaxColumns) {
      const Tile tile{{i * s.a_row, j * s.b_col, i * s.c_row + j},
                      j,
                      std::min(rows, s.m - i),
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
