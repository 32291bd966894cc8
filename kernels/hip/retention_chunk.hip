// Scores within chunks, and what they and the states between chunks contribute to each step, forward and
// backward. Each is a tile of a matrix product (tile.h) with decays where Eq. (7) has them.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// Where a block's tile begins in its matrix, and which matrix that is.
template <class Tile>
struct Place {
  int j, i;
  unsigned matrix;

  __device__ Place(unsigned block, std::int64_t down, std::int64_t across)
      : j(static_cast<int>(block % narrow(across) * Tile::kColumns)),
        i(static_cast<int>(block / narrow(across) % narrow(down) * Tile::kRows)),
        matrix(block / narrow(across * down)) {}
};

template <class T>
struct ScoresPair {
  Scores<T> of[2];
};

/// A tile of M of one chunk.
template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads,
                             Tile::kBlocks) void score_chunk(Chunks<T> all, ScoresPair<T> pair,
                                                             std::int64_t down, std::int64_t across) {
  constexpr int kDistances = Tile::kRows + Tile::kColumns;
  __shared__ typename Tile::Shared shared;
  // Of the rows of the tile, and of their distances from its columns, from the smallest on.
  __shared__ T factor[Tile::kRows], added[Tile::kRows], power[kDistances];
  const Scores<T>& m = pair.of[blockIdx.y];
  const Place<Tile> place(blockIdx.x, down, across);
  const int j = place.j, i = static_cast<int>(all.strip) + place.i;
  const unsigned index = place.matrix;
  const Chunk<T> chunk(all, index / narrow(all.count), static_cast<int>(index % narrow(all.count)));
  const int n = chunk.length, nearest = i - (j + Tile::kColumns - 1);
  if (i >= n) return;
  const bool in_the_future = j >= i + Tile::kRows;
  const bool counts = !in_the_future && !out_of_reach(chunk, nearest);
  using X = Operand<T>;
  const Directions<Along::depth, Along::depth> lie;
  Multiplier<Tile, X> multiplier(shared);
  if (counts)
    multiplier.begin(lie, X(chunk.rows(m.x, m.x_layout) + i * m.x_layout.time, m.x_layout.time, 1, n - i),
                     X(chunk.rows(m.y, m.y_layout) + j * m.y_layout.time, m.y_layout.time, 1, n - j),
                     m.depth);
  const T *const factors = chunk.steps(m.factors, all.s.n), *const more = chunk.steps(m.added, all.s.n);
  for (int y = static_cast<int>(threadIdx.x); y < Tile::kRows && i + y < n; y += Tile::kThreads) {
    factor[y] = factors ? factors[i + y] : T(1);
    added[y] = more ? more[i + y] : T(0);
  }
  for (int e = static_cast<int>(threadIdx.x); e < kDistances; e += Tile::kThreads) {
    const int distance = nearest + e;
    power[e] = distance >= 0 && distance < n ? chunk.powers[distance] : T(0);
  }
  __syncthreads();
  Sums<Tile> sums;
  if (counts && i == j)
    multiplier.for_each_piece(
        lie, [] {}, [&](const T* a, const T* b, int) { sums.template add<Part::lower>(a, b); });
  else if (counts)
    multiplier.multiply(lie, sums);
  sums.for_each_run([&](int y, int x, T* run) {
#pragma unroll
    for (int e = 0; e < Tile::kColumnRun; ++e) {
      const bool past = i + y >= j + x + e;
      run[e] = past ? power[y - (x + e) + Tile::kColumns - 1] * (factor[y] * (run[e] + added[y])) : T(0);
    }
  });
  store_tile(sums, m.to + (index * all.strip_rows - all.strip + i) * all.chunk + j, all.chunk, n - i,
             all.chunk - j);
}

template <class T>
struct Mixtures {
  Mixture<T> of[3];
};

/// What a mixture multiplies the rows of a tile by, and z of its columns: read from memory once, by one
/// thread each. out = whole (scale (x S + weight z) + ..).
template <class Tile, class T>
struct StateFactors {
  T scale[Tile::kRows], weight[Tile::kRows], whole[Tile::kRows], z[Tile::kColumns];

  /// By all threads of the block; the barrier of the next piece makes it known to all.
  __device__ void fill(const Chunks<T>& all, const Chunk<T>& chunk, const Mixture<T>& m, const T* z_of_chunk,
                       int i, int j) {
    const T *const factors = chunk.steps(m.factors, all.s.n), *const weights =
                                                                  chunk.steps(m.weights, all.s.n);
    const T* const row_sums = chunk.steps(m.row_sums, all.s.n);
    const T* const root_s = m.root_s ? m.root_s + chunk.h * all.s.n + chunk.first : nullptr;
    for (int y = static_cast<int>(threadIdx.x); y < Tile::kRows && i + y < chunk.length;
         y += Tile::kThreads) {
      scale[y] = decay(chunk, m.border, i + y) * (factors ? factors[i + y] : T(1));
      weight[y] = weights ? weights[i + y] : T(1);
      whole[y] = root_s ? inverse_divisor(row_sums[i + y], root_s[i + y]) : T(1);
    }
    if (!z_of_chunk) return;
    for (int x = static_cast<int>(threadIdx.x); x < Tile::kColumns && j + x < m.columns; x += Tile::kThreads)
      z[x] = z_of_chunk[j + x];
  }
};

/// A tile of one chunk's rows of one result. What the mixture says of directions is part of the type.
template <class Tile, bool kFuture, bool kTransposed, class T>
__device__ __forceinline__ void mix_tile(typename Tile::Shared& shared, StateFactors<Tile, T>& factors,
                                         const Chunks<T>& all, const Mixture<T>& m, const Chunk<T>& chunk,
                                         unsigned index, int i, int j) {
  using X = Operand<T>;
  const Directions<Along::depth, kTransposed ? Along::depth : Along::rows> with_state;
  const Directions<kFuture ? Along::rows : Along::depth, Along::rows> with_steps;
  const int n = chunk.length, columns = static_cast<int>(m.columns) - j;
  const std::int64_t C = all.chunk;
  // The rows of the tile meet steps up to their own, or from their own on.
  int first = kFuture ? i : 0;
  while (!kFuture && out_of_reach(chunk, i - (first + Tile::kRows - 1))) first += Tile::kRows;

  Multiplier<Tile, X> multiplier(shared);
  const auto begin_within = [&] {
    const T* const M = m.scores + (index * all.strip_rows - all.strip + i) * C + first;
    const int past = kFuture || i + Tile::kRows > n ? n : i + Tile::kRows;
    multiplier.begin(
        with_steps, X(M, kFuture ? 1 : C, kFuture ? C : 1, n - i),
        X(chunk.rows(m.y, m.y_layout) + first * m.y_layout.time + j, 1, m.y_layout.time, columns),
        past - first);
  };
  Sums<Tile> sums;
  const T* const z = m.z.size > 0 ? m.z.at(all, chunk.head, chunk.index, m.border) : nullptr;
  if (const T* const S = m.S.at(all, chunk.head, chunk.index, m.border)) {
    const std::int64_t dv = all.s.dv;
    multiplier.begin(
        with_state, X(chunk.rows(m.x, m.x_layout) + i * m.x_layout.time, m.x_layout.time, 1, n - i),
        X(kTransposed ? S + j * dv : S + j, kTransposed ? dv : 1, kTransposed ? 1 : dv, columns), m.depth);
    factors.fill(all, chunk, m, z, i, j);
    multiplier.multiply(with_state, sums, begin_within);
    sums.for_each_run([&](int y, int x, T* run) {
#pragma unroll
      for (int e = 0; e < Tile::kColumnRun; ++e)
        run[e] = factors.scale[y] * (z ? run[e] + factors.weight[y] * factors.z[x + e] : run[e]);
    });
  } else {
    begin_within();
    factors.fill(all, chunk, m, nullptr, i, j);
  }
  // A piece past the middle of the tile meets its last rows only; seen from the future it is the other way.
  constexpr int half = Tile::kRows / 2;
  const int middle = kFuture ? half - Tile::kDepth : i - first + half - 1;
  multiplier.for_each_piece(
      with_steps, [] {},
      [&](const T* a, const T* b, int depth) {
        if (kFuture ? depth > middle : depth <= middle)
          sums.add(a, b);
        else
          sums.template add<kFuture ? Part::first_rows : Part::last_rows>(a, b);
      });
  sums.for_each_run([&](int y, int, T* run) {
#pragma unroll
    for (int e = 0; e < Tile::kColumnRun; ++e) run[e] *= factors.whole[y];
  });
  store_tile(sums, chunk.rows(m.out, m.out_layout) + i * m.out_layout.time + j, m.out_layout.time, n - i,
             columns);
}

template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads,
                             Tile::kBlocks) void mix_chunk(Chunks<T> all, Mixtures<T> mixtures,
                                                           std::int64_t down, std::int64_t across) {
  __shared__ typename Tile::Shared shared;
  __shared__ StateFactors<Tile, T> factors;
  const Mixture<T>& m = mixtures.of[blockIdx.y];
  const Place<Tile> place(blockIdx.x, down, across);
  const int j = place.j, i = static_cast<int>(all.strip) + place.i;
  const unsigned index = place.matrix;
  const Chunk<T> chunk(all, index / narrow(all.count), static_cast<int>(index % narrow(all.count)));
  if (i >= chunk.length || j >= m.columns) return;
  if (m.future)
    m.transposed ? mix_tile<Tile, true, true>(shared, factors, all, m, chunk, index, i, j)
                 : mix_tile<Tile, true, false>(shared, factors, all, m, chunk, index, i, j);
  else
    m.transposed ? mix_tile<Tile, false, true>(shared, factors, all, m, chunk, index, i, j)
                 : mix_tile<Tile, false, false>(shared, factors, all, m, chunk, index, i, j);
}

template <class Tile, class T>
void scores_with(Hip hip, const Chunks<T>& all, const ScoresPair<T>& pair, int count) {
  const std::int64_t down = tiles(all.strip_rows, Tile::kRows);
  const std::int64_t across = tiles(all.strip + all.strip_rows, Tile::kColumns);
  const auto blocks = static_cast<unsigned>(all.heads() * all.count * down * across);
  if (blocks == 0) return;
  const dim3 grid(blocks, static_cast<unsigned>(count));
  score_chunk<Tile><<<grid, Tile::kThreads, 0, stream_of(hip)>>>(all, pair, down, across);
  check_launch("retention, scores");
}

template <class Tile, class T>
void mix_with(Hip hip, const Chunks<T>& all, const Mixtures<T>& mixtures, int count) {
  std::int64_t columns = 0;
  for (int i = 0; i < count; ++i)
    columns = columns < mixtures.of[i].columns ? mixtures.of[i].columns : columns;
  const std::int64_t down = tiles(all.strip_rows, Tile::kRows), across = tiles(columns, Tile::kColumns);
  const auto blocks = static_cast<unsigned>(all.heads() * all.count * down * across);
  if (blocks == 0) return;
  const dim3 grid(blocks, static_cast<unsigned>(count));
  mix_chunk<Tile><<<grid, Tile::kThreads, 0, stream_of(hip)>>>(all, mixtures, down, across);
  check_launch("retention, outputs");
}

/// f(a tile) for a matrix of rows x columns, `count` times.
template <class T, class F>
void with_tile(std::int64_t rows, std::int64_t columns, std::int64_t count, F f) {
  using Of = Tiles<T>;
  using Large = typename Of::Large;
  const bool wide = rows > Large::kRows / 2 && columns > Large::kColumns / 2;
  if (wide && tiles(rows, Large::kRows) * tiles(columns, Large::kColumns) * count >= kManyBlocks)
    f(Large{});
  else if (rows > 32 && columns > 32)
    f(typename Of::Medium{});
  else
    f(typename Of::Small{});
}

}  // namespace

template <class T>
void scores(Hip hip, const Chunks<T>& all, const Scores<T> (&m)[2], int count) {
  const ScoresPair<T> pair{{m[0], m[1]}};
  with_tile<T>(all.strip_rows, all.strip + all.strip_rows, all.heads() * all.count * count,
               [&](auto tile) { scores_with<decltype(tile)>(hip, all, pair, count); });
}

template <class T>
void mix(Hip hip, const Chunks<T>& all, const Mixture<T> (&m)[3], int count) {
  const Mixtures<T> mixtures{{m[0], m[1], m[2]}};
  const std::int64_t columns = all.s.dk < all.s.dv || count == 1 ? all.s.dv : all.s.dk;
  with_tile<T>(all.strip_rows, columns, all.heads() * all.count * count,
               [&](auto tile) { mix_with<decltype(tile)>(hip, all, mixtures, count); });
}

#define RETNET_RETENTION_CHUNK(T)                                             \
  template void scores<T>(Hip, const Chunks<T>&, const Scores<T>(&)[2], int); \
  template void mix<T>(Hip, const Chunks<T>&, const Mixture<T>(&)[3], int);
RETNET_RETENTION_CHUNK(float)
RETNET_RETENTION_CHUNK(double)

}  // namespace retnet::kernels
