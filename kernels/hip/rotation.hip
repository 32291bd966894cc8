#include "kernels/rotation.h"

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

/// A block for each token: the pairs of all heads.
template <class T>
__global__ void rotate_kernel(Rotation s, T* y, const T* x, const accum_t<T>* cosines,
                              const accum_t<T>* sines) {
  using A = accum_t<T>;
  const std::int64_t bt = blockIdx.x;
  const auto pairs = static_cast<unsigned>(s.dk / 2), all = static_cast<unsigned>(s.heads) * pairs;
  const std::int64_t table = bt % s.n * pairs;
  const T* x_t = x + bt * s.x_row;
  T* y_t = y + bt * s.y_row;
  for (unsigned i = threadIdx.x; i < all; i += blockDim.x) {
    const std::int64_t at = table + i % pairs;
    const A cosine = cosines[at] * A(s.scale), sine = sines[at] * A(s.inverse ? -s.scale : s.scale);
    const A even = A(x_t[2 * i]), odd = A(x_t[2 * i + 1]);
    y_t[2 * i] = T(even * cosine - odd * sine);
    y_t[2 * i + 1] = T(odd * cosine + even * sine);
  }
}

}  // namespace

template <class T>
void rotate(Hip hip, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines,
            const accum_t<T>* sines) {
  const std::int64_t tokens = s.batch * s.n, pairs = s.heads * (s.dk / 2);
  if (tokens * pairs == 0) return;
  rotate_kernel<<<static_cast<unsigned>(tokens), threads_for_row(pairs), 0, stream_of(hip)>>>(s, y, x,
                                                                                              cosines, sines);
  check_launch("rotate");
}

#define RETNET_ROTATE(T) \
  template void rotate<T>(Hip, const Rotation&, T*, const T*, const accum_t<T>*, const accum_t<T>*);
RETNET_ROTATE(float)
RETNET_ROTATE(double)
RETNET_ROTATE(bf16)

}  // namespace retnet::kernels
