#include "kernels/rotation.h"

#include "kernels/parallel.h"

namespace retnet::kernels {

template <class T>
void rotate(Cpu, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines) {
  using A = accum_t<T>;
  const std::int64_t dk = s.dk, pairs = dk / 2;
  const A cos_factor = A(s.scale), sin_factor = A(s.inverse ? -s.scale : s.scale);
  parallel_for(s.batch * s.n, 4 * s.heads * dk, [=, &s](std::int64_t bt) {
    const A *cosine = cosines + bt % s.n * pairs, *sine = sines + bt % s.n * pairs;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const T* x_h = x + bt * s.x_row + h * dk;
      T* y_h = y + bt * s.y_row + h * dk;
      for (std::int64_t j = 0; j < pairs; ++j) {
        const A even = A(x_h[2 * j]), odd = A(x_h[2 * j + 1]);
        const A c = cosine[j] * cos_factor, sn = sine[j] * sin_factor;
        y_h[2 * j] = T(even * c - odd * sn);
        y_h[2 * j + 1] = T(even * sn + odd * c);
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
