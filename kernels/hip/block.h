/// @file
/// What the kernels share: how work is cut into blocks of threads, and reductions within a block.
///
/// A block reduces through shared memory, a team of 32 by exchange, each in one fixed order; of the number of
/// threads that run in step (64 on CDNA, 32 on RDNA and NVIDIA) they assume only that 32 divides it. Where a
/// sum is over many elements, it is cut by the problem, never by the device. So a result has the same bits in
/// every run.
#pragma once

#include <algorithm>

#include "kernels/hip/hip.h"

namespace retnet::kernels {

/// Threads in a block, unless a row is shorter; a power of two, as block_reduce() needs.
constexpr int kThreads = 256;

/// Blocks that give each of `count` items a thread.
inline unsigned blocks_for(std::int64_t count) {
  return static_cast<unsigned>((count + kThreads - 1) / kThreads);
}

/// Threads for a block that shares a row of n elements: the power of two from 32 to kThreads that is next to
/// n.
inline int threads_for_row(std::int64_t n) {
  int threads = 32;
  while (threads < n && threads < kThreads) threads *= 2;
  return threads;
}

/// The number of this thread among all.
__device__ inline std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// Combines one value of every thread of the block, pairwise, and gives each the result. Every thread must
/// call it. The block has a power of two of threads, at most kThreads.
template <class A, class Combine>
__device__ A block_reduce(A value, Combine combine) {
  __shared__ A values[kThreads];
  values[threadIdx.x] = value;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) values[threadIdx.x] = combine(values[threadIdx.x], values[threadIdx.x + half]);
  }
  __syncthreads();
  const A result = values[0];
  __syncthreads();  // the next call overwrites it
  return result;
}

struct Plus {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};
/// The larger, NaN if either is.
struct Larger {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a > b || a != a ? a : b;
  }
};

template <class A>
__device__ A block_sum(A value) {
  return block_reduce(value, Plus{});
}

/// Sum over i < n of f(i): each thread takes every blockDim.x-th, and the block adds theirs up.
template <class A, class F>
__device__ A row_sum(std::int64_t n, F f) {
  A sum = A(0);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += f(i);
  return block_sum(sum);
}

/// Who shares a row: all threads of a block. For long rows.
struct WholeBlock {
  static constexpr std::int64_t kRows = 1;  ///< of a block
  static int threads(std::int64_t n) { return threads_for_row(n); }

  __device__ static std::int64_t row() { return blockIdx.x; }
  __device__ static std::int64_t first() { return threadIdx.x; }
  __device__ static std::int64_t step() { return blockDim.x; }
  template <class A>
  __device__ static A sum(A value) {
    return block_sum(value);
  }
};

/// Or a team of 32 neighbouring threads, which run in step on every GPU, as a wavefront or as half of one:
/// they exchange their sums without a barrier. For rows of at most kLongest elements.
struct Team {
  static constexpr int kThreadsEach = 32;
  static constexpr std::int64_t kRows = kThreads / kThreadsEach, kLongest = 256;
  static int threads(std::int64_t) { return kThreads; }

  __device__ static std::int64_t row() { return blockIdx.x * kRows + threadIdx.x / kThreadsEach; }
  __device__ static std::int64_t first() { return threadIdx.x % kThreadsEach; }
  __device__ static std::int64_t step() { return kThreadsEach; }
  template <class A>
  __device__ static A sum(A value) {
    for (int lane = kThreadsEach / 2; lane > 0; lane /= 2)
      value += __shfl_xor_sync(0xffffffffu, value, lane, kThreadsEach);
    return value;
  }
};

/// Calls body(who) with who shares a row of n elements.
template <class Body>
void with_sharers(std::int64_t n, Body&& body) {
  if (n <= Team::kLongest)
    body(Team{});
  else
    body(WholeBlock{});
}

}  // namespace retnet::kernels
