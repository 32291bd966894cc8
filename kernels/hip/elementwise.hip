#include "kernels/elementwise.h"

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

template <class F, class T>
__global__ void map_kernel(F f, T* y, const T* x, std::int64_t n) {
  const std::int64_t i = thread_index();
  if (i < n) y[i] = T(f(accum_t<T>(x[i])));
}

/// A thread for each element of y: number i of the shape in row-major order.
template <class F, class T>
__global__ void zip_kernel(F f, T* y, const T* a, const T* b, Zip s, std::int64_t n) {
  using A = accum_t<T>;
  const std::int64_t i = thread_index();
  if (i >= n) return;
  std::int64_t a_at = 0, b_at = 0, rest = i;
  for (int d = s.rank - 1; d > 0; --d) {
    const std::int64_t index = rest % s.dims[d];
    rest /= s.dims[d];
    a_at += index * s.a_stride[d];
    b_at += index * s.b_stride[d];
  }
  if (s.rank > 0) a_at += rest * s.a_stride[0], b_at += rest * s.b_stride[0];
  y[i] = T(f(A(a[a_at]), A(b[b_at])));
}

}  // namespace

template <class F, class T>
void map(Hip hip, F f, T* y, const T* x, std::int64_t n) {
  if (n == 0) return;
  map_kernel<<<blocks_for(n), kThreads, 0, stream_of(hip)>>>(f, y, x, n);
  check_launch("map");
}

template <class F, class T>
void zip(Hip hip, F f, T* y, const T* a, const T* b, const Zip& s) {
  std::int64_t n = 1;
  for (int d = 0; d < s.rank; ++d) n *= s.dims[d];
  if (n == 0) return;
  zip_kernel<<<blocks_for(n), kThreads, 0, stream_of(hip)>>>(f, y, a, b, s, n);
  check_launch("zip");
}

#define RETNET_MAP(F)                                                         \
  template void map<F, float>(Hip, F, float*, const float*, std::int64_t);    \
  template void map<F, double>(Hip, F, double*, const double*, std::int64_t); \
  template void map<F, bf16>(Hip, F, bf16*, const bf16*, std::int64_t);
RETNET_UNARY_OPS(RETNET_MAP)

#define RETNET_ZIP(F)                                                                      \
  template void zip<F, float>(Hip, F, float*, const float*, const float*, const Zip&);     \
  template void zip<F, double>(Hip, F, double*, const double*, const double*, const Zip&); \
  template void zip<F, bf16>(Hip, F, bf16*, const bf16*, const bf16*, const Zip&);
RETNET_BINARY_OPS(RETNET_ZIP)

}  // namespace retnet::kernels
