// The matrix product that runs: tiles of C in registers (tile.h), large ones where there is enough work to
// fill the GPU with them and smaller ones where there is not. Where even those are few and k is long, as in
// the gradient of a weight, k is cut into slices that are summed in order by a second pass. Which tile and
// how many slices depends on the shape alone, so a product has the same bits whenever and wherever it is
// repeated.

#include <cmath>

#include "kernels/hip/matmul_few.h"
#include "kernels/hip/tile.h"
#include "kernels/matmul.h"
#include "kernels/matmul_batch.h"

namespace retnet::kernels {
namespace {

/// A pass over N elements of a row whose number is part of the type, so that they stay in registers.
template <int N>
struct Elements {
  RN_HD operator std::int64_t() const { return N; }
};

/// Finishes and stores C, with what was there before, and the epilogue.
template <class T, class Epilogue>
struct StoreProduct {
  T* c;
  Epilogue epilogue;

  /// The first `left` of N neighbouring sums of a row of C.
  template <int N, class A>
  __device__ __forceinline__ void run(A* sums, const Matmul& s, std::int64_t at, std::int64_t column,
                                      std::int64_t left) const {
    if (s.accumulate)
#pragma unroll
      for (int e = 0; e < N; ++e)
        if (e < left) sums[e] += static_cast<A>(c[at + e]);
    if (left >= N) {
      epilogue(sums, at, column, Elements<N>());
    } else {
#pragma unroll
      for (int e = 0; e < N; ++e)
        if (e < left) epilogue(sums + e, at + e, column + e, Elements<1>());
    }
    store_run<N>(c + at, sums, left);
  }
};

/// What the blocks of a launch compute: tiles of all matrices of the batch, in slices of k.
struct Grid {
  std::int64_t down, across, batch, slices, slice;

  template <class Tile>
  static Grid of(const Matmul& s, std::int64_t slices) {
    const std::int64_t step = (s.k + slices - 1) / slices;
    return {(s.m + Tile::kRows - 1) / Tile::kRows, (s.n + Tile::kColumns - 1) / Tile::kColumns,
            batch_count(s), slices, (step + Tile::kDepth - 1) / Tile::kDepth * Tile::kDepth};
  }
  std::int64_t blocks() const { return down * across * batch * slices; }
};

/// One tile of C, or of one slice's sums [slices, batch, m, n] if `sliced` is not null.
template <class Tile, class T, class Epilogue>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void product(Matmul s, Grid grid, const T* a,
                                                                         const T* b,
                                                                         StoreProduct<T, Epilogue> store,
                                                                         typename Tile::Sum* sliced) {
  __shared__ typename Tile::Shared shared;
  std::int64_t index = blockIdx.x;
  const std::int64_t j = index % grid.across * Tile::kColumns;
  index /= grid.across;
  const std::int64_t i = index % grid.down * Tile::kRows, member = index / grid.down;
  const std::int64_t first = member / grid.batch * grid.slice;
  const BatchOffset at = batch_offset(s, member % grid.batch);
  const Operand<T> left(a + at.a + i * s.a_row + first * s.a_col, s.a_row, s.a_col, s.m - i);
  const Operand<T> right(b + at.b + j * s.b_col + first * s.b_row, s.b_col, s.b_row, s.n - j);
  Sums<Tile> sums;
  Multiplier<Tile, Operand<T>> multiplier(shared);
  multiplier.begin(left, right, s.k - first < grid.slice ? s.k - first : grid.slice);
  multiplier.multiply(sums);
  sums.for_each_run([&](int y, int x, typename Tile::Sum* run) {
    const std::int64_t row = i + y, column = j + x;
    if (row >= s.m || column >= s.n) return;
    constexpr int kRun = Tile::kColumnRun;
    if (sliced)
      store_run<kRun>(sliced + (member * s.m + row) * s.n + column, run, s.n - column);
    else
      store.template run<kRun>(run, s, at.c + row * s.c_row + column, column, s.n - column);
  });
}

/// The second pass: the slices of each element of C, added in order.
template <class T, class Epilogue>
__global__ void add_slices(Matmul s, Grid grid, const accum_t<T>* sliced, StoreProduct<T, Epilogue> store) {
  const std::int64_t size = grid.batch * s.m * s.n;
  const std::int64_t index = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= size) return;
  accum_t<T> sum = sliced[index];
  for (std::int64_t slice = 1; slice < grid.slices; ++slice) sum += sliced[slice * size + index];
  const std::int64_t column = index % s.n, row = index / s.n % s.m, member = index / (s.m * s.n);
  store.template run<1>(&sum, s, batch_offset(s, member).c + row * s.c_row + column, column, 1);
}

template <class Tile, class T, class Epilogue>
void run(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue,
         std::int64_t slices) {
  using A = accum_t<T>;
  Grid grid = Grid::of<Tile>(s, slices);
  grid.slices = slices = s.k > 0 ? (s.k + grid.slice - 1) / grid.slice : 1;
  if (grid.blocks() == 0) return;
  const StoreProduct<T, Epilogue> store{c, epilogue};
  const auto blocks = static_cast<unsigned>(grid.blocks());
  if (slices == 1) {
    product<Tile>
        <<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(s, grid, a, b, store, static_cast<A*>(nullptr));
    return check_launch("matmul");
  }
  const std::int64_t size = grid.batch * s.m * s.n;
  const Scratch sliced(hip, slices * size * static_cast<std::int64_t>(sizeof(A)));
  product<Tile><<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(s, grid, a, b, store, sliced.as<A>());
  check_launch("matmul");
  constexpr int threads = 256;
  add_slices<<<static_cast<unsigned>((size + threads - 1) / threads), threads, 0, stream_of(hip)>>>(
      s, grid, sliced.as<A>(), store);
  check_launch("matmul, second pass");
}

/// A tile and a number of slices, and how long the product takes with them.
struct Choice {
  enum Shape { large, medium, small } shape = small;
  std::int64_t slices = 1;
  double seconds = 1e30;
};

/// An estimate from what was measured on a GPU of 132 multiprocessors. It knows three things: a
/// multiprocessor that has fewer blocks than it could is slower, but not in proportion; when blocks are left
/// over, a last round costs as much as a full one; a second pass reads and writes all slices.
/// @param speed  multiply-adds per second of the whole GPU when it is full
template <class Tile>
void consider(Choice& best, Choice::Shape shape, double speed, const Matmul& s) {
  constexpr double processors = 132, launch = 3e-6, bandwidth = 3e12;
  constexpr double at_once = processors * Tile::kBlocks;
  for (std::int64_t slices = 1; slices <= 32 && (slices == 1 || s.k / slices >= 64); slices *= 2) {
    const Grid grid = Grid::of<Tile>(s, slices);
    const double blocks = static_cast<double>(grid.blocks());
    const double rounds = blocks > at_once ? std::ceil(blocks / at_once)
                                           : 0.2 + 0.8 * std::ceil(blocks / processors) / Tile::kBlocks;
    const double work = double(Tile::kRows) * Tile::kColumns * static_cast<double>(grid.slice);
    const double size = static_cast<double>(grid.batch * s.m * s.n);
    const double second_pass =
        slices > 1 ? launch + 2 * sizeof(typename Tile::Sum) * size * static_cast<double>(slices) / bandwidth
                   : 0;
    const double seconds = rounds * at_once * work / speed + second_pass;
    if (seconds < best.seconds) best = {shape, slices, seconds};
  }
}

/// The fastest by that estimate; of the shape alone, so that repeating a product repeats its bits.
template <class T>
Choice choose(const Matmul& s) {
  using Of = Tiles<T>;
  constexpr bool halves = sizeof(T) == 8;
  Choice best;
  consider<typename Of::Large>(best, Choice::large, halves ? 10e12 : 22e12, s);
  if (!halves) consider<typename Of::Medium>(best, Choice::medium, 18e12, s);
  consider<typename Of::Small>(best, Choice::small, halves ? 6e12 : 11.5e12, s);
  return best;
}

}  // namespace

template <class Epilogue, class T>
void matmul(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue) {
  if (has_few_rows(s)) return matmul_few_rows(hip, s, c, a, b, epilogue);
  using Of = Tiles<T>;
  const Choice choice = choose<T>(s);
  const auto run_with = [&](auto tile) { run<decltype(tile)>(hip, s, c, a, b, epilogue, choice.slices); };
  switch (choice.shape) {
    case Choice::large:
      return run_with(typename Of::Large{});
    case Choice::medium:
      return run_with(typename Of::Medium{});
    case Choice::small:
      return run_with(typename Of::Small{});
  }
}

template <class T>
void matmul(Hip hip, const Matmul& s, T* c, const T* a, const T* b) {
  matmul(hip, s, c, a, b, NoEpilogue{});
}

#define RETNET_MATMUL(T)                                                                      \
  template void matmul<T>(Hip, const Matmul&, T*, const T*, const T*);                        \
  template void matmul(Hip, const Matmul&, T*, const T*, const T*, const NoEpilogue&);        \
  template void matmul(Hip, const Matmul&, T*, const T*, const T*, const AddBias<T>&);        \
  template void matmul(Hip, const Matmul&, T*, const T*, const T*, const AddResidual<T>&);    \
  template void matmul(Hip, const Matmul&, T*, const T*, const T*, const Activate<Gelu, T>&); \
  template void matmul(Hip, const Matmul&, T*, const T*, const T*, const Activate<Swish, T>&);
RETNET_MATMUL(float)
RETNET_MATMUL(double)
RETNET_MATMUL(bf16)

}  // namespace retnet::kernels
