// The CPU's numbers: the random bits are a function of key and index alone.

#include "kernels/random.h"

#include <cmath>

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

/// @param last  the largest number below high: rounding to T can reach the upper end, which is not included
template <class T>
__global__ void uniform_kernel(T* x, std::int64_t n, RandomKey key, double low, double high, T last) {
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const T value = T(low + (high - low) * random_uniform(key, static_cast<std::uint64_t>(i)));
  x[i] = value < last ? value : last;
}

template <class T>
__global__ void normal_kernel(T* x, std::int64_t n, RandomKey key, double mean, double deviation) {
  constexpr double two_pi = 6.283185307179586476925;
  const std::int64_t i = thread_index();
  if (i >= n) return;
  const Philox bits(key, static_cast<std::uint64_t>(i));
  const double u = (bits.x[0] + 1.0) * 0x1p-32;  // in (0, 1], so that its logarithm is finite
  const double angle = two_pi * (bits.x[1] * 0x1p-32);
  x[i] = T(mean + deviation * ::sqrt(-2 * ::log(u)) * ::cos(angle));
}

/// A thread for each four neighbours, which one block of random bits serves.
template <class T>
__global__ void dropout_kernel(T* y, const T* x, std::int64_t n, RandomKey key, std::uint64_t threshold,
                               accum_t<T> scale) {
  using A = accum_t<T>;
  const std::int64_t i = 4 * thread_index();
  if (i >= n) return;
  const Philox bits(key, static_cast<std::uint64_t>(i / 4));
  for (int j = 0; j < 4 && i + j < n; ++j) y[i + j] = T(bits.x[j] >= threshold ? A(x[i + j]) * scale : A(0));
}

}  // namespace

template <class T>
void fill_uniform(Hip hip, T* x, std::int64_t n, RandomKey key, double low, double high) {
  if (n == 0) return;
  uniform_kernel<<<blocks_for(n), kThreads, 0, stream_of(hip)>>>(x, n, key, low, high,
                                                                 std::nextafter(T(high), T(low)));
  check_launch("fill_uniform");
}

template <class T>
void fill_normal(Hip hip, T* x, std::int64_t n, RandomKey key, double mean, double deviation) {
  if (n == 0) return;
  normal_kernel<<<blocks_for(n), kThreads, 0, stream_of(hip)>>>(x, n, key, mean, deviation);
  check_launch("fill_normal");
}

template <class T>
void dropout(Hip hip, T* y, const T* x, std::int64_t n, RandomKey key, double p) {
  if (n == 0) return;
  const auto threshold = static_cast<std::uint64_t>(std::ceil(p * 0x1p32));
  dropout_kernel<<<blocks_for((n + 3) / 4), kThreads, 0, stream_of(hip)>>>(y, x, n, key, threshold,
                                                                           accum_t<T>(1 / (1 - p)));
  check_launch("dropout");
}

#define RETNET_RANDOM(T)                                                           \
  template void fill_uniform<T>(Hip, T*, std::int64_t, RandomKey, double, double); \
  template void fill_normal<T>(Hip, T*, std::int64_t, RandomKey, double, double);
RETNET_RANDOM(float)
RETNET_RANDOM(double)

template void dropout<float>(Hip, float*, const float*, std::int64_t, RandomKey, double);
template void dropout<double>(Hip, double*, const double*, std::int64_t, RandomKey, double);
template void dropout<bf16>(Hip, bf16*, const bf16*, std::int64_t, RandomKey, double);

}  // namespace retnet::kernels
