#include "kernels/rotation.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/simd.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// Pairs whose cosines and sines are laid out at a time.
constexpr std::int64_t kPairs = 64;

/// y[i] = x[i] cosine[i] + x[i ^ 1] sine[i] for i < n, n even; y may be x. `sine` has the sign of its
/// element.
template <class T, class A>
void turn(T* y, const T* x, const A* cosine, const A* sine, std::int64_t n) {
  std::int64_t i = 0;
  if constexpr (std::is_same_v<T, A>)
    for (; i + kLanes<A> <= n; i += kLanes<A>) {
      const Vec<A> v = load(x + i);
      store<A>(y + i, v * load(cosine + i) + swap_neighbours<A>(v) * load(sine + i));
    }
  for (; i < n; i += 2) {
    const A even = A(x[i]), odd = A(x[i + 1]);
    y[i] = T(even * cosine[i] + odd * sine[i]);
    y[i + 1] = T(odd * cosine[i + 1] + even * sine[i + 1]);
  }
}

}  // namespace

template <class T>
void rotate(Cpu, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines) {
  using A = accum_t<T>;
  const std::int64_t pairs = s.dk / 2;
  const A cos_factor = A(s.scale), sin_factor = A(s.inverse ? -s.scale : s.scale);
  parallel_for(s.batch * s.n, 4 * s.heads * s.dk, [=, &s](std::int64_t bt) {
    A cosine[2 * kPairs],
        sine[2 * kPairs];  // of this step, an element for each of a head's, the same for all heads
    for (std::int64_t first = 0; first < pairs; first += kPairs) {
      const std::int64_t count = std::min(kPairs, pairs - first), at = bt % s.n * pairs + first;
      for (std::int64_t j = 0; j < count; ++j) {
        cosine[2 * j] = cosine[2 * j + 1] = cosines[at + j] * cos_factor;
        sine[2 * j] = -(sine[2 * j + 1] = sines[at + j] * sin_factor);
      }
      for (std::int64_t h = 0; h < s.heads; ++h) {
        const std::int64_t column = h * s.dk + 2 * first;
        turn(y + bt * s.y_row + column, x + bt * s.x_row + column, cosine, sine, 2 * count);
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
