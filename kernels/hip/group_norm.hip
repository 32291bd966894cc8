// Norm, weights and gate in one pass, forward and backward. Names: x_hat is the normalised x, t = x_hat w + b
// what comes out of the norm, d = gradient. The gradients of weight and bias, which are sums over rows, have
// kernels of their own.

#include "kernels/hip/block.h"
#include "kernels/norm.h"

namespace retnet::kernels {
namespace {

/// Rows, or groups, whose weight gradients are summed in T.
constexpr std::int64_t kSlice = 64;

/// One group of one row: where it begins in each operand.
template <class T>
struct Group {
  const T *x, *weight, *bias, *gate;

  __device__ Group(const GroupNorm& s, const T* all, const GroupNormTensors<T>& in, std::int64_t row,
                   std::int64_t group)
      : x(all + (row * s.groups + group) * s.n) {
    const std::int64_t column = group * s.n, weight_at = s.shared_weight ? 0 : column;
    weight = in.weight ? in.weight + weight_at : nullptr;
    bias = in.bias ? in.bias + weight_at : nullptr;
    gate = in.gate ? in.gate + row * s.gate_row + column : nullptr;
  }
  __device__ T t(T x_hat, T w, T b) const { return (weight ? x_hat * w : x_hat) + (bias ? b : T(0)); }
};

/// blockIdx.y is the group.
template <class Who, class F, class T>
__global__ void group_norm_kernel(F f, GroupNorm s, T* y, T* mean, T* rstd, const T* all,
                                  GroupNormTensors<T> in) {
  using Part = typename Who::template Part<T>;
  const std::int64_t row = Who::row(), at = row * s.groups + blockIdx.y;
  if (row >= s.rows) return;
  const Group<T> g(s, all, in, row, blockIdx.y);
  const Part x(g.x, s.n), gate(g.gate, s.n), weight(g.weight, s.n), bias(g.bias, s.n);
  T m = T(0), squares = T(0);
  if (s.center) {
    Who::for_each(s.n, [&](std::int64_t i, int e) { m += x(i, e); });
    m = Who::sum(m) / T(s.n);
  }
  // The squares of the centred values, not E[x^2] - mean^2, which cancels where the mean is large.
  Who::for_each(s.n, [&](std::int64_t i, int e) { squares += (x(i, e) - m) * (x(i, e) - m); });
  const T scale = T(1) / ::sqrt(Who::sum(squares) / T(s.n) + T(s.eps));
  if (Who::first() == 0) mean[at] = m, rstd[at] = scale;
  Who::for_each(s.n, [&](std::int64_t i, int e) {
    const T x_hat = (x(i, e) - m) * scale;
    const T t = g.t(x_hat, g.weight ? weight(i, e) : T(0), g.bias ? bias(i, e) : T(0));
    y[at * s.n + i] = g.gate ? f(gate(i, e)) * t : t;
  });
}

/// dx, Eq. (G5), and dgate, Eq. (G6). blockIdx.y is the group.
template <class Who, class F, class FGrad, class T>
__global__ void group_norm_grad_kernel(F f, FGrad f_grad, GroupNorm s, GroupNormGradients<T> out, const T* dy,
                                       const T* all, const T* mean, const T* rstd, GroupNormTensors<T> in) {
  using Part = typename Who::template Part<T>;
  const std::int64_t row = Who::row(), at = row * s.groups + blockIdx.y;
  if (row >= s.rows) return;
  const Group<T> g(s, all, in, row, blockIdx.y);
  const Part x(g.x, s.n), d(dy + at * s.n, s.n), gate(g.gate, s.n), weight(g.weight, s.n), bias(g.bias, s.n);
  const T m = mean[at], scale = rstd[at];
  typename Who::template Kept<T> dx_hat(out.dx + at * s.n);
  T sum_d = T(0), sum_dx = T(0);
  Who::for_each(s.n, [&](std::int64_t i, int e) {
    const T x_hat = (x(i, e) - m) * scale, dt = g.gate ? d(i, e) * f(gate(i, e)) : d(i, e);
    const T of_x = g.weight ? dt * weight(i, e) : dt;
    dx_hat(i, e) = of_x;
    sum_d += of_x, sum_dx += of_x * x_hat;
    if (!g.gate) return;
    const T t = g.t(x_hat, g.weight ? weight(i, e) : T(0), g.bias ? bias(i, e) : T(0));
    out.dgate[row * s.gate_row + blockIdx.y * s.n + i] = f_grad(gate(i, e), T(d(i, e) * t));
  });
  const T mean_d = s.center ? Who::sum(sum_d) / T(s.n) : T(0), mean_dx = Who::sum(sum_dx) / T(s.n);
  Who::for_each(s.n, [&](std::int64_t i, int e) {
    const T x_hat = (x(i, e) - m) * scale;
    out.dx[at * s.n + i] = scale * (dx_hat(i, e) - mean_d - x_hat * mean_dx);
  });
}

/// The sums over rows of the gradients of weight and bias, in two passes: slices of the rows, and then all
/// slices. In both, a block has kAcross neighbouring weights, and kDown threads share what is summed for
/// each.
constexpr int kAcross = 32, kDown = kThreads / kAcross;

/// Adds up a pair of every thread with the same weight, over the kDown of them in order; true in the first.
template <class A>
__device__ bool add_down(A& weight, A& bias) {
  __shared__ A weights[kThreads], biases[kThreads];
  weights[threadIdx.x] = weight, biases[threadIdx.x] = bias;
  __syncthreads();
  if (threadIdx.x >= kAcross) return false;
  for (int down = 1; down < kDown; ++down)
    weight += weights[down * kAcross + threadIdx.x], bias += biases[down * kAcross + threadIdx.x];
  return true;
}

/// sums is [slices, 2, weights]: dweight, then dbias. A slice is kSlice rows, or where groups share their
/// weights kSlice groups.
template <class F, class T>
__global__ void weight_slices(F f, GroupNorm s, T* sums, const T* dy, const T* x, const T* mean,
                              const T* rstd, GroupNormTensors<T> in, std::int64_t weights) {
  const std::int64_t slice = blockIdx.x, w = std::int64_t(blockIdx.y) * kAcross + threadIdx.x % kAcross;
  const std::int64_t count = s.shared_weight ? s.rows * s.groups : s.rows, begin = slice * kSlice;
  const std::int64_t end = count < begin + kSlice ? count : begin + kSlice;
  const std::int64_t own = s.shared_weight ? 0 : w / s.n,
                     i = w - own * s.n;  // the group of w, and its place there
  T dweight = T(0), dbias = T(0);
  if (w < weights) {
    // What is past the end is read at the end, and counts as 0: nothing then waits for a branch.
#pragma unroll
    for (int step = 0; step < kSlice / kDown; ++step) {
      const std::int64_t wanted = begin + threadIdx.x / kAcross + step * kDown;
      const std::int64_t number = wanted < end ? wanted : end - 1;
      const std::int64_t row = s.shared_weight ? number / s.groups : number;
      const std::int64_t group = s.shared_weight ? number - row * s.groups : own, at = row * s.groups + group;
      const Group<T> g(s, x, in, row, group);
      const T d = wanted < end ? dy[at * s.n + i] : T(0), dt = g.gate ? d * f(g.gate[i]) : d;
      dweight += dt * ((g.x[i] - mean[at]) * rstd[at]);
      dbias += dt;
    }
  }
  if (!add_down(dweight, dbias) || w >= weights) return;
  sums[slice * 2 * weights + w] = dweight;
  sums[(slice * 2 + 1) * weights + w] = dbias;
}

/// The slices' sums, added up in double.
template <class T>
__global__ void add_slices(T* dweight, T* dbias, const T* sums, std::int64_t weights, std::int64_t slices) {
  const std::int64_t w = std::int64_t(blockIdx.x) * kAcross + threadIdx.x % kAcross;
  double weight = 0, bias = 0;
  if (w < weights)
    for (std::int64_t slice = threadIdx.x / kAcross; slice < slices; slice += kDown) {
      weight += double(sums[slice * 2 * weights + w]);
      bias += double(sums[(slice * 2 + 1) * weights + w]);
    }
  if (!add_down(weight, bias) || w >= weights) return;
  if (dweight) dweight[w] = T(weight);
  if (dbias) dbias[w] = T(bias);
}

/// Blocks for all rows, of each group.
template <class Who>
dim3 grid(const GroupNorm& s) {
  return {static_cast<unsigned>((s.rows + Who::kRows - 1) / Who::kRows), static_cast<unsigned>(s.groups)};
}

}  // namespace

template <class T>
void group_norm(Hip hip, const GroupNorm& s, T* y, T* mean, T* rstd, const T* x,
                const GroupNormTensors<T>& in) {
  if (s.rows == 0) return;
  with_sharers(s.n, [&](auto who) {
    using Who = decltype(who);
    with_activation(s.gate, [&](auto f, auto) {
      group_norm_kernel<Who>
          <<<grid<Who>(s), Who::threads(s.n), 0, stream_of(hip)>>>(f, s, y, mean, rstd, x, in);
    });
  });
  check_launch("group_norm");
}

template <class T>
void group_norm_grad(Hip hip, const GroupNorm& s, const GroupNormGradients<T>& out, const T* dy, const T* x,
                     const T* mean, const T* rstd, const GroupNormTensors<T>& in) {
  const std::int64_t weights = s.shared_weight ? s.n : s.groups * s.n,
                     summands = s.shared_weight ? s.rows * s.groups : s.rows,
                     slices = (summands + kSlice - 1) / kSlice;
  const auto across = static_cast<unsigned>((weights + kAcross - 1) / kAcross);
  const bool wanted = out.dweight || out.dbias;
  const Scratch sums(hip, wanted ? slices * 2 * weights * std::int64_t{sizeof(T)} : 0);
  with_activation(s.gate, [&](auto f, auto f_grad) {
    if (s.rows == 0) return;
    with_sharers(s.n, [&](auto who) {
      using Who = decltype(who);
      group_norm_grad_kernel<Who>
          <<<grid<Who>(s), Who::threads(s.n), 0, stream_of(hip)>>>(f, f_grad, s, out, dy, x, mean, rstd, in);
    });
    if (wanted)
      weight_slices<<<dim3(static_cast<unsigned>(slices), across), kThreads, 0, stream_of(hip)>>>(
          f, s, sums.as<T>(), dy, x, mean, rstd, in, weights);
  });
  if (wanted)
    add_slices<<<across, kThreads, 0, stream_of(hip)>>>(out.dweight, out.dbias, sums.as<T>(), weights,
                                                        slices);
  check_launch("group_norm_grad");
}

#define RETNET_GROUP_NORM(T)                                                                                \
  template void group_norm<T>(Hip, const GroupNorm&, T*, T*, T*, const T*, const GroupNormTensors<T>&);     \
  template void group_norm_grad<T>(Hip, const GroupNorm&, const GroupNormGradients<T>&, const T*, const T*, \
                                   const T*, const T*, const GroupNormTensors<T>&);
RETNET_GROUP_NORM(float)
RETNET_GROUP_NORM(double)

}  // namespace retnet::kernels
