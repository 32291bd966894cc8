/// @file
/// Where a kernel runs: the tag types that pick the overload, and the limits both devices share.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace retnet::kernels {

/// Runs on the host with OpenMP threads (or one thread where the compiler has no OpenMP).
struct Cpu {};

/// Runs on a GPU, in one HIP stream; the overloads exist only in builds with `RETNET_GPU` set.
struct Hip {
  void* stream = nullptr;  ///< a `hipStream_t`; null is the default stream
  /// Where a kernel gets memory of the device for the length of a call, and returns it.
  void* (*take)(std::int64_t bytes) = nullptr;
  void (*give_back)(void* memory, std::int64_t bytes) = nullptr;
  bool records = false;  ///< what is queued does not run, but becomes part of a graph (graph.h)
};

/// What a kernel, or the runtime beneath it, reports: out of memory, a wrong architecture, a failed launch.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The largest number of dimensions a tensor, and so a strided kernel, can have.
inline constexpr int kMaxRank = 8;

}  // namespace retnet::kernels
