// One step of the recurrent form, Eq. (6). There are 3 operations for each number of the state that is read
// and written, so this kernel is about moving it: every thread has several packs of 16 bytes under way at a
// time.

#include "kernels/hip/retention_chunk.h"

namespace retnet::kernels {
namespace {

/// Threads of a block, which owns some columns of S of one head: Across packs wide. As many threads as are
/// left for each pack share the rows.
constexpr int kThreads = 256, kAtOnce = 4;

/// q_n z_n, z_n = gamma z_(n-1) + k_n, as a tree over the threads. The first block of a head writes z_n.
template <class T>
__device__ T step_keys(const RetentionStep<T>& s, const T* q, const T* k, std::int64_t head, T gamma) {
  __shared__ T parts[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  T sum = T(0);
  for (std::int64_t d = thread; d < s.dk; d += kThreads) {
    const T z_n = gamma * s.z_before[head * s.dk + d] + k[d];  // Eq. (R2)
    if (blockIdx.y == 0) s.z[head * s.dk + d] = z_n;
    sum += q[d] * z_n;
  }
  parts[thread] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) parts[thread] += parts[thread + half];
  }
  __syncthreads();
  return parts[0];
}

/// W columns a thread: a pack, or 1 where packs do not fit the layout.
template <int W, int Across, class T>
__global__ __launch_bounds__(kThreads) void step_head(RetentionStep<T> s) {
  constexpr int kDown = kThreads / Across;
  __shared__ T sums[kDown][Across * W];
  const std::int64_t head = blockIdx.x, b = head / s.heads, h = head % s.heads;
  const auto row = [&](auto* x, const RetentionStride& l) { return x + b * l.batch + h * l.head; };
  const T *q = row(s.q_n, s.q), *k = row(s.k_n, s.k);
  const T gamma = s.gamma[h], r = step_keys(s, q, k, head, gamma);
  const int across = static_cast<int>(threadIdx.x) % Across, down = static_cast<int>(threadIdx.x) / Across;
  const std::int64_t column = (std::int64_t(blockIdx.y) * Across + across) * W;
  const bool inside = column < s.dv;
  Run<T, W> v = {}, o = {};
  if (inside) v = *reinterpret_cast<const Run<T, W>*>(row(s.v_n, s.v) + column);
  const std::int64_t first = head * s.dk * s.dv + column;
  for (std::int64_t i = down; inside && i < s.dk; i += kDown * kAtOnce) {
    Run<T, W> S[kAtOnce];
#pragma unroll
    for (int n = 0; n < kAtOnce; ++n)
      if (i + n * kDown < s.dk)
        S[n] = *reinterpret_cast<const Run<T, W>*>(s.S_before + first + (i + n * kDown) * s.dv);
#pragma unroll
    for (int n = 0; n < kAtOnce; ++n) {
      const std::int64_t d = i + n * kDown;
      if (d >= s.dk) continue;
#pragma unroll
      for (int e = 0; e < W; ++e) {
        S[n].x[e] = gamma * S[n].x[e] + k[d] * v.x[e];  // Eq. (6): S_n = gamma S_(n-1) + k_n^T v_n
        o.x[e] += q[d] * S[n].x[e];                     // Eq. (6): o_n = q_n S_n
      }
      *reinterpret_cast<Run<T, W>*>(s.S + first + d * s.dv) = S[n];
    }
  }
#pragma unroll
  for (int e = 0; e < W; ++e) sums[down][across * W + e] = o.x[e];
  __syncthreads();
  const T scale = s.root_s ? inverse_divisor(r, s.root_s[h]) : T(1);
  T* const out = row(s.o_n, s.o);
  for (int c = static_cast<int>(threadIdx.x); c < Across * W; c += kThreads) {
    const std::int64_t e = std::int64_t(blockIdx.y) * Across * W + c;
    T sum = T(0);
    for (int y = 0; y < kDown; ++y) sum += sums[y][c];
    if (e < s.dv) out[e] = scale * sum;
  }
}

template <int W, int Across, class T>
void launch(Hip hip, const RetentionStep<T>& s) {
  const dim3 grid(static_cast<unsigned>(s.batch * s.heads),
                  static_cast<unsigned>((s.dv + Across * W - 1) / (Across * W)));
  if (grid.x == 0) return;
  step_head<W, Across><<<grid, kThreads, 0, stream_of(hip)>>>(s);
  check_launch("retention_step");
}

/// Wide blocks read the longest stretches of memory; where they would be few, there are more narrow ones.
template <int W, class T>
void launch(Hip hip, const RetentionStep<T>& s) {
  constexpr std::int64_t kWide = 32, kNarrow = 8, kMany = 512;
  if (s.batch * s.heads * s.dv >= kMany * kWide * W)
    launch<W, kWide>(hip, s);
  else
    launch<W, kNarrow>(hip, s);
}

}  // namespace

template <class T>
void retention_step(Hip hip, const RetentionStep<T>& s) {
  constexpr int W = Pack<T>::kSize;
  const auto fits = [](const T* x) { return reinterpret_cast<std::uintptr_t>(x) % 16 == 0; };
  const bool packs = s.dv % W == 0 && s.v.batch % W == 0 && s.v.head % W == 0 && fits(s.v_n) &&
                     fits(s.S_before) && fits(s.S);
  packs ? launch<W>(hip, s) : launch<1>(hip, s);
}

template void retention_step<float>(Hip, const RetentionStep<float>&);
template void retention_step<double>(Hip, const RetentionStep<double>&);

}  // namespace retnet::kernels
