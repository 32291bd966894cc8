#include "kernels/graph.h"

#include <cstdlib>

#include "kernels/hip/hip.h"

namespace retnet::kernels {
namespace {

constexpr const char* kName = "graph of the GPU";

/// The stream of all recordings. It does not wait for the default stream: nothing in it runs.
hipStream_t recording_stream() {
  static const hipStream_t stream = [] {
    hipStream_t made = nullptr;
    require_success(kName, hipStreamCreateWithFlags(&made, hipStreamNonBlocking));
    return made;
  }();
  return stream;
}

}  // namespace

void* begin_graph(Hip) {
  const hipStream_t stream = recording_stream();
  // Relaxed: memory may be asked for meanwhile.
  require_success(kName, hipStreamBeginCapture(stream, hipStreamCaptureModeRelaxed));
  return stream;
}

Graph end_graph(void* stream) {
  hipGraph_t recorded = nullptr;
  require_success(kName, hipStreamEndCapture(static_cast<hipStream_t>(stream), &recorded));
  std::size_t launches = 0;
  hipGraphExec_t ready = nullptr;
  hipError_t error = hipGraphGetNodes(recorded, nullptr, &launches);
  if (error == hipSuccess) error = hipGraphInstantiateWithFlags(&ready, recorded, 0);
  (void)hipGraphDestroy(recorded);
  require_success(kName, error);
  return {ready, static_cast<std::int64_t>(launches)};
}

void abandon_graph(void* stream) {
  hipGraph_t recorded = nullptr;
  if (hipStreamEndCapture(static_cast<hipStream_t>(stream), &recorded) == hipSuccess && recorded)
    (void)hipGraphDestroy(recorded);
  (void)hipGetLastError();
}

void run_graph(Hip hip, const Graph& graph) {
  require_success(kName, hipGraphLaunch(static_cast<hipGraphExec_t>(graph.handle), stream_of(hip)));
}

void release_graph(const Graph& graph) {
  // Runs in destructors. What still runs of the graph is finished first.
  (void)hipDeviceSynchronize();
  (void)hipGraphExecDestroy(static_cast<hipGraphExec_t>(graph.handle));
}

bool graphs_are_possible() { return std::getenv("RETNET_GPU_CHECK") == nullptr; }

}  // namespace retnet::kernels
