// The walk over the chunks of a head that adds up its states, or backwards their gradients: tiles of a matrix
// product (tile.h) that stay in registers from the first chunk to the last, with decays where Eq. (7) has
// them.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// The order in which a walk visits the chunks, and where it leaves what it has after each of them.
template <class T>
struct Path {
  const Chunks<T>& all;
  const Walk<T>& w;

  __device__ int steps() const { return static_cast<int>(w.end_S ? all.count : all.borders()); }
  __device__ int chunk(int step) const { return w.backwards ? static_cast<int>(all.count) - 1 - step : step; }
  /// The place of a head's state, `size` numbers of `between` or `end`, after a step; null: not wanted.
  __device__ T* place(T* between, T* end, std::int64_t size, unsigned head, int step) const {
    if (step + 1 >= all.count) return end ? end + head * size : nullptr;
    const std::int64_t border = w.backwards ? all.count - 2 - step : step;
    return between ? between + (head * all.borders() + border) * size : nullptr;
  }
};

/// Columns of z that a block walks with, and the threads that share the steps of a chunk.
constexpr int kKeys = 32;

/// Some of z of one head: what a column of ones beside Y would give. Thread row r takes the steps r, r +
/// rows, and so on of a chunk.
template <int Threads, class T>
__device__ void walk_keys(const Chunks<T>& all, const Walk<T>& w, unsigned head, std::int64_t first) {
  constexpr int rows = Threads / kKeys;
  __shared__ T parts[rows][kKeys];
  const int lane = static_cast<int>(threadIdx.x) % kKeys, row = static_cast<int>(threadIdx.x) / kKeys;
  const std::int64_t d = first + lane, dk = all.s.dk;
  const bool inside = d < dk, writes = inside && row == 0;
  const Path<T> path{all, w};
  const Border border = w.backwards ? Border::before : Border::after;
  Chunk<T> chunk(all, head, 0);
  T z = inside && w.z ? w.z[head * dk + d] : T(0);
  if (all.count == 0 && writes && w.end_z) w.end_z[head * dk + d] = z;
  for (int step = 0; step < path.steps(); ++step) {
    chunk.move_to(all, path.chunk(step));
    const T *const factors = chunk.steps(w.factors, all.s.n), *const weights =
                                                                  chunk.steps(w.weights, all.s.n);
    const T* const x = chunk.rows(w.x, w.x_layout) + (inside ? d : 0);
    T sum = T(0);
    const auto add = [&](auto scale) {
#pragma unroll 8
      for (std::int64_t i = row; i < chunk.length; i += rows)
        sum += decay(chunk, border, i) * scale(i) * x[i * w.x_layout.time];
    };
    if (factors)
      add([&](std::int64_t i) { return factors[i] * weights[i]; });
    else
      add([](std::int64_t) { return T(1); });
    parts[row][lane] = sum;
    __syncthreads();
    z *= chunk.powers[chunk.length];
    for (int r = 0; r < rows; ++r) z += parts[r][lane];
    __syncthreads();  // the next chunk overwrites them
    if (T* const to = path.place(w.between_z, w.end_z, dk, head, step); to && writes) to[d] = z;
  }
}

/// A block owns a tile of S, or of its gradient, of one head, and keeps it in registers from the first chunk
/// to the last. The last blocks have z: they are done soon, and must not take a multiprocessor's places
/// before the tiles are spread over all of them.
template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void walk_head(Chunks<T> all, Walk<T> w,
                                                                           std::int64_t down,
                                                                           std::int64_t across) {
  const unsigned groups = narrow(tiles(all.s.dk, kKeys)), of_head = narrow(down * across);
  const unsigned all_tiles = narrow(all.heads()) * of_head;
  if (blockIdx.x >= all_tiles) {
    const unsigned group = blockIdx.x - all_tiles;
    return walk_keys<Tile::kThreads>(all, w, group / groups, group % groups * kKeys);
  }
  __shared__ typename Tile::Shared shared;
  const unsigned head = blockIdx.x / of_head, block = blockIdx.x % of_head;
  const std::int64_t j = block % narrow(across) * Tile::kColumns;
  const std::int64_t i = block / narrow(across) * Tile::kRows;
  const std::int64_t dk = all.s.dk, dv = all.s.dv;
  const int rows = static_cast<int>(dk - i), columns = static_cast<int>(dv - j);
  Sums<Tile> sums;
  if (w.S) {
    const T* const S = w.S + (head * dk + i) * dv + j;
    sums.for_each([&](int y, int x, T& sum) {
      if (y < rows && x < columns) sum = S[y * dv + x];
    });
  }
  const auto write = [&](T* S) {
    if (!S) return;
    store_tile(sums, S + i * dv + j, dv, dk - i, dv - j);
  };
  if (all.count == 0 && w.end_S) write(w.end_S + head * dk * dv);

  Multiplier<Tile, Decayed<T>, Operand<T>> multiplier(shared);
  const Path<T> path{all, w};
  const Border border = w.backwards ? Border::before : Border::after;
  const Directions<Along::rows, Along::rows> lie;
  Chunk<T> chunk(all, head, 0);
  T keep = T(1);  // how much of the state is left after the chunk
  const auto begin = [&](int step) {
    chunk.move_to(all, path.chunk(step));
    keep = chunk.powers[chunk.length];
    const Operand<T> x(chunk.rows(w.x, w.x_layout) + i, 1, w.x_layout.time, dk - i);
    const Operand<T> y(chunk.rows(w.y, w.y_layout) + j, 1, w.y_layout.time, dv - j);
    multiplier.begin(lie, Decayed<T>(x, chunk, border, chunk.steps(w.factors, all.s.n)), y, chunk.length);
  };
  const int steps = path.steps();
  if (steps > 0) begin(0);
  for (int step = 0; step < steps; ++step) {
    sums.for_each([&](int, int, T& sum) { sum *= keep; });
    multiplier.multiply(lie, sums, [&] {
      if (step + 1 < steps) begin(step + 1);
    });
    write(path.place(w.between_S, w.end_S, dk * dv, head, step));
  }
}

template <class Tile, class T>
void walk_with(Hip hip, const Chunks<T>& all, const Walk<T>& w) {
  const std::int64_t down = tiles(all.s.dk, Tile::kRows), across = tiles(all.s.dv, Tile::kColumns);
  const auto blocks = static_cast<unsigned>(all.heads() * (tiles(all.s.dk, kKeys) + down * across));
  if (blocks == 0) return;
  walk_head<Tile><<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(all, w, down, across);
  check_launch("retention, states");
}

}  // namespace

template <class T>
void walk(Hip hip, const Chunks<T>& all, const Walk<T>& w) {
  // A block walks alone for a long time, so there should be many, and of equal work.
  const auto blocks = [&](int rows, int columns) {
    return tiles(all.s.dk, rows) * tiles(all.s.dv, columns) * all.heads();
  };
  using Of = Tiles<T>;
  if (blocks(Of::Large::kRows, Of::Large::kColumns) >= kManyBlocks)
    walk_with<typename Of::Large>(hip, all, w);
  else if (blocks(Of::Medium::kRows, Of::Medium::kColumns) >= kManyBlocks)
    walk_with<typename Of::Medium>(hip, all, w);
  else
    walk_with<typename Of::Small>(hip, all, w);
}

template void walk<float>(Hip, const Chunks<float>&, const Walk<float>&);
template void walk<double>(Hip, const Chunks<double>&, const Walk<double>&);

}  // namespace retnet::kernels
