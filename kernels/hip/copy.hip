#include "kernels/copy.h"

#include <type_traits>

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

template <class To, class From>
__device__ To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<To, std::int32_t>) {
    return static_cast<std::int32_t>(static_cast<double>(x));
  } else if constexpr (std::is_same_v<From, std::int32_t>) {
    return To(static_cast<double>(x));
  } else {
    return To(static_cast<std::conditional_t<std::is_same_v<From, double>, double, float>>(x));
  }
}

/// A thread for each element, in row-major order of the shape.
template <class To, class From>
__global__ void copy_kernel(To* to, const From* from, Copy s, std::int64_t n) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  std::int64_t to_at = 0, from_at = 0, rest = i;
  for (int d = s.rank - 1; d > 0; --d) {
    const std::int64_t index = rest % s.dims[d];
    rest /= s.dims[d];
    to_at += index * s.to_stride[d];
    from_at += index * s.from_stride[d];
  }
  if (s.rank > 0) to_at += rest * s.to_stride[0], from_at += rest * s.from_stride[0];
  to[to_at] = convert<To>(from[from_at]);
}

template <class T>
__global__ void fill_kernel(T* x, T value, std::int64_t n) {
  const std::int64_t i = thread_index();
  if (i < n) x[i] = value;
}

}  // namespace

template <class To, class From>
void copy(Hip hip, To* to, const From* from, const Copy& s) {
  std::int64_t n = 1;
  for (int d = 0; d < s.rank; ++d) n *= s.dims[d];
  if (n == 0) return;
  copy_kernel<<<blocks_for(n), kThreads, 0, stream_of(hip)>>>(to, from, s, n);
  check_launch("copy");
}

template <class T>
void fill(Hip hip, T* x, T value, std::int64_t n) {
  if (n == 0) return;
  fill_kernel<<<blocks_for(n), kThreads, 0, stream_of(hip)>>>(x, value, n);
  check_launch("fill");
}

#define RETNET_COPY(To)                                                             \
  template void copy<To, float>(Hip, To*, const float*, const Copy&);               \
  template void copy<To, double>(Hip, To*, const double*, const Copy&);             \
  template void copy<To, bf16>(Hip, To*, const bf16*, const Copy&);                 \
  template void copy<To, std::int32_t>(Hip, To*, const std::int32_t*, const Copy&); \
  template void fill<To>(Hip, To*, To, std::int64_t);
RETNET_COPY(float)
RETNET_COPY(double)
RETNET_COPY(bf16)
RETNET_COPY(std::int32_t)

}  // namespace retnet::kernels
