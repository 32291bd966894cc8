#include "kernels/rotation.h"

#include <algorithm>

#include "kernels/parallel.h"

namespace retnet::kernels {

namespace {

/// Pairs that are turned at a time. They go through memory of their own, because a loop whose results might overwrite
/// its operands, as they do in place, is not vectorised.
constexpr std::int64_t kPairs = 64;

template <class T, class A>
void turn(T* y, const T* x, const A* cosine, const A* sine, std::int64_t pairs, A cos_factor, A sin_factor) {
  for (std::int64_t j = 0; j < pairs; ++j) {
    const A even = A(x[2 * j]), odd = A(x[2 * j + 1]);
    const A c = cosine[j] * cos_factor, s = sine[j] * sin_factor;
    y[2 * j] = T(even * c - odd * s);
    y[2 * j + 1] = T(even * s + odd * c);
  }
}

}  // namespace

template <class T>
void rotate(Cpu, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines) {
  using A = accum_t<T>;
  const std::int64_t dk = s.dk, pairs = dk / 2;
  const A cos_factor = A(s.scale), sin_factor = A(s.inverse ? -s.scale : s.scale);
  parallel_for(s.batch * s.n, 4 * s.heads * dk, [=, &s](std::int64_t bt) {
    T turned[2 * kPairs];
    const A *cosine = cosines + bt % s.n * pairs, *sine = sines + bt % s.n * pairs;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const T* x_h = x + bt * s.x_row + h * dk;
      T* y_h = y + bt * s.y_row + h * dk;
      for (std::int64_t first = 0; first < pairs; first += kPairs) {
        const std::int64_t count = std::min(kPairs, pairs - first);
        turn(turned, x_h + 2 * first, cosine + first, sine + first, count, cos_factor, sin_factor);
        std::copy_n(turned, 2 * count, y_h + 2 * first);
      }
    }
  });
}

#define RETNET_ROTATE(T) \
  template void rotate<T>(Cpu, const Rotation&, T*, const T*, const accum_t<T>*, const accum_t<T>*);
RETNET_ROTATE(float)
RETNET_ROTATE(double)
RETNET_ROTATE(bf16)

}  // namespace retnet::kernels
