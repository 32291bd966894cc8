// Norm, weights and gate in one pass, forward and backward. Names: x_hat is the normalised x, t = x_hat w + b
// what comes out of the norm, d = gradient. A block for each group of each row; the gradients of weight and
// bias, which are sums over rows, in kernels of their own.

#include "kernels/hip/block.h"
#include "kernels/norm.h"

namespace retnet::kernels {
namespace {

/// Rows whose weight gradients are summed in T, one after the other.
constexpr std::int64_t kSlice = 64;

/// One group of one row: where it begins in each operand, and its statistics.
template <class T>
struct Group {
  const T *x, *weight, *bias, *gate;
  T mean = T(0), rstd = T(1);

  /// @param at  number of the group, row by row
  __device__ Group(const GroupNorm& s, const T* all, const GroupNormTensors<T>& in, std::int64_t at)
      : x(all + at * s.n) {
    const std::int64_t column = at % s.groups * s.n, weight_at = s.shared_weight ? 0 : column;
    weight = in.weight ? in.weight + weight_at : nullptr;
    bias = in.bias ? in.bias + weight_at : nullptr;
    gate = in.gate ? in.gate + at / s.groups * s.gate_row + column : nullptr;
  }
  __device__ T x_hat(std::int64_t i) const { return (x[i] - mean) * rstd; }
  __device__ T t(std::int64_t i) const {
    return (weight ? x_hat(i) * weight[i] : x_hat(i)) + (bias ? bias[i] : T(0));
  }
};

template <class F, class T>
__global__ void group_norm_kernel(F f, GroupNorm s, T* y, T* mean, T* rstd, const T* x,
                                  GroupNormTensors<T> in) {
  const std::int64_t at = blockIdx.x;
  Group<T> g(s, x, in, at);
  const T* x_g = g.x;
  if (s.center) g.mean = row_sum<T>(s.n, [=](std::int64_t i) { return x_g[i]; }) / T(s.n);
  // The squares of the centred values, not E[x^2] - mean^2, which cancels where the mean is large.
  const T center = g.mean;
  const T variance =
      row_sum<T>(s.n, [=](std::int64_t i) { return (x_g[i] - center) * (x_g[i] - center); }) / T(s.n);
  g.rstd = T(1) / ::sqrt(variance + T(s.eps));
  if (threadIdx.x == 0) mean[at] = g.mean, rstd[at] = g.rstd;
  for (std::int64_t i = threadIdx.x; i < s.n; i += blockDim.x)
    y[at * s.n + i] = g.gate ? f(g.gate[i]) * g.t(i) : g.t(i);
}

/// dx, Eq. (G5), and dgate, Eq. (G6).
template <class F, class FGrad, class T>
__global__ void group_norm_grad_kernel(F f, FGrad f_grad, GroupNorm s, GroupNormGradients<T> out, const T* dy,
                                       const T* x, const T* mean, const T* rstd, GroupNormTensors<T> in) {
  const std::int64_t at = blockIdx.x;
  Group<T> g(s, x, in, at);
  g.mean = mean[at], g.rstd = rstd[at];
  const T* dy_g = dy + at * s.n;
  const auto dx_hat = [=](std::int64_t i) {
    const T dt = g.gate ? dy_g[i] * f(g.gate[i]) : dy_g[i];
    return g.weight ? dt * g.weight[i] : dt;
  };
  T mean_d = T(0);
  if (s.center) mean_d = row_sum<T>(s.n, dx_hat) / T(s.n);
  const T mean_dx = row_sum<T>(s.n, [=](std::int64_t i) { return dx_hat(i) * g.x_hat(i); }) / T(s.n);
  for (std::int64_t i = threadIdx.x; i < s.n; i += blockDim.x) {
    out.dx[at * s.n + i] = g.rstd * (dx_hat(i) - mean_d - g.x_hat(i) * mean_dx);
    if (g.gate)
      out.dgate[at / s.groups * s.gate_row + at % s.groups * s.n + i] =
          f_grad(g.gate[i], T(dy_g[i] * g.t(i)));
  }
}

/// Sums over a slice of rows, and over the groups where they share their weights: a thread for each weight of
/// each slice. sums is [slices, 2, weights]: dweight, then dbias.
template <class F, class T>
__global__ void weight_slices(F f, GroupNorm s, T* sums, const T* dy, const T* x, const T* mean,
                              const T* rstd, GroupNormTensors<T> in, std::int64_t weights,
                              std::int64_t slices) {
  const std::int64_t index = thread_index();
  if (index >= slices * weights) return;
  const std::int64_t w = index % weights, slice = index / weights, i = w % s.n;
  const std::int64_t first = s.shared_weight ? 0 : w / s.n, last = s.shared_weight ? s.groups : first + 1;
  const std::int64_t end = s.rows < (slice + 1) * kSlice ? s.rows : (slice + 1) * kSlice;
  T dweight = T(0), dbias = T(0);
  for (std::int64_t row = slice * kSlice; row < end; ++row)
    for (std::int64_t group = first; group < last; ++group) {
      const std::int64_t at = row * s.groups + group;
      Group<T> g(s, x, in, at);
      g.mean = mean[at], g.rstd = rstd[at];
      const T dt = g.gate ? dy[at * s.n + i] * f(g.gate[i]) : dy[at * s.n + i];
      dweight += dt * g.x_hat(i);
      dbias += dt;
    }
  sums[slice * 2 * weights + w] = dweight;
  sums[(slice * 2 + 1) * weights + w] = dbias;
}

/// The slices' sums, added up in order and in double: a thread for each weight.
template <class T>
__global__ void add_slices(T* dweight, T* dbias, const T* sums, std::int64_t weights, std::int64_t slices) {
  const std::int64_t w = thread_index();
  if (w >= weights) return;
  double weight = 0, bias = 0;
  for (std::int64_t slice = 0; slice < slices; ++slice) {
    weight += double(sums[slice * 2 * weights + w]);
    bias += double(sums[(slice * 2 + 1) * weights + w]);
  }
  if (dweight) dweight[w] = T(weight);
  if (dbias) dbias[w] = T(bias);
}

}  // namespace

template <class T>
void group_norm(Hip hip, const GroupNorm& s, T* y, T* mean, T* rstd, const T* x,
                const GroupNormTensors<T>& in) {
  if (s.rows == 0) return;
  with_activation(s.gate, [&](auto f, auto) {
    group_norm_kernel<<<static_cast<unsigned>(s.rows * s.groups), threads_for_row(s.n), 0, stream_of(hip)>>>(
        f, s, y, mean, rstd, x, in);
  });
  check_launch("group_norm");
}

template <class T>
void group_norm_grad(Hip hip, const GroupNorm& s, const GroupNormGradients<T>& out, const T* dy, const T* x,
                     const T* mean, const T* rstd, const GroupNormTensors<T>& in) {
  const std::int64_t weights = s.shared_weight ? s.n : s.groups * s.n,
                     slices = (s.rows + kSlice - 1) / kSlice;
  const bool wanted = out.dweight || out.dbias;
  const Scratch sums(hip, wanted ? slices * 2 * weights * std::int64_t{sizeof(T)} : 0);
  with_activation(s.gate, [&](auto f, auto f_grad) {
    if (s.rows == 0) return;
    group_norm_grad_kernel<<<static_cast<unsigned>(s.rows * s.groups), threads_for_row(s.n), 0,
                             stream_of(hip)>>>(f, f_grad, s, out, dy, x, mean, rstd, in);
    if (wanted)
      weight_slices<<<blocks_for(slices * weights), kThreads, 0, stream_of(hip)>>>(
          f, s, sums.as<T>(), dy, x, mean, rstd, in, weights, slices);
  });
  if (wanted)
    add_slices<<<blocks_for(weights), kThreads, 0, stream_of(hip)>>>(out.dweight, out.dbias, sums.as<T>(),
                                                                     weights, slices);
  check_launch("group_norm_grad");
}

#define RETNET_GROUP_NORM(T)                                                                                \
  template void group_norm<T>(Hip, const GroupNorm&, T*, T*, T*, const T*, const GroupNormTensors<T>&);     \
  template void group_norm_grad<T>(Hip, const GroupNorm&, const GroupNormGradients<T>&, const T*, const T*, \
                                   const T*, const T*, const GroupNormTensors<T>&);
RETNET_GROUP_NORM(float)
RETNET_GROUP_NORM(double)

}  // namespace retnet::kernels
