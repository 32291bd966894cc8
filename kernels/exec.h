/// @file
/// Where a kernel runs: the tag types that pick the overload, and the limits both devices share.
#pragma once

#include <cstdint>

namespace retnet::kernels {

/// Runs on the host with OpenMP threads (or one thread where the compiler has no OpenMP).
struct Cpu {};

/// Runs on a GPU, in one HIP stream; the overloads exist only in builds with `RETNET_GPU` set.
struct Hip {
  void* stream = nullptr;  ///< a `hipStream_t`; null is the default stream
};

/// The largest number of dimensions a tensor, and so a strided kernel, can have.
inline constexpr int kMaxRank = 8;

}  // namespace retnet::kernels
