// The matrix product that runs: tiles of C in registers (tile.h), large ones where there is enough work to
// fill the GPU with them and smaller ones, whose threads share the depth, where there is not. Where even
// those are few and k is long, as in the gradient of a weight, k is cut into slices that are summed in order
// by a second pass. Which tile and how many slices depends on the shape alone, so a product has the same bits
// whenever and wherever it is repeated.

#include <cmath>
#include <type_traits>

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

/// Where C goes, and what is made of its sums before: what was there is added, and then the epilogue's part.
template <class T, class Epilogue>
struct Product {
  T* c;
  Epilogue epilogue;

  /// The first `left` of N neighbouring sums of a row.
  template <int N, class A>
  __device__ __forceinline__ void finish(A* sums, const Matmul& s, std::int64_t at, std::int64_t column,
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
  }

  /// All sums of a tile that begins at row i and column j, and at c[at]. Storing comes last, so that what is
  /// read for one sum does not wait for another's way to memory.
  template <class Tile>
  __device__ __forceinline__ void finish_and_store(Sums<Tile>& sums, const Matmul& s, std::int64_t at,
                                                   std::int64_t i, std::int64_t j) const {
    constexpr int N = Tile::kColumnRun;
    if (i + Tile::kRows <= s.m && j + Tile::kColumns <= s.n && !s.accumulate)
      sums.for_each_run([&](int y, int x, typename Tile::Sum* run) {
        epilogue(run, at + y * s.c_row + x, j + x, Elements<N>());
      });
    else
      sums.for_each_run([&](int y, int x, typename Tile::Sum* run) {
        if (i + y < s.m && j + x < s.n) finish<N>(run, s, at + y * s.c_row + x, j + x, s.n - (j + x));
      });
    store_tile(sums, c + at, s.c_row, s.m - i, s.n - j);
  }
};

/// What the blocks of a launch compute: tiles of all matrices of the batch, in slices of k.
struct Grid {
  unsigned down, across, batch, slices;
  std::int64_t slice;

  template <class Tile>
  static Grid of(const Matmul& s, std::int64_t slices) {
    const std::int64_t step = (s.k + slices - 1) / slices;
    return {narrow((s.m + Tile::kRows - 1) / Tile::kRows),
            narrow((s.n + Tile::kColumns - 1) / Tile::kColumns), narrow(batch_count(s)), narrow(slices),
            (step + Tile::kDepth - 1) / Tile::kDepth * Tile::kDepth};
  }
  std::int64_t blocks() const { return std::int64_t{down} * across * batch * slices; }
};

/// Calls body(directions of the operands), which are known where the product is one of those of a layer in
/// f32: y = x W^T, which may have an epilogue, dx = dy W or dW = dy^T x. Each is a kernel more to compile.
template <class T, class Epilogue, class Body>
void with_directions(const Matmul& s, Body&& body) {
  if constexpr (std::is_same_v<T, float>) {
    if (s.a_col == 1 && s.b_row == 1) return body(Directions<Along::depth, Along::depth>{});
    if constexpr (std::is_same_v<Epilogue, NoEpilogue>) {
      if (s.a_col == 1 && s.b_col == 1) return body(Directions<Along::depth, Along::rows>{});
      if (s.a_row == 1 && s.b_col == 1) return body(Directions<Along::rows, Along::rows>{});
    }
  }
  body(Directions<Along::either, Along::either>{});
}

/// One tile of C, or of one slice's sums [slices, batch, m, n] if `sliced` is not null.
template <class Tile, class Lie, class T, class Epilogue>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void product(Matmul s, Grid grid, const T* a,
                                                                         const T* b, Product<T, Epilogue> to,
                                                                         typename Tile::Sum* sliced) {
  __shared__ typename Tile::Shared shared;
  const unsigned across = blockIdx.x % grid.across, rest = blockIdx.x / grid.across;
  const unsigned down = rest % grid.down, member = rest / grid.down;
  const std::int64_t j = std::int64_t{across} * Tile::kColumns, i = std::int64_t{down} * Tile::kRows;
  const std::int64_t first = member / grid.batch * grid.slice;
  const BatchOffset at = batch_offset(s, member % grid.batch);
  Sums<Tile> sums;
  Multiplier<Tile, Operand<T>> multiplier(shared);
  multiplier.begin(Lie(), Operand<T>(a + at.a + i * s.a_row + first * s.a_col, s.a_row, s.a_col, s.m - i),
                   Operand<T>(b + at.b + j * s.b_col + first * s.b_row, s.b_col, s.b_row, s.n - j),
                   s.k - first < grid.slice ? s.k - first : grid.slice);
  multiplier.multiply(Lie(), sums);
  if (!sums.gather(shared)) return;
  if (sliced)
    store_tile(sums, sliced + (member * s.m + i) * s.n + j, s.n, s.m - i, s.n - j);
  else
    to.finish_and_store(sums, s, at.c + i * s.c_row + j, i, j);
}

/// The second pass: the slices of each element of C, added in order, N neighbours a thread.
template <int N, class T, class Epilogue>
__global__ void add_slices(Matmul s, Grid grid, const accum_t<T>* sliced, Product<T, Epilogue> to) {
  using Some = Run<accum_t<T>, N>;
  const unsigned m = narrow(s.m), n = narrow(s.n), size = grid.batch * m * n;  // small: see consider()
  const unsigned index = (blockIdx.x * blockDim.x + threadIdx.x) * N;
  if (index >= size) return;
  Some sum = *reinterpret_cast<const Some*>(sliced + index);
#pragma unroll 4
  for (unsigned slice = 1; slice < grid.slices; ++slice) {
    const Some more = *reinterpret_cast<const Some*>(sliced + (std::int64_t{slice} * size + index));
#pragma unroll
    for (int e = 0; e < N; ++e) sum.x[e] += more.x[e];
  }
  const unsigned column = index % n, row = index / n % m, member = index / n / m;
  const std::int64_t at = batch_offset(s, member).c + row * s.c_row + column;
  to.template finish<N>(sum.x, s, at, column, N);
  store_run<N>(to.c + at, sum.x, N);
}

template <class Tile, class T, class Epilogue>
void run(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue,
         std::int64_t slices) {
  using A = accum_t<T>;
  Grid grid = Grid::of<Tile>(s, slices);
  grid.slices = s.k > 0 ? narrow((s.k + grid.slice - 1) / grid.slice) : 1;
  if (grid.blocks() == 0) return;
  const Product<T, Epilogue> to{c, epilogue};
  const std::int64_t size = grid.batch * s.m * s.n;
  const Scratch sliced(hip, grid.slices > 1 ? grid.slices * size * std::int64_t{sizeof(A)} : 0);
  with_directions<T, Epilogue>(s, [&](auto lie) {
    using Lie = decltype(lie);
    product<Tile, Lie><<<narrow(grid.blocks()), Tile::kThreads, 0, stream_of(hip)>>>(
        s, grid, a, b, to, grid.slices > 1 ? sliced.as<A>() : nullptr);
  });
  check_launch("matmul");
  if (grid.slices == 1) return;
  constexpr int threads = 128;
  const auto add = [&](auto together) {
    constexpr int N = decltype(together)::value;
    add_slices<N><<<narrow((size / N + threads - 1) / threads), threads, 0, stream_of(hip)>>>(
        s, grid, sliced.as<A>(), to);
    check_launch("matmul, second pass");
  };
  constexpr int pack = Pack<A>::kSize;
  s.n % pack == 0 ? add(std::integral_constant<int, pack>()) : add(std::integral_constant<int, 1>());
}

/// Nanoseconds that a multiprocessor needs for one step of k of `blocks` tiles: what they cost for being
/// there at all, and each.
struct Pace {
  double any, each;
  double of(double blocks) const { return blocks > 0 ? any + blocks * each : 0; }
};

/// The tiles of products, and their pace on a GPU of 132 multiprocessors.
template <class T>
struct ProductTiles {
  using Large = typename Tiles<T>::Large;
  using Medium = Tile<float, 64, 64, 8, 8, 32, 4>;
  using Small = typename Tiles<T>::Small;
  static constexpr Pace kLarge{42, 73}, kMedium{7.9, 22.2}, kSmall{6.5, 7.4};
};
template <>
struct ProductTiles<double> {
  using Large = Tiles<double>::Large;
  using Medium = Large;
  using Small = Tiles<double>::Small;
  static constexpr Pace kLarge{22, 43}, kMedium = kLarge, kSmall{18, 18};
};

/// A tile and a number of slices, and how long the product takes with them.
struct Choice {
  enum Shape { large, medium, small } shape = small;
  std::int64_t slices = 1;
  double seconds = 1e30;
};

/// An estimate from what was measured. It knows three things: a multiprocessor that has fewer blocks than it
/// could is slower, but not in proportion; what is left over after full rounds costs as much as its blocks; a
/// second pass reads and writes all slices.
template <class Tile>
void consider(Choice& best, Choice::Shape shape, Pace pace, const Matmul& s) {
  constexpr double processors = 132, launch = 4e-6, bandwidth = 1.8e12;
  constexpr double at_once = processors * Tile::kBlocks;
  for (const std::int64_t slices : {1, 2, 3, 4, 6, 8, 11, 16, 22, 32}) {
    const Grid grid = Grid::of<Tile>(s, slices);
    const double blocks = static_cast<double>(grid.blocks());
    // Where one slice fills the GPU, more only cost a second pass; so C is small where there are any.
    if (slices > 1 && (s.k / slices < 64 || blocks / static_cast<double>(slices) > at_once)) break;
    const double rounds = std::floor(blocks / at_once), rest = blocks - rounds * at_once;
    const double step = rounds * pace.of(Tile::kBlocks) + pace.of(std::ceil(rest / processors));
    const double size = static_cast<double>(grid.batch * s.m * s.n) * sizeof(typename Tile::Sum);
    const double second_pass = slices > 1 ? size * static_cast<double>(slices + 1) / bandwidth : 0;
    const double seconds = launch + 1e-9 * step * static_cast<double>(grid.slice) + second_pass;
    if (seconds < best.seconds) best = {shape, slices, seconds};
  }
}

/// The fastest by that estimate; of the shape alone, so that repeating a product repeats its bits.
template <class T>
Choice choose(const Matmul& s) {
  using Of = ProductTiles<T>;
  Choice best;
  consider<typename Of::Large>(best, Choice::large, Of::kLarge, s);
  consider<typename Of::Medium>(best, Choice::medium, Of::kMedium, s);
  consider<typename Of::Small>(best, Choice::small, Of::kSmall, s);
  return best;
}

}  // namespace

template <class Epilogue, class T>
void matmul(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue) {
  if (has_few_rows(s)) return matmul_few_rows(hip, s, c, a, b, epilogue);
  using Of = ProductTiles<T>;
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
