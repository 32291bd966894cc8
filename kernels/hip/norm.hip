// A block for each row.

#include "kernels/norm.h"

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

template <class T>
__global__ void normalize_kernel(T* y, accum_t<T>* rstd, const T* x, std::int64_t n, double eps,
                                 bool center) {
  using A = accum_t<T>;
  const T* x_r = x + blockIdx.x * n;
  T* y_r = y + blockIdx.x * n;
  A mean = A(0);
  if (center) mean = row_sum<A>(n, [=](std::int64_t i) { return A(x_r[i]); }) / A(n);
  // The squares of the centred values, not E[x^2] - mean^2, which cancels where the mean is large.
  const A variance =
      row_sum<A>(n, [=](std::int64_t i) { return (A(x_r[i]) - mean) * (A(x_r[i]) - mean); }) / A(n);
  const A scale = A(1) / ::sqrt(variance + A(eps));
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) y_r[i] = T((A(x_r[i]) - mean) * scale);
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
}

template <class T>
__global__ void normalize_grad_kernel(T* dx, const T* dy, const T* y, const accum_t<T>* rstd, std::int64_t n,
                                      bool center) {
  using A = accum_t<T>;
  const T *dy_r = dy + blockIdx.x * n, *y_r = y + blockIdx.x * n;
  T* dx_r = dx + blockIdx.x * n;
  A mean_dy = A(0);
  if (center) mean_dy = row_sum<A>(n, [=](std::int64_t i) { return A(dy_r[i]); }) / A(n);
  const A mean_dyy = row_sum<A>(n, [=](std::int64_t i) { return A(dy_r[i]) * A(y_r[i]); }) / A(n);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x)
    dx_r[i] = T(rstd[blockIdx.x] * (A(dy_r[i]) - mean_dy - A(y_r[i]) * mean_dyy));
}

}  // namespace

template <class T>
void normalize(Hip hip, T* y, accum_t<T>* rstd, const T* x, std::int64_t rows, std::int64_t n, double eps,
               bool center) {
  if (rows == 0) return;
  normalize_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(y, rstd, x, n, eps,
                                                                                           center);
  check_launch("normalize");
}

template <class T>
void normalize_grad(Hip hip, T* dx, const T* dy, const T* y, const accum_t<T>* rstd, std::int64_t rows,
                    std::int64_t n, bool center) {
  if (rows == 0) return;
  normalize_grad_kernel<<<static_cast<unsigned>(rows), threads_for_row(n), 0, stream_of(hip)>>>(
      dx, dy, y, rstd, n, center);
  check_launch("normalize_grad");
}

#define RETNET_NORM(T)                                                                                  \
  template void normalize<T>(Hip, T*, accum_t<T>*, const T*, std::int64_t, std::int64_t, double, bool); \
  template void normalize_grad<T>(Hip, T*, const T*, const T*, const accum_t<T>*, std::int64_t,         \
                                  std::int64_t, bool);
RETNET_NORM(float)
RETNET_NORM(double)
RETNET_NORM(bf16)

}  // namespace retnet::kernels
