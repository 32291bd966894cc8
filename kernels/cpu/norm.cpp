#include "kernels/norm.h"

#include <cmath>

#include "kernels/cpu/lanes.h"
#include "kernels/parallel.h"

namespace retnet::kernels {

template <class T>
void normalize(Cpu, T* y, accum_t<T>* rstd, const T* x, std::int64_t rows, std::int64_t n, double eps,
               bool center) {
  using A = accum_t<T>;
  parallel_for(rows, 4 * n, [=](std::int64_t row) {
    const T* x_r = x + row * n;
    T* y_r = y + row * n;
    A mean = A(0);
    if (center) mean = row_sum<A>(n, [=](auto at) { return at(x_r); }) / A(n);
    // The squares of the centred values, not E[x^2] - mean^2, which cancels where the mean is large.
    const A variance = row_sum<A>(n, [=](auto at) { return (at(x_r) - mean) * (at(x_r) - mean); }) / A(n);
    const A scale = A(1) / std::sqrt(variance + A(eps));
    for (std::int64_t i = 0; i < n; ++i) y_r[i] = T((A(x_r[i]) - mean) * scale);
    rstd[row] = scale;
  });
}

template <class T>
void normalize_grad(Cpu, T* dx, const T* dy, const T* y, const accum_t<T>* rstd, std::int64_t rows,
                    std::int64_t n, bool center) {
  using A = accum_t<T>;
  parallel_for(rows, 4 * n, [=](std::int64_t row) {
    const T *dy_r = dy + row * n, *y_r = y + row * n;
    T* dx_r = dx + row * n;
    A mean_dy = A(0);
    if (center) mean_dy = row_sum<A>(n, [=](auto at) { return at(dy_r); }) / A(n);
    const A mean_dyy = row_sum<A>(n, [=](auto at) { return at(dy_r) * at(y_r); }) / A(n);
    for (std::int64_t i = 0; i < n; ++i)
      dx_r[i] = T(rstd[row] * (A(dy_r[i]) - mean_dy - A(y_r[i]) * mean_dyy));
  });
}

#define RETNET_NORM(T)                                                                                  \
  template void normalize<T>(Cpu, T*, accum_t<T>*, const T*, std::int64_t, std::int64_t, double, bool); \
  template void normalize_grad<T>(Cpu, T*, const T*, const T*, const accum_t<T>*, std::int64_t,         \
                                  std::int64_t, bool);
RETNET_NORM(float)
RETNET_NORM(double)
RETNET_NORM(bf16)

}  // namespace retnet::kernels
