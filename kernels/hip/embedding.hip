// Ids on the device cannot be reported without waiting for them. One that is out of range makes NaN, which
// the loss shows; its gradient is dropped.

#include "kernels/embedding.h"

#include <cmath>

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

/// A thread for each element of y.
template <class T>
__global__ void embedding_kernel(T* y, const T* table, const std::int32_t* ids, std::int64_t vocab,
                                 std::int64_t n, std::int64_t d) {
  const std::int64_t at = thread_index();
  if (at >= n * d) return;
  const std::int64_t id = ids[at / d];
  y[at] = id >= 0 && id < vocab ? table[id * d + at % d] : T(NAN);
}

/// A block for each i. The first of those with the same id adds up the rows of all of them, in order.
template <class T>
__global__ void embedding_grad_kernel(T* dtable, const T* dy, const std::int32_t* ids, std::int64_t vocab,
                                      std::int64_t n, std::int64_t d) {
  using A = accum_t<T>;
  const std::int64_t i = blockIdx.x, id = ids[i];
  if (id < 0 || id >= vocab) return;  // the whole block
  int earlier = 0;
  for (std::int64_t j = threadIdx.x; j < i; j += blockDim.x) earlier += ids[j] == id;
  if (block_sum(earlier) > 0) return;
  for (std::int64_t column = threadIdx.x; column < d; column += blockDim.x) {
    A sum = A(dtable[id * d + column]);
    for (std::int64_t j = i; j < n; ++j)
      if (ids[j] == id) sum += A(dy[j * d + column]);
    dtable[id * d + column] = T(sum);
  }
}

template <class T>
__global__ void gather_kernel(T* y, const T* x, const std::int32_t* ids, std::int64_t rows, std::int64_t n) {
  const std::int64_t row = thread_index();
  if (row < rows) y[row] = ids[row] >= 0 && ids[row] < n ? x[row * n + ids[row]] : T(NAN);
}

template <class T>
__global__ void gather_grad_kernel(T* dx, const T* dy, const std::int32_t* ids, std::int64_t rows,
                                   std::int64_t n) {
  const std::int64_t row = thread_index();
  if (row < rows && ids[row] >= 0 && ids[row] < n) dx[row * n + ids[row]] = dy[row];
}

}  // namespace

template <class T>
void embedding(Hip hip, T* y, const T* table, const std::int32_t* ids, std::int64_t vocab, std::int64_t n,
               std::int64_t d) {
  if (n * d == 0) return;
  embedding_kernel<<<blocks_for(n * d), kThreads, 0, stream_of(hip)>>>(y, table, ids, vocab, n, d);
  check_launch("embedding");
}

template <class T>
void embedding_grad(Hip hip, T* dtable, const T* dy, const std::int32_t* ids, std::int64_t vocab,
                    std::int64_t n, std::int64_t d) {
  if (n * d == 0) return;
  embedding_grad_kernel<<<static_cast<unsigned>(n), threads_for_row(d), 0, stream_of(hip)>>>(dtable, dy, ids,
                                                                                             vocab, n, d);
  check_launch("embedding_grad");
}

template <class T>
void gather(Hip hip, T* y, const T* x, const std::int32_t* ids, std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  gather_kernel<<<blocks_for(rows), kThreads, 0, stream_of(hip)>>>(y, x, ids, rows, n);
  check_launch("gather");
}

template <class T>
void gather_grad(Hip hip, T* dx, const T* dy, const std::int32_t* ids, std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  gather_grad_kernel<<<blocks_for(rows), kThreads, 0, stream_of(hip)>>>(dx, dy, ids, rows, n);
  check_launch("gather_grad");
}

#define RETNET_EMBEDDING(T)                                                                           \
  template void embedding<T>(Hip, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t,      \
                             std::int64_t);                                                           \
  template void embedding_grad<T>(Hip, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t, \
                                  std::int64_t);                                                      \
  template void gather<T>(Hip, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t);        \
  template void gather_grad<T>(Hip, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t);
RETNET_EMBEDDING(float)
RETNET_EMBEDDING(double)
RETNET_EMBEDDING(bf16)

}  // namespace retnet::kernels
