// The parallel form, Eq. (5), without its N x N matrix: a block of queries walks over blocks of keys, from
// the first to its own, and adds up outputs and row sums. A block of scores exists in shared memory only,
// between the product that makes it and the one that uses it. Blocks for other columns of o compute it again.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// Queries are the rows of a tile; keys, and in turn columns of o, its columns.
template <class T>
struct ParallelTile;
template <>
struct ParallelTile<float> {
  using type = Tile<float, 64, 64, 8, 4>;
};
template <>
struct ParallelTile<double> {
  using type = Tile<double, 32, 32, 4, 2>;
};

template <class Tile, class T>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void attend(Chunks<T> all, RetentionTensors<T> in,
                                                                        RetentionOutput<T> out,
                                                                        std::int64_t down,
                                                                        std::int64_t across) {
  constexpr int queries = Tile::kRows, keys = Tile::kColumns, score_step = keys + Pack<T>::kSize;
  __shared__ typename Tile::Shared shared;
  alignas(16) __shared__ T block[queries * score_step];  // of scores
  __shared__ T row_sums[queries];
  const Retention<T>& s = all.s;
  // Later queries have more keys: they begin first, so that no long walk is left at the end.
  const std::int64_t j = blockIdx.x % across * Tile::kColumns;
  const std::int64_t i = (down - 1 - blockIdx.x / across % down) * queries;
  const Chunk<T> head(all, blockIdx.x / (across * down), 0);  // all N steps
  const std::int64_t n = s.n, columns = s.dv - j;
  const int thread = static_cast<int>(threadIdx.x);
  const T* const q = head.rows(in.q, s.q);
  const Operand<T> q_rows(q + i * s.q.time, s.q.time, 1, n - i);

  // Eq. (7): what is left of the state, gamma^(n+1) q_n S, and the same of z
  Multiplier<Tile, Operand<T>> multiplier(shared);
  Sums<Tile> o;
  if (in.S) {
    multiplier.begin(q_rows, Operand<T>(in.S + head.head * s.dk * s.dv + j, 1, s.dv, columns), s.dk);
    multiplier.multiply(o);
    o.for_each([&](int y, int, T& sum) { sum *= i + y < n ? decay(head, Border::before, i + y) : T(0); });
  }
  T row_sum = T(0);
  if (thread < queries && i + thread < n && in.z) {
    for (std::int64_t d = 0; d < s.dk; ++d)
      row_sum += q[(i + thread) * s.q.time + d] * in.z[head.head * s.dk + d];
    row_sum *= decay(head, Border::before, i + thread);
  }

  for (std::int64_t key = 0; key < i + queries && key < n; key += keys) {
    const std::int64_t nearest = i - (key + keys - 1);
    if (nearest > 0 && !(head.powers[nearest] > T(0))) continue;  // all decays have become 0
    Sums<Tile> scores;
    const Operand<T> k(head.rows(in.k, s.k) + key * s.k.time, s.k.time, 1, n - key);
    multiplier.begin(q_rows, k, s.dk);
    multiplier.multiply(scores);
    scores.for_each([&](int y, int x, T& sum) {
      const std::int64_t distance = i + y - (key + x);
      block[y * score_step + x] = distance >= 0 && distance <= n ? sum * head.powers[distance] : T(0);
    });
    __syncthreads();
    if (thread < queries)
      for (int x = 0; x < keys; ++x) row_sum += block[thread * score_step + x];
    const Operand<T> v(head.rows(in.v, s.v) + key * s.v.time + j, 1, s.v.time, columns);
    multiplier.begin(Operand<T>(block, score_step, 1, queries), v, n - key < keys ? n - key : keys);
    multiplier.multiply(o);
  }

  if (thread < queries) row_sums[thread] = row_sum;
  if (thread < queries && i + thread < n && j == 0) out.row_sums[head.head * n + i + thread] = row_sum;
  __syncthreads();
  o.for_each_run([&](int y, int x, T* run) {
    if (i + y >= n || x >= columns) return;
    if (s.root_s) {
      const T whole = inverse_divisor(row_sums[y], s.root_s[head.h * n + i + y]);
#pragma unroll
      for (int e = 0; e < Tile::kColumnRun; ++e) run[e] *= whole;
    }
    store_run<Tile::kColumnRun>(head.rows(out.o, s.o) + (i + y) * s.o.time + j + x, run, columns - x);
  });
}

}  // namespace

template <class T>
void retention_parallel(Hip hip, const Retention<T>& s, const RetentionTensors<T>& in,
                        const RetentionOutput<T>& out) {
  constexpr std::int64_t states_chunk = 128;  // the state is still Eq. (7)'s, taken in pieces
  Walk<T> w;
  w.x = in.k, w.x_layout = s.k, w.y = in.v, w.y_layout = s.v;
  w.S = in.S, w.z = in.z, w.end_S = out.S, w.end_z = out.z;
  walk(hip, Chunks<T>(s, s.n < states_chunk && s.n > 0 ? s.n : states_chunk), w);

  using Tile = typename ParallelTile<T>::type;
  const std::int64_t down = (s.n + Tile::kRows - 1) / Tile::kRows;
  const std::int64_t across = (s.dv + Tile::kColumns - 1) / Tile::kColumns;
  const auto blocks = static_cast<unsigned>(s.batch * s.heads * down * across);
  if (blocks == 0) return;
  attend<Tile><<<blocks, Tile::kThreads, 0, stream_of(hip)>>>(Chunks<T>(s, s.n), in, out, down, across);
  check_launch("retention_parallel");
}

template void retention_parallel<float>(Hip, const Retention<float>&, const RetentionTensors<float>&,
                                        const RetentionOutput<float>&);
template void retention_parallel<double>(Hip, const Retention<double>&, const RetentionTensors<double>&,
                                         const RetentionOutput<double>&);

}  // namespace retnet::kernels
