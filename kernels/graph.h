/// @file
/// Graphs: work of the GPU that is recorded once and runs again as one launch.
///
/// A launch costs the host some microseconds, and a small kernel runs no longer than that. The launches of a
/// graph cost the GPU about one each, and the host one for all of them.
#pragma once

#include <cstdint>

#include "kernels/exec.h"

namespace retnet::kernels {

/// A graph that is ready to run.
struct Graph {
  void* handle = nullptr;
  std::int64_t launches = 0;  ///< kernels, copies and fills in it
};

/// From now on what is queued in the stream that this returns does not run, but is recorded.
void* begin_graph(Hip);

/// Ends that. All pointers and numbers stay what they were when they were recorded.
/// @throws DeviceError where something was queued that a graph cannot do, such as a copy to the host
Graph end_graph(void* stream);

/// Ends it after an error, and forgets what was recorded.
void abandon_graph(void* stream);

/// Queues the whole graph.
void run_graph(Hip, const Graph& graph);

void release_graph(const Graph& graph);

/// False while each kernel is waited for by itself, with RETNET_GPU_CHECK=1 in the environment: a graph
/// cannot.
bool graphs_are_possible();

}  // namespace retnet::kernels
