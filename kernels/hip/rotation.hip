#include "kernels/rotation.h"

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

/// A thread for each pair.
template <class T>
__global__ void rotate_kernel(Rotation s, T* y, const T* x, const accum_t<T>* cosines,
                              const accum_t<T>* sines) {
  using A = accum_t<T>;
  const std::int64_t at = thread_index(), pairs = s.dk / 2;
  if (at >= s.batch * s.n * s.heads * pairs) return;
  const std::int64_t j = at % pairs, h = at / pairs % s.heads, bt = at / pairs / s.heads;
  const std::int64_t table = bt % s.n * pairs + j, column = h * s.dk + 2 * j;
  const A cosine = cosines[table] * A(s.scale), sine = sines[table] * A(s.inverse ? -s.scale : s.scale);
  const A even = A(x[bt * s.x_row + column]), odd = A(x[bt * s.x_row + column + 1]);
  y[bt * s.y_row + column] = T(even * cosine - odd * sine);
  y[bt * s.y_row + column + 1] = T(odd * cosine + even * sine);
}

}  // namespace

template <class T>
void rotate(Hip hip, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines,
            const accum_t<T>* sines) {
  const std::int64_t pairs = s.batch * s.n * s.heads * (s.dk / 2);
  if (pairs == 0) return;
  rotate_kernel<<<blocks_for(pairs), kThreads, 0, stream_of(hip)>>>(s, y, x, cosines, sines);
  check_launch("rotate");
}

#define RETNET_ROTATE(T) \
  template void rotate<T>(Hip, const Rotation&, T*, const T*, const accum_t<T>*, const accum_t<T>*);
RETNET_ROTATE(float)
RETNET_ROTATE(double)
RETNET_ROTATE(bf16)

}  // namespace retnet::kernels
