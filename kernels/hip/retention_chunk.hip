// Scores within chunks, and what they and the states between chunks contribute to each step, forward and
// backward. Each is a tile of a matrix product (tile.h) with decays where Eq. (7) has them.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// Where a block's tile begins in its matrix, and which matrix that is.
template <class Tile>
struct Place {
  std::int64_t j, i, matrix;

  __device__ Place(unsigned block, std::int64_t down, std::int64_t across)
      : j(block % narrow(across) * Tile::kColumns),
        i(block / narrow(across) % narrow(down) * Tile::kRows),
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
  __shared__ typename Tile::Shared shared;
  const Scores<T>& m = pair.of[blockIdx.y];
  const Place<Tile> place(blockIdx.x, down, across);
  const std::int64_t j = place.j, i = all.strip + place.i, index = place.matrix;
  const Chunk<T> chunk(all, narrow(index) / narrow(all.count), narrow(index) % narrow(all.count));
  const std::int64_t n = chunk.length;
  if (i >= n) return;
  const bool in_the_future = j >= i + Tile::kRows;
  Sums<Tile> sums;
  if (!in_the_future && !out_of_reach(chunk, i - (j + Tile::kColumns - 1))) {
    const Operand<T, Along::depth> x(chunk.rows(m.x, m.x_layout) + i * m.x_layout.time, m.x_layout.time, 1,
                                     n - i);
    const Operand<T, Along::depth> y(chunk.rows(m.y, m.y_layout) + j * m.y_layout.time, m.y_layout.time, 1,
                                     n - j);
    Multiplier<Tile, Operand<T, Along::depth>> multiplier(shared);
    multiplier.begin(x, y, m.depth);
    if (i == j)
      multiplier.for_each_piece([] {},
                                [&](const T* a, const T* b, int) { sums.template add<Part::lower>(a, b); });
    else
      multiplier.multiply(sums);
  }
  const T *const factors = chunk.steps(m.factors, all.s.n), *const added = chunk.steps(m.added, all.s.n);
  T* const to = m.to + (index * all.strip_rows - all.strip) * all.chunk;
  sums.for_each_row([&](int y, auto runs) {
    const std::int64_t row = i + y;
    if (row >= n) return;
    const T factor = factors ? factors[row] : T(1), more = added ? added[row] : T(0);
    T* const to_row = to + row * all.chunk;
    runs([&](int x, T* run) {
      const std::int64_t column = j + x;
      if (column >= all.chunk) return;
#pragma unroll
      for (int e = 0; e < Tile::kColumnRun; ++e) {
        const std::int64_t distance = row - (column + e);
        run[e] = distance >= 0 ? chunk.powers[distance] * (factor * (run[e] + more)) : T(0);
      }
      store_run<Tile::kColumnRun>(to_row + column, run, all.chunk - column);
    });
  });
}

template <class T>
struct Mixtures {
  Mixture<T> of[3];
};

/// A tile of one chunk's rows of one result.
template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads,
                             Tile::kBlocks) void mix_chunk(Chunks<T> all, Mixtures<T> mixtures,
                                                           std::int64_t down, std::int64_t across) {
  __shared__ typename Tile::Shared shared;
  const Mixture<T>& m = mixtures.of[blockIdx.y];
  const Place<Tile> place(blockIdx.x, down, across);
  const std::int64_t j = place.j, i = all.strip + place.i, index = place.matrix, C = all.chunk;
  const Chunk<T> chunk(all, narrow(index) / narrow(all.count), narrow(index) % narrow(all.count));
  const std::int64_t n = chunk.length, columns = m.columns - j;
  if (i >= n || columns <= 0) return;
  Sums<Tile> sums;

  Multiplier<Tile, Operand<T>> multiplier(shared);
  // The rows of the tile meet steps up to their own, or from their own on.
  std::int64_t first = m.future ? i : 0;
  while (out_of_reach(chunk, i - (first + Tile::kRows - 1))) first += Tile::kRows;
  const auto begin_within = [&] {
    const T* const M = m.scores + (index * all.strip_rows - all.strip) * C;
    const std::int64_t past = i + Tile::kRows;
    const Operand<T> weights =
        m.future ? Operand<T>(M + i * C + i, 1, C, n - i) : Operand<T>(M + i * C + first, C, 1, n - i);
    multiplier.begin(
        weights,
        Operand<T>(chunk.rows(m.y, m.y_layout) + first * m.y_layout.time + j, 1, m.y_layout.time, columns),
        (m.future || past > n ? n : past) - first);
  };
  if (const T* const S = m.S.at(all, chunk.head, chunk.index, m.border)) {
    const Operand<T> x(chunk.rows(m.x, m.x_layout) + i * m.x_layout.time, m.x_layout.time, 1, n - i);
    multiplier.begin(x,
                     m.transposed ? Operand<T>(S + j * all.s.dv, all.s.dv, 1, columns)
                                  : Operand<T>(S + j, 1, all.s.dv, columns),
                     m.depth);
    multiplier.multiply(sums, begin_within);
    const T* const z = m.z.size > 0 ? m.z.at(all, chunk.head, chunk.index, m.border) : nullptr;
    const T *const factors = chunk.steps(m.factors, all.s.n), *const weights =
                                                                  chunk.steps(m.weights, all.s.n);
    sums.for_each_row([&](int y, auto runs) {
      const std::int64_t row = i + y;
      if (row >= n) return;
      const T scale = decay(chunk, m.border, row) * (factors ? factors[row] : T(1));
      const T weight = weights ? weights[row] : T(1);
      runs([&](int x, T* run) {
#pragma unroll
        for (int e = 0; e < Tile::kColumnRun; ++e)
          run[e] = scale * (z && x + e < columns ? run[e] + weight * z[j + x + e] : run[e]);
      });
    });
  } else {
    begin_within();
  }
  // A piece past the middle of the tile meets its last rows only; seen from the future it is the other way.
  constexpr int half = Tile::kRows / 2;
  const int middle = static_cast<int>(m.future ? half - Tile::kDepth : i - first + half - 1);
  multiplier.for_each_piece([] {},
                            [&](const T* a, const T* b, int first) {
                              if (m.future && first <= middle)
                                sums.template add<Part::first_rows>(a, b);
                              else if (!m.future && first > middle)
                                sums.template add<Part::last_rows>(a, b);
                              else
                                sums.add(a, b);
                            });

  const T* const row_sums = chunk.steps(m.row_sums, all.s.n);
  const T* const root_s = m.root_s ? m.root_s + chunk.h * all.s.n + chunk.first : nullptr;
  T* const out = chunk.rows(m.out, m.out_layout) + j;
  sums.for_each_row([&](int y, auto runs) {
    const std::int64_t row = i + y;
    if (row >= n) return;
    const T whole = root_s ? inverse_divisor(row_sums[row], root_s[row]) : T(1);
    T* const to = out + row * m.out_layout.time;
    runs([&](int x, T* run) {
      if (x >= columns) return;
#pragma unroll
      for (int e = 0; e < Tile::kColumnRun; ++e) run[e] *= whole;
      store_run<Tile::kColumnRun>(to + x, run, columns - x);
    });
  });
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
