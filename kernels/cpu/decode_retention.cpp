#include <algorithm>
#include <cmath>

#include "kernels/cpu/simd.h"
#include "kernels/decode.h"

namespace retnet::kernels {
namespace {

/// gamma z + k in z, and q z of what it has become: column by column, the columns added as a tree.
template <class A>
A step_keys(A* z, const A* q, const A* k, std::int64_t dk, A gamma) {
  constexpr int V = static_cast<int>(kTile) / kLanes<A>;
  Vec<A> sums[V] = {};
  for (std::int64_t i = 0; i < padded(dk); i += kTile)
    for (int v = 0; v < V; ++v) {
      const std::int64_t at = i + v * kLanes<A>;
      const Vec<A> z_n = gamma * load(z + at) + load(k + at);  // Eq. (R2)
      store<A>(z + at, z_n);
      sums[v] += load(q + at) * z_n;
    }
  A columns[kTile];
  for (int v = 0; v < V; ++v) store<A>(columns + v * kLanes<A>, sums[v]);
  for (std::int64_t width = kTile / 2; width > 0; width /= 2)
    for (std::int64_t c = 0; c < width; ++c) columns[c] += columns[c + width];
  return columns[0];
}

}  // namespace

// [retention-step]
namespace {

/// Eq. (6) for `Tiles` tiles of columns, beginning with those of v: S_n = gamma S_(n-1) + k_n^T v_n in S, and
/// q_n S_n / c in o. A column's sum is a chain of additions, so few tiles leave the processor waiting.
template <int Tiles, class A>
void step_tiles(A* o, A* S, const A* q, const A* k, const A* v, std::int64_t dk, A gamma, A c) {
  constexpr int V = static_cast<int>(kTile) / kLanes<A>;
  Vec<A> v_j[Tiles * V], sum[Tiles * V] = {};
  for (int w = 0; w < Tiles * V; ++w) v_j[w] = load(v + w * kLanes<A>);
  for (std::int64_t i = 0; i < dk; ++i)
    for (int t = 0; t < Tiles; ++t) {
      A* S_i = S + (t * dk + i) * kTile;
      __builtin_prefetch(S_i + Tiles * dk * kTile, 1);  // of the next tiles: they begin in other pages
      for (int w = 0; w < V; ++w) {
        const Vec<A> S_n = gamma * load(S_i + w * kLanes<A>) + k[i] * v_j[t * V + w];
        store<A>(S_i + w * kLanes<A>, S_n);
        sum[t * V + w] += q[i] * S_n;
      }
    }
  for (int w = 0; w < Tiles * V; ++w) store<A>(o + w * kLanes<A>, sum[w] / c);
}

}  // namespace

template <class A>
void retention_step(Cpu, A* o, A* S, A* z, const A* q, const A* k, const A* v, std::int64_t dk,
                    std::int64_t dv, A gamma, A root_s) {
  const A row_sum = step_keys(z, q, k, dk, gamma);
  const A c = root_s > 0 ? std::max(std::abs(row_sum), root_s) : A(1);  // Eq. (R4)
  std::int64_t j = 0;
  for (; j + 2 * kTile <= padded(dv); j += 2 * kTile)
    step_tiles<2>(o + j, S + j * dk, q, k, v + j, dk, gamma, c);
  if (j < padded(dv)) step_tiles<1>(o + j, S + j * dk, q, k, v + j, dk, gamma, c);
}
// [retention-step]

#define RETNET_RETENTION_STEP(A)                                                                             \
  template void retention_step<A>(Cpu, A*, A*, A*, const A*, const A*, const A*, std::int64_t, std::int64_t, \
                                  A, A);
RETNET_RETENTION_STEP(float)
RETNET_RETENTION_STEP(double)

}  // namespace retnet::kernels
