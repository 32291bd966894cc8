/// @file
/// Work of the GPU that is recorded once and then queued as a whole.
#pragma once

#include <functional>

#include "kernels/graph.h"
#include "tensor/storage.h"

namespace retnet {

/// What some code queues on the GPU, as one launch. It has all tensors' addresses and all numbers of the time
/// of its recording. So what differs from run to run must be in memory that stays in its place and is written
/// before (Tensor::assign()), and what it computes is in the tensors that the code computed, which each run
/// overwrites. No other tensor gets memory that the graph uses as long as it lives.
class DeviceGraph {
 public:
  /// Calls `work` once, which may not read anything on the host. Nothing of it runs.
  /// Kernels must have run before, and tables be there: the second time that something is done is the one to
  /// record.
  /// @throws Error where this build has no GPU, and what `work` throws
  explicit DeviceGraph(const std::function<void()>& work);
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;

  void run() const;                                          ///< queues it, behind everything queued before
  std::int64_t launches() const { return graph_.launches; }  ///< of kernels, copies and fills in it

  /// True iff graphs can be recorded for work on a device: on a GPU, unless RETNET_GPU_CHECK=1 is in the
  /// environment.
  static bool possible(Device device);

 private:
  detail::GraphMemory memory_;
  kernels::Graph graph_;
};

}  // namespace retnet
