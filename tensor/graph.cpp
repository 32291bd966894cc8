#include "tensor/graph.h"

#include "tensor/dispatch.h"

namespace retnet {

DeviceGraph::DeviceGraph(const std::function<void()>& work) {
  on_gpu("graph", [&](auto exec) {
    void* const stream = begin_graph(exec);
    try {
      memory_ = detail::begin_recording(stream);
      work();
    } catch (...) {
      detail::end_recording();
      kernels::abandon_graph(stream);
      throw;
    }
    detail::end_recording();
    graph_ = kernels::end_graph(stream);
  });
}

DeviceGraph::~DeviceGraph() {
  on_gpu("graph", [&](auto) { kernels::release_graph(graph_); });
}

void DeviceGraph::run() const {
  on_gpu("graph", [&](auto exec) { run_graph(exec, graph_); });
}

bool DeviceGraph::possible(Device device) {
  if constexpr (kHasGpu)
    return device == Device::hip && kernels::graphs_are_possible();
  else
    return false;
}

}  // namespace retnet
