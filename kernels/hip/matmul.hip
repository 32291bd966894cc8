// The matrix product that runs: tiles of C in registers (tile.h), large ones where there is enough work to
// fill the GPU with them and smaller ones where there is not. Where even those are few and k is long, as in
// the gradient of a weight, k is cut into slices that are summed in order by a second pass. Which tile and
// how many slices depends on the shape alone, so a product has the same bits whenever and wherever it is
// repeated.

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
template <class Tile, Along Left, Along Right, class T, class Epilogue>
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
  const Operand<T, Left> left(a + at.a + i * s.a_row + first * s.a_col, s.a_row, s.a_col, s.m - i);
  const Operand<T, Right> right(b + at.b + j * s.b_col + first * s.b_row, s.b_col, s.b_row, s.n - j);
  Sums<Tile> sums;
  Multiplier<Tile, Operand<T, Left>, Operand<T, Right>> multiplier(shared);
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

template <class Tile, Along Left = Along::either, Along Right = Along::either, class T, class Epilogue>
void run(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue,
         std::int64_t slices) {
  using A = accum_t<T>;
  Grid grid = Grid::of<Tile>(s, slices);
  grid.slices = slices = s.k > 0 ? (s.k + grid.slice - 1) / grid.slice : 1;
  if (grid.blocks() == 0) return;
  const StoreProduct<T, Epilogue> store{c, epilogue};
  const auto blocks = static_cast<unsigned>(grid.blocks());
  if (slices == 1) {
    product<Tile, Left, Right>
        <<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(s, grid, a, b, store, static_cast<A*>(nullptr));
    return check_launch("matmul");
  }
  const std::int64_t size = grid.batch * s.m * s.n;
  const Scratch sliced(hip, slices * size * static_cast<std::int64_t>(sizeof(A)));
  product<Tile, Left, Right>
      <<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(s, grid, a, b, store, sliced.as<A>());
  check_launch("matmul");
  constexpr int threads = 256;
  add_slices<<<static_cast<unsigned>((size + threads - 1) / threads), threads, 0, stream_of(hip)>>>(
      s, grid, sliced.as<A>(), store);
  check_launch("matmul, second pass");
}

/// As many blocks as keep a large GPU busy, and the shortest slice of k that is worth a second pass.
constexpr std::int64_t kManyBlocks = 256, kShortestSlice = 256;

template <class Tile>
std::int64_t blocks_of(const Matmul& s) {
  return Grid::of<Tile>(s, 1).blocks();
}

/// Slices of k so that `blocks` tiles become many blocks.
std::int64_t slices_of(const Matmul& s, std::int64_t blocks) {
  if (blocks == 0) return 1;
  const std::int64_t wanted = (kManyBlocks + blocks - 1) / blocks, most = s.k / kShortestSlice;
  return wanted < most ? wanted : most < 1 ? 1 : most;
}

}  // namespace

template <class Epilogue, class T>
void matmul(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue) {
  using Of = Tiles<T>;
  const std::int64_t large = blocks_of<typename Of::Large>(s), medium = blocks_of<typename Of::Medium>(s);
  if (large >= kManyBlocks) return run<typename Of::Large>(hip, s, c, a, b, epilogue, 1);
  if (medium * slices_of(s, medium) >= kManyBlocks / 4)
    return run<typename Of::Medium>(hip, s, c, a, b, epilogue, slices_of(s, medium));
  run<typename Of::Small>(hip, s, c, a, b, epilogue, slices_of(s, blocks_of<typename Of::Small>(s)));
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
