/// @file
/// Reference-counted bytes on one device, recycled by a caching allocator.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/exec.h"
#include "tensor/dtype.h"

namespace retnet {

/// A block of memory that one or more tensors view. Aligned to 64 bytes; contents undefined, or NaN (0xFF
/// bytes) while poisoning is on.
class Storage {
 public:
  /// @throws OutOfMemory when the memory cannot be had, saying how much was asked for and what there is
  Storage(std::int64_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  Device device_ = Device::cpu;
};

using StoragePtr = std::shared_ptr<Storage>;

/// Bytes in live storages, the largest that number has been, and bytes kept for reuse; on one device.
struct MemoryStats {
  std::int64_t live = 0, peak = 0, cached = 0;
};
MemoryStats memory_stats(Device device = Device::cpu);
void reset_peak_memory(Device device = Device::cpu);      ///< the peak restarts at what is live now
void release_cached_memory(Device device = Device::cpu);  ///< returns every unused block to the system

/// The GPU's kernels run one after the other, in the default stream, and take their scratch memory from the
/// storages' cache: whoever gets a block next queues behind whoever had it before, so none is waited for.
kernels::Hip hip();

/// Waits for everything that was queued on a device; on the CPU there is nothing to wait for.
void synchronize(Device device);

namespace detail {

/// What keeps the memory of a graph from everybody else.
using GraphMemory = std::shared_ptr<void>;

/// From now on hip() queues in the stream `recording`, and memory is taken for the graph that is recorded
/// there, until end_recording(); the graph has it as long as the result lives. See DeviceGraph.
GraphMemory begin_recording(void* recording);
void end_recording();

}  // namespace detail

/// While on, new storage is filled with 0xFF bytes, a NaN in every floating dtype, so that reading memory
/// that nobody wrote shows. Off by default; the tests turn it on. Environment: RETNET_POISON=1.
void set_poison(bool on);

}  // namespace retnet
