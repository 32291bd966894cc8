// A block for each row.

#include "kernels/softmax.h"

#include <cmath>

#include "kernels/hip/block.h"
#include "kernels/math.h"

namespace retnet::kernels {
namespace {

template <class T>
__device__ accum_t<T> row_max(const T* x, std::int64_t n) {
  using A = accum_t<T>;
  A best = A(x[0]);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) best = Larger{}(A(x[i]), best);
  return block_reduce(best, Larger{});
}

/// log sum exp of a row; the largest term of the sum is 1, so it neither overflows nor vanishes. A row of
/// -inf has a largest value of -inf, and its log-sum-exp is -inf rather than NaN.
template <class T>
__device__ accum_t<T> row_log_sum_exp(const T* x, std::int64_t n) {
  using A = accum_t<T>;
  const A top = row_max(x, n);
  if (isinf(top)) return top;
  return top + ::log(row_sum<A>(n, [=](std::int64_t i) { return exp(A(x[i]) - top); }));
}

template <class T>
__global__ void softmax_kernel(T* y, const T* x, std::int64_t n) {
  using A = accum_t<T>;
  const T* x_r = x + blockIdx.x * n;
  T* y_r = y + blockIdx.x * n;
  const A top = row_max(x_r, n);
  const A scale = A(1) / row_sum<A>(n, [=](std::int64_t i) { return exp(A(x_r[i]) - top); });
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) y_r[i] = T(exp(A(x_r[i]) - top) * scale);
}

template <class T>
__global__ void softmax_grad_kernel(T* dx, const T* dy, const T* y, std::int64_t n) {
  using A = accum_t<T>;
  const T *dy_r = dy + blockIdx.x * n, *y_r = y + blockIdx.x * n;
  T* dx_r = dx + blockIdx.x * n;
  const A dot = row_sum<A>(n, [=](std::int64_t i) { return A(dy_r[i]) * A(y_r[i]); });
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) dx_r[i] = T(A(y_r[i]) * (A(dy_r[i]) - dot));
}

template <class T>
__global__ void log_sum_exp_kernel(T* y, const T* x, std::int64_t n) {
  const accum_t<T> total = row_log_sum_exp(x + blockIdx.x * n, n);
  if (threadIdx.x == 0) y[blockIdx.x] = T(total);
}

/// A target outside 0 .. n-1 makes the loss NaN: to report it would be to wait for it.
template <class T>
__global__ void cross_entropy_kernel(T* loss, T* lse, const T* x, const std::int32_t* target,
                                     std::int64_t n) {
  using A = accum_t<T>;
  const T* x_r = x + blockIdx.x * n;
  const A total = row_log_sum_exp(x_r, n);
  if (threadIdx.x != 0) return;
  const std::int64_t at = target[blockIdx.x];
  lse[blockIdx.x] = T(total);
  loss[blockIdx.x] = T(at >= 0 && at < n ? total - A(x_r[at]) : A(NAN));
}

template <class T>
__global__ void cross_entropy_grad_kernel(T* dx, const T* dloss, const T* x, const T* lse,
                                          const std::int32_t* target, std::int64_t n) {
  using A = accum_t<T>;
  const std::int64_t row = blockIdx.x;
  const A scale = A(dloss[row]), total = A(lse[row]);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const T share = T(scale * exp(A(x[row * n + i]) - total));
    dx[row * n + i] = i == target[row] ? T(A(share) - scale) : share;
  }
}

}  // namespace

template <class T>
void softmax(Hip hip, T* y, const T* x, std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  softmax_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(y, x, n);
  check_launch("softmax");
}

template <class T>
void softmax_grad(Hip hip, T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  softmax_grad_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(dx, dy, y, n);
  check_launch("softmax_grad");
}

template <class T>
void log_sum_exp(Hip hip, T* y, const T* x, std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  log_sum_exp_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(y, x, n);
  check_launch("log_sum_exp");
}

template <class T>
void cross_entropy(Hip hip, T* loss, T* lse, const T* x, const std::int32_t* target, std::int64_t rows,
                   std::int64_t n) {
  if (rows == 0) return;
  cross_entropy_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(loss, lse, x,
                                                                                               target, n);
  check_launch("cross_entropy");
}

template <class T>
void cross_entropy_grad(Hip hip, T* dx, const T* dloss, const T* x, const T* lse, const std::int32_t* target,
                        std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  cross_entropy_grad_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(
      dx, dloss, x, lse, target, n);
  check_launch("cross_entropy_grad");
}

#define RETNET_SOFTMAX(T)                                                                                 \
  template void softmax<T>(Hip, T*, const T*, std::int64_t, std::int64_t);                                \
  template void softmax_grad<T>(Hip, T*, const T*, const T*, std::int64_t, std::int64_t);                 \
  template void log_sum_exp<T>(Hip, T*, const T*, std::int64_t, std::int64_t);                            \
  template void cross_entropy<T>(Hip, T*, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t); \
  template void cross_entropy_grad<T>(Hip, T*, const T*, const T*, const T*, const std::int32_t*,         \
                                      std::int64_t, std::int64_t);
RETNET_SOFTMAX(float)
RETNET_SOFTMAX(double)
RETNET_SOFTMAX(bf16)

}  // namespace retnet::kernels
