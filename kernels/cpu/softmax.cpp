#include "kernels/softmax.h"

#include <cmath>

#include "kernels/cpu/lanes.h"
#include "kernels/math.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

template <class T>
accum_t<T> row_max(const T* x, std::int64_t n) {
  using A = accum_t<T>;
  A best = A(x[0]);
  for (std::int64_t i = 1; i < n; ++i) best = A(x[i]) > best || A(x[i]) != A(x[i]) ? A(x[i]) : best;
  return best;
}

/// log sum exp of a row; the largest term of the sum is 1, so it neither overflows nor vanishes. A row of
/// -inf has a largest value of -inf, and its log-sum-exp is -inf rather than NaN.
template <class T>
accum_t<T> row_log_sum_exp(const T* x, std::int64_t n) {
  using A = accum_t<T>;
  const A top = row_max(x, n);
  if (std::isinf(top)) return top;
  return top + std::log(lane_sum<A>(n, [=](std::int64_t i) { return exp(A(x[i]) - top); }));
}

}  // namespace

template <class T>
void softmax(Cpu, T* y, const T* x, std::int64_t rows, std::int64_t n) {
  using A = accum_t<T>;
  parallel_for(rows, 16 * n, [=](std::int64_t row) {
    const T* x_r = x + row * n;
    const A top = row_max(x_r, n);
    const A scale = A(1) / lane_sum<A>(n, [=](std::int64_t i) { return exp(A(x_r[i]) - top); });
    for (std::int64_t i = 0; i < n; ++i) y[row * n + i] = T(exp(A(x_r[i]) - top) * scale);
  });
}

template <class T>
void softmax_grad(Cpu, T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t n) {
  using A = accum_t<T>;
  parallel_for(rows, 4 * n, [=](std::int64_t row) {
    const T *dy_r = dy + row * n, *y_r = y + row * n;
    const A dot = lane_sum<A>(n, [=](std::int64_t i) { return A(dy_r[i]) * A(y_r[i]); });
    for (std::int64_t i = 0; i < n; ++i) dx[row * n + i] = T(A(y_r[i]) * (A(dy_r[i]) - dot));
  });
}

template <class T>
void log_sum_exp(Cpu, T* y, const T* x, std::int64_t rows, std::int64_t n) {
  parallel_for(rows, 16 * n, [=](std::int64_t row) { y[row] = T(row_log_sum_exp(x + row * n, n)); });
}

template <class T>
void cross_entropy(Cpu, T* loss, T* lse, const T* x, const std::int32_t* target, std::int64_t rows,
                   std::int64_t n) {
  using A = accum_t<T>;
  parallel_for(rows, 16 * n, [=](std::int64_t row) {
    const A total = row_log_sum_exp(x + row * n, n);
    lse[row] = T(total);
    loss[row] = T(total - A(x[row * n + target[row]]));
  });
}

template <class T>
void cross_entropy_grad(Cpu, T* dx, const T* dloss, const T* x, const T* lse, const std::int32_t* target,
                        std::int64_t rows, std::int64_t n) {
  using A = accum_t<T>;
  parallel_for(rows, 16 * n, [=](std::int64_t row) {
    const T* x_r = x + row * n;
    T* dx_r = dx + row * n;
    const A scale = A(dloss[row]), total = A(lse[row]);
    for (std::int64_t i = 0; i < n; ++i) dx_r[i] = T(scale * exp(A(x_r[i]) - total));
    dx_r[target[row]] = T(A(dx_r[target[row]]) - scale);
  });
}

#define RETNET_SOFTMAX(T)                                                                                 \
  template void softmax<T>(Cpu, T*, const T*, std::int64_t, std::int64_t);                                \
  template void softmax_grad<T>(Cpu, T*, const T*, const T*, std::int64_t, std::int64_t);                 \
  template void log_sum_exp<T>(Cpu, T*, const T*, std::int64_t, std::int64_t);                            \
  template void cross_entropy<T>(Cpu, T*, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t); \
  template void cross_entropy_grad<T>(Cpu, T*, const T*, const T*, const T*, const std::int32_t*,         \
                                      std::int64_t, std::int64_t);
RETNET_SOFTMAX(float)
RETNET_SOFTMAX(double)
RETNET_SOFTMAX(bf16)

}  // namespace retnet::kernels
