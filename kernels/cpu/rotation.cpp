#include "kernels/rotation.h"

#include "kernels/parallel.h"

namespace retnet::kernels {

template <class T>
void rotate(Cpu, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines, std::int64_t batch,
            std::int64_t n, std::int64_t heads, std::int64_t dk, bool inverse) {
  using A = accum_t<T>;
  const A sign = inverse ? A(-1) : A(1);
  parallel_for(batch * n, 4 * heads * dk, [=](std::int64_t bt) {
    const A *c = cosines + bt % n * (dk / 2), *s = sines + bt % n * (dk / 2);
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* x_bth = x + (bt * heads + h) * dk;
      T* y_bth = y + (bt * heads + h) * dk;
      for (std::int64_t j = 0; j < dk / 2; ++j) {
        const A even = A(x_bth[2 * j]), odd = A(x_bth[2 * j + 1]), sine = sign * s[j];
        y_bth[2 * j] = T(even * c[j] - odd * sine);
        y_bth[2 * j + 1] = T(even * sine + odd * c[j]);
      }
    }
  });
}

#define RETNET_ROTATE(T)                                                                         \
  template void rotate<T>(Cpu, T*, const T*, const accum_t<T>*, const accum_t<T>*, std::int64_t, \
                          std::int64_t, std::int64_t, std::int64_t, bool);
RETNET_ROTATE(float)
RETNET_ROTATE(double)
RETNET_ROTATE(bf16)

}  // namespace retnet::kernels
