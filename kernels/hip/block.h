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

/// Whom `block` works for, where the blocks up to shares[p].end work for p and those before it: the first of
/// `count` shares that ends after the block.
template <class Share>
__device__ const Share* share_of(const Share* shares, std::int64_t count, std::int64_t block) {
  std::int64_t first = 0, last = count - 1;
  while (first < last) {
    const std::int64_t middle = (first + last) / 2;
    if (shares[middle].end <= block)
      first = middle + 1;
    else
      last = middle;
  }
  return shares + first;
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
  __device__ static int first() { return static_cast<int>(threadIdx.x); }
  template <class A>
  __device__ static A sum(A value) {
    return block_sum(value);
  }
  /// f(i, number) for each element i < n of this thread, the numbers counted from 0.
  template <class F>
  __device__ static void for_each(std::int64_t n, F f) {
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) f(i, 0);
  }
  /// What a thread has of a row: where there is no telling how much it is, it stays in memory.
  template <class T>
  class Part {
   public:
    __device__ Part(const T* x, std::int64_t) : x_(x) {}
    __device__ T operator()(std::int64_t i, int) const { return x_[i]; }

   private:
    const T* x_;
  };
  /// What a thread computes of a row and needs again: it waits in `memory`, where the row's result goes.
  template <class T>
  class Kept {
   public:
    __device__ explicit Kept(T* memory) : x_(memory) {}
    __device__ T& operator()(std::int64_t i, int) const { return x_[i]; }

   private:
    T* x_;
  };
};

/// Or a team of 32 neighbouring threads, which run in step on every GPU, as a wavefront or as half of one:
/// they exchange their sums without a barrier. For rows of at most 32 Each elements, which each thread can
/// have in registers, so that all of a row is on its way at once and read once.
struct Team {
  static constexpr int kThreadsEach = 32;
  static constexpr std::int64_t kRows = kThreads / kThreadsEach;
  static int threads(std::int64_t) { return kThreads; }

  __device__ static std::int64_t row() { return blockIdx.x * kRows + threadIdx.x / kThreadsEach; }
  __device__ static int first() { return static_cast<int>(threadIdx.x) % kThreadsEach; }
  template <class A>
  __device__ static A sum(A value) {
    for (int lane = kThreadsEach / 2; lane > 0; lane /= 2)
      value += __shfl_xor_sync(0xffffffffu, value, lane, kThreadsEach);
    return value;
  }
};
template <int Each>
struct TeamOf : Team {
  template <class F>
  __device__ static void for_each(std::int64_t n, F f) {
#pragma unroll
    for (int number = 0; number < Each; ++number) {
      const int i = first() + number * kThreadsEach;
      if (i < n) f(i, number);
    }
  }
  template <class T>
  class Part {
   public:
    __device__ Part(const T* x, std::int64_t n) {
#pragma unroll
      for (int number = 0; number < Each; ++number) {
        const int i = first() + number * kThreadsEach;
        x_[number] = x && i < n ? x[i] : T(0);
      }
    }
    __device__ T operator()(std::int64_t, int number) const { return x_[number]; }

   private:
    T x_[Each];
  };
  template <class T>
  class Kept {
   public:
    __device__ explicit Kept(T*) {}
    __device__ T& operator()(std::int64_t, int number) { return x_[number]; }

   private:
    T x_[Each];
  };
};

/// Calls body(who) with who shares a row of n elements.
template <class Body>
void with_sharers(std::int64_t n, Body&& body) {
  if (n <= 2 * Team::kThreadsEach)
    body(TeamOf<2>{});
  else if (n <= 4 * Team::kThreadsEach)
    body(TeamOf<4>{});
  else if (n <= 8 * Team::kThreadsEach)
    body(TeamOf<8>{});
  else
    body(WholeBlock{});
}

}  // namespace retnet::kernels
