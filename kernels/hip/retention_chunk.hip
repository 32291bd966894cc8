// The three kernels that chunkwise retention is made of, forward and backward: a walk over states, scores
// within chunks, and what both contribute to each step. Each is a tile of a matrix product (tile.h) with
// decays where Eq. (7) has them.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

std::int64_t tiles(std::int64_t n, int side) { return (n + side - 1) / side; }

/// A block owns a tile of S, or of its gradient, of one head, and keeps it in registers from the first chunk
/// to the last. Blocks of the first column of tiles also have z: it is what a column of ones beside Y gives.
template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void walk_head(Chunks<T> all, Walk<T> w,
                                                                           std::int64_t down,
                                                                           std::int64_t across) {
  __shared__ typename Tile::Shared shared;
  const std::int64_t dk = all.s.dk, dv = all.s.dv, head = blockIdx.x / (across * down);
  const std::int64_t j = blockIdx.x % across * Tile::kColumns, i = blockIdx.x / across % down * Tile::kRows;
  const int rows = static_cast<int>(dk - i), columns = static_cast<int>(dv - j);
  const int thread = static_cast<int>(threadIdx.x);
  const bool has_z = j == 0 && thread < Tile::kRows && thread < rows;
  Sums<Tile> sums;
  T z = has_z && w.z ? w.z[head * dk + i + thread] : T(0);
  if (w.S) {
    const T* const S = w.S + (head * dk + i) * dv + j;
    sums.for_each([&](int y, int x, T& sum) {
      if (y < rows && x < columns) sum = S[y * dv + x];
    });
  }
  const auto write = [&](T* all_S, T* all_z, std::int64_t index) {
    if (!all_S) return;
    T* const S = all_S + (index * dk + i) * dv + j;
    sums.for_each_run([&](int y, int x, T* run) {
      if (y < rows && x < columns) store_run<Tile::kColumnRun>(S + y * dv + x, run, columns - x);
    });
    if (has_z) all_z[index * dk + i + thread] = z;
  };
  if (all.count == 0) write(w.end_S, w.end_z, head);

  using Rows = Operand<T, Along::rows>;
  Multiplier<Tile, Decayed<T>, Rows> multiplier(shared);
  const Border border = w.backwards ? Border::before : Border::after;
  const auto begin = [&](std::int64_t index) {
    const Chunk<T> chunk(all, head, index);
    const Rows x(chunk.rows(w.x, w.x_layout) + i, 1, w.x_layout.time, dk - i);
    multiplier.begin(Decayed<T>(x, chunk, border, chunk.steps(w.factors, all.s.n)),
                     Rows(chunk.rows(w.y, w.y_layout) + j, 1, w.y_layout.time, dv - j), chunk.length);
  };
  const std::int64_t steps = w.end_S ? all.count : all.borders();
  const auto index_of = [&](std::int64_t step) { return w.backwards ? all.count - 1 - step : step; };
  if (steps > 0) begin(index_of(0));
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int64_t index = index_of(step);
    const Chunk<T> chunk(all, head, index);
    const T keep = chunk.powers[chunk.length];
    sums.for_each([&](int, int, T& sum) { sum *= keep; });
    z *= keep;
    const T* const weights = chunk.steps(w.weights, all.s.n);
    const auto begin_next = [&] {
      if (step + 1 < steps) begin(index_of(step + 1));
    };
    multiplier.for_each_piece(begin_next, [&](const T* piece, const T* other, int first) {
      sums.add(piece, other);
      if (!has_z) return;
      const int left = static_cast<int>(chunk.length) - first;
      for (int p = 0; p < Tile::kDepth && p < left; ++p) {
        const T x_p = piece[p * Tile::kRowStep + thread];
        z += weights ? weights[first + p] * x_p : x_p;
      }
    });
    const bool end = step + 1 == all.count;
    write(end ? w.end_S : w.between_S, end ? w.end_z : w.between_z,
          end ? head : head * all.borders() + (w.backwards ? index - 1 : index));
  }
}

template <class T>
struct ScoresPair {
  Scores<T> of[2];
};

/// A tile of M of one chunk.
template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void score_chunk(Chunks<T> all,
                                                                             ScoresPair<T> pair,
                                                                             std::int64_t side) {
  __shared__ typename Tile::Shared shared;
  const Scores<T>& m = pair.of[blockIdx.y];
  const std::int64_t j = blockIdx.x % side * Tile::kColumns, i = blockIdx.x / side % side * Tile::kRows;
  const std::int64_t index = blockIdx.x / (side * side);
  const Chunk<T> chunk(all, index / all.count, index % all.count);
  const std::int64_t n = chunk.length;
  if (i >= n) return;
  const bool in_the_future = j >= i + Tile::kRows;
  Sums<Tile> sums;
  if (!in_the_future) {
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
  T* const to = m.to + index * all.chunk * all.chunk;
  sums.for_each_run([&](int y, int x, T* run) {
    const std::int64_t row = i + y, column = j + x;
    if (row >= n || column >= all.chunk) return;
    const T factor = factors ? factors[row] : T(1), more = added ? added[row] : T(0);
#pragma unroll
    for (int e = 0; e < Tile::kColumnRun; ++e) {
      const std::int64_t distance = row - (column + e);
      run[e] = distance >= 0 ? chunk.powers[distance] * (factor * (run[e] + more)) : T(0);
    }
    store_run<Tile::kColumnRun>(to + row * all.chunk + column, run, all.chunk - column);
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
  const std::int64_t j = blockIdx.x % across * Tile::kColumns, i = blockIdx.x / across % down * Tile::kRows;
  const std::int64_t index = blockIdx.x / (across * down), C = all.chunk;
  const Chunk<T> chunk(all, index / all.count, index % all.count);
  const std::int64_t n = chunk.length, columns = m.columns - j;
  if (i >= n || columns <= 0) return;
  Sums<Tile> sums;

  Multiplier<Tile, Operand<T>> multiplier(shared);
  // The rows of the tile meet steps up to their own, or from their own on.
  const auto begin_within = [&] {
    const T* const M = m.scores + index * C * C;
    const std::int64_t first = m.future ? i : 0, past = i + Tile::kRows;
    const Operand<T> weights =
        m.future ? Operand<T>(M + i * C + i, 1, C, n - i) : Operand<T>(M + i * C, C, 1, n - i);
    multiplier.begin(
        weights,
        Operand<T>(chunk.rows(m.y, m.y_layout) + first * m.y_layout.time + j, 1, m.y_layout.time, columns),
        (m.future || past > n ? n : past) - first);
  };
  if (const T* const S = m.S.at(all, chunk.head, index % all.count, m.border)) {
    const Operand<T> x(chunk.rows(m.x, m.x_layout) + i * m.x_layout.time, m.x_layout.time, 1, n - i);
    multiplier.begin(x,
                     m.transposed ? Operand<T>(S + j * all.s.dv, all.s.dv, 1, columns)
                                  : Operand<T>(S + j, 1, all.s.dv, columns),
                     m.depth);
    multiplier.multiply(sums, begin_within);
    const T* const z = m.z.size > 0 ? m.z.at(all, chunk.head, index % all.count, m.border) : nullptr;
    const T *const factors = chunk.steps(m.factors, all.s.n), *const weights =
                                                                  chunk.steps(m.weights, all.s.n);
    sums.for_each([&](int y, int x, T& sum) {
      if (i + y >= n) return;
      if (z && x < columns) sum += weights ? weights[i + y] * z[j + x] : z[j + x];
      sum *= decay(chunk, m.border, i + y) * (factors ? factors[i + y] : T(1));
    });
  } else {
    begin_within();
  }
  // A piece past the middle of the tile meets its last rows only; seen from the future it is the other way.
  constexpr int half = Tile::kRows / 2;
  const int middle = static_cast<int>(m.future ? half - Tile::kDepth : i + half - 1);
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
  sums.for_each_run([&](int y, int x, T* run) {
    const std::int64_t row = i + y;
    if (row >= n || x >= columns) return;
    if (root_s) {
      const T whole = inverse_divisor(row_sums[row], root_s[row]);
#pragma unroll
      for (int e = 0; e < Tile::kColumnRun; ++e) run[e] *= whole;
    }
    store_run<Tile::kColumnRun>(out + row * m.out_layout.time + x, run, columns - x);
  });
}

template <class Tile, class T>
void walk_with(Hip hip, const Chunks<T>& all, const Walk<T>& w) {
  const std::int64_t down = tiles(all.s.dk, Tile::kRows), across = tiles(all.s.dv, Tile::kColumns);
  const auto blocks = static_cast<unsigned>(all.heads() * down * across);
  if (blocks == 0) return;
  walk_head<Tile><<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(all, w, down, across);
  check_launch("retention, states");
}

template <class Tile, class T>
void scores_with(Hip hip, const Chunks<T>& all, const ScoresPair<T>& pair, int count) {
  const std::int64_t side = tiles(all.chunk, Tile::kRows);
  const auto blocks = static_cast<unsigned>(all.heads() * all.count * side * side);
  if (blocks == 0) return;
  const dim3 grid(blocks, static_cast<unsigned>(count));
  score_chunk<Tile><<<grid, Tile::kThreads, 0, stream_of(hip)>>>(all, pair, side);
  check_launch("retention, scores");
}

template <class Tile, class T>
void mix_with(Hip hip, const Chunks<T>& all, const Mixtures<T>& mixtures, int count) {
  std::int64_t columns = 0;
  for (int i = 0; i < count; ++i)
    columns = columns < mixtures.of[i].columns ? mixtures.of[i].columns : columns;
  const std::int64_t down = tiles(all.chunk, Tile::kRows), across = tiles(columns, Tile::kColumns);
  const auto blocks = static_cast<unsigned>(all.heads() * all.count * down * across);
  if (blocks == 0) return;
  const dim3 grid(blocks, static_cast<unsigned>(count));
  mix_chunk<Tile><<<grid, Tile::kThreads, 0, stream_of(hip)>>>(all, mixtures, down, across);
  check_launch("retention, outputs");
}

/// Work that large tiles must leave for this many blocks.
constexpr std::int64_t kManyBlocks = 128;

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
void walk(Hip hip, const Chunks<T>& all, const Walk<T>& w) {
  // A block walks alone for a long time, so there should be many, and of equal work.
  const auto blocks = [&](int rows, int columns) {
    return tiles(all.s.dk, rows) * tiles(all.s.dv, columns) * all.heads();
  };
  using Of = Tiles<T>;
  if (blocks(Of::Medium::kRows, Of::Medium::kColumns) >= kManyBlocks)
    walk_with<typename Of::Medium>(hip, all, w);
  else
    walk_with<typename Of::Small>(hip, all, w);
}

template <class T>
void scores(Hip hip, const Chunks<T>& all, const Scores<T> (&m)[2], int count) {
  const ScoresPair<T> pair{{m[0], m[1]}};
  with_tile<T>(all.chunk, all.chunk, all.heads() * all.count * count,
               [&](auto tile) { scores_with<decltype(tile)>(hip, all, pair, count); });
}

template <class T>
void mix(Hip hip, const Chunks<T>& all, const Mixture<T> (&m)[3], int count) {
  const Mixtures<T> mixtures{{m[0], m[1], m[2]}};
  const std::int64_t columns = all.s.dk < all.s.dv || count == 1 ? all.s.dv : all.s.dk;
  with_tile<T>(all.chunk, columns, all.heads() * all.count * count,
               [&](auto tile) { mix_with<decltype(tile)>(hip, all, mixtures, count); });
}

#define RETNET_RETENTION_CHUNK(T)                                             \
  template void walk<T>(Hip, const Chunks<T>&, const Walk<T>&);               \
  template void scores<T>(Hip, const Chunks<T>&, const Scores<T>(&)[2], int); \
  template void mix<T>(Hip, const Chunks<T>&, const Mixture<T>(&)[3], int);
RETNET_RETENTION_CHUNK(float)
RETNET_RETENTION_CHUNK(double)

}  // namespace retnet::kernels
