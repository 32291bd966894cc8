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

/// How many threads of the block before this one have their flag set. Every thread must call it.
/// @param total  how many of all have
__device__ int rank_in_block(bool flag, int& total) {
  __shared__ int counts[kThreads];
  const unsigned thread = threadIdx.x;
  counts[thread] = flag;
  for (unsigned step = 1; step < blockDim.x; step *= 2) {
    __syncthreads();
    const int before = thread >= step ? counts[thread - step] : 0;
    __syncthreads();
    counts[thread] += before;
  }
  __syncthreads();
  total = counts[blockDim.x - 1];
  const int rank = counts[thread] - flag;
  __syncthreads();  // the next call overwrites them
  return rank;
}

/// The gradient is a sum over all tokens of an id, of which some have very many, in two steps. A slice is as
/// many tokens as a block has threads. In both steps there is a block for each token i.
constexpr std::int64_t kSlice = kThreads;

/// The first token of its id in a slice adds up the rows of all those, in order, in row i of `sums`, and sets
/// first[i]; the others clear it. It lists them, so that their rows can be loaded without waiting for each
/// other.
template <class T>
__global__ void embedding_slices(accum_t<T>* sums, std::int32_t* is_first, const T* dy,
                                 const std::int32_t* ids, std::int64_t vocab, std::int64_t n,
                                 std::int64_t d) {
  using A = accum_t<T>;
  const std::int64_t i = blockIdx.x, id = ids[i], begin = i / kSlice * kSlice, j = begin + threadIdx.x;
  const bool same = j < n && ids[j] == id;
  const bool first = block_sum(int{same && j < i}) == 0 && id >= 0 && id < vocab;
  if (threadIdx.x == 0) is_first[i] = first;
  if (!first) return;  // the whole block
  __shared__ int listed[kThreads];
  int count = 0;
  const int rank = rank_in_block(same, count);
  if (same) listed[rank] = static_cast<int>(threadIdx.x);
  __syncthreads();
  for (std::int64_t column = threadIdx.x; column < d; column += blockDim.x) {
    A sum = A(0);
#pragma unroll 8
    for (int e = 0; e < count; ++e) sum += A(dy[(begin + listed[e]) * d + column]);
    sums[i * d + column] = sum;
  }
}

/// The first token of its id among all adds the sums of all slices to the table, in order. A slice has one
/// first token of an id, so the thread that finds it puts it into the slice's place.
template <class T>
__global__ void embedding_grad_kernel(T* dtable, const accum_t<T>* sums, const std::int32_t* is_first,
                                      const std::int32_t* ids, std::int64_t n, std::int64_t d) {
  using A = accum_t<T>;
  const std::int64_t i = blockIdx.x, id = ids[i];
  if (!is_first[i]) return;  // the whole block
  int earlier = 0;
  for (std::int64_t j = threadIdx.x; j < i; j += blockDim.x) earlier += ids[j] == id;
  if (block_sum(earlier) > 0) return;
  __shared__ std::int64_t found[kThreads];  // token, of as many slices at a time; -1 for none
  for (std::int64_t begin = i / kSlice * kSlice; begin < n; begin += kThreads * kSlice) {
    found[threadIdx.x] = -1;
    __syncthreads();
    for (int slice = 0; slice < kThreads && begin + slice * kSlice < n; ++slice) {
      const std::int64_t j = begin + slice * kSlice + threadIdx.x;
      if (j < n && ids[j] == id && is_first[j]) found[slice] = j;
    }
    __syncthreads();
    for (std::int64_t column = threadIdx.x; column < d; column += blockDim.x) {
      A sum = A(dtable[id * d + column]);
      for (int slice = 0; slice < kThreads && begin + slice * kSlice < n; ++slice)
        if (found[slice] >= 0) sum += sums[found[slice] * d + column];
      dtable[id * d + column] = T(sum);
    }
    __syncthreads();  // the next slices overwrite what was found
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
  const Scratch sums(hip, n * d * std::int64_t{sizeof(accum_t<T>)}),
      first(hip, n * std::int64_t{sizeof(std::int32_t)});
  embedding_slices<<<static_cast<unsigned>(n), kThreads, 0, stream_of(hip)>>>(
      sums.as<accum_t<T>>(), first.as<std::int32_t>(), dy, ids, vocab, n, d);
  embedding_grad_kernel<<<static_cast<unsigned>(n), kThreads, 0, stream_of(hip)>>>(
      dtable, sums.as<accum_t<T>>(), first.as<std::int32_t>(), ids, n, d);
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
