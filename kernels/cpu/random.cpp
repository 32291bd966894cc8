#include "kernels/random.h"

#include <algorithm>
#include <cmath>

#include "kernels/parallel.h"

namespace retnet::kernels {

template <class T>
void fill_uniform(Cpu, T* x, std::int64_t n, RandomKey key, double low, double high) {
  key = shifted(key);
  // Rounding to T can reach the upper end, which is not part of the interval.
  const T last = std::nextafter(T(high), T(low));
  parallel_blocks(n, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      x[i] = std::min(T(low + (high - low) * random_uniform(key, static_cast<std::uint64_t>(i))), last);
  });
}

template <class T>
void fill_normal(Cpu, T* x, std::int64_t n, RandomKey key, double mean, double deviation) {
  key = shifted(key);
  constexpr double two_pi = 6.283185307179586476925;
  parallel_blocks(n, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Philox bits(key, static_cast<std::uint64_t>(i));
      const double u = (bits.x[0] + 1.0) * 0x1p-32;  // in (0, 1], so that its logarithm is finite
      const double angle = two_pi * (bits.x[1] * 0x1p-32);
      x[i] = T(mean + deviation * std::sqrt(-2 * std::log(u)) * std::cos(angle));
    }
  });
}

template <class T>
void dropout(Cpu, T* y, const T* x, std::int64_t n, RandomKey key, double p) {
  key = shifted(key);
  using A = accum_t<T>;
  const A scale = A(1 / (1 - p));
  const auto threshold = static_cast<std::uint64_t>(std::ceil(p * 0x1p32));
  parallel_blocks(n, [=](std::int64_t begin, std::int64_t end) {
    static_assert(kBlock % 4 == 0);  // a block of elements starts at a block of four random numbers
    for (std::int64_t i = begin; i < end; i += 4) {
      const Philox bits(key, static_cast<std::uint64_t>(i / 4));
      for (int j = 0; j < 4 && i + j < end; ++j)
        y[i + j] = T(bits.x[j] >= threshold ? A(x[i + j]) * scale : A(0));
    }
  });
}

#define RETNET_RANDOM(T)                                                           \
  template void fill_uniform<T>(Cpu, T*, std::int64_t, RandomKey, double, double); \
  template void fill_normal<T>(Cpu, T*, std::int64_t, RandomKey, double, double);
RETNET_RANDOM(float)
RETNET_RANDOM(double)

template void dropout<float>(Cpu, float*, const float*, std::int64_t, RandomKey, double);
template void dropout<double>(Cpu, double*, const double*, std::int64_t, RandomKey, double);
template void dropout<bf16>(Cpu, bf16*, const bf16*, std::int64_t, RandomKey, double);

}  // namespace retnet::kernels
