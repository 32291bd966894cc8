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
template <class A>
void retention_step(Cpu, A* o, A* S, A* z, const A* q, const A* k, const A* v, std::int64_t dk,
                    std::int64_t dv, A gamma, A root_s) {
  constexpr int V = static_cast<int>(kTile) / kLanes<A>;
  const A row_sum = step_keys(z, q, k, dk, gamma);
  const A c = root_s > 0 ? std::max(std::abs(row_sum), root_s) : A(1);  // Eq. (R4)
  for (std::int64_t j = 0; j < padded(dv); j += kTile) {
    Vec<A> v_j[V], sum[V] = {};
    for (int w = 0; w < V; ++w) v_j[w] = load(v + j + w * kLanes<A>);
    for (std::int64_t i = 0; i < dk; ++i, S += kTile) {
      __builtin_prefetch(S + dk * kTile,
                         1);  // the next tile begins a new page, where the processor would pause
      for (int w = 0; w < V; ++w) {
        A* S_ij = S + w * kLanes<A>;
        const Vec<A> S_n = gamma * load(S_ij) + k[i] * v_j[w];  // Eq. (6): S_n = gamma S_(n-1) + k_n^T v_n
        store<A>(S_ij, S_n);
        sum[w] += q[i] * S_n;  // Eq. (6): o_n = q_n S_n
      }
    }
    for (int w = 0; w < V; ++w) store<A>(o + j + w * kLanes<A>, sum[w] / c);
  }
}
// [retention-step]

#define RETNET_RETENTION_STEP(A)                                                                             \
  template void retention_step<A>(Cpu, A*, A*, A*, const A*, const A*, const A*, std::int64_t, std::int64_t, \
                                  A, A);
RETNET_RETENTION_STEP(float)
RETNET_RETENTION_STEP(double)

}  // namespace retnet::kernels
