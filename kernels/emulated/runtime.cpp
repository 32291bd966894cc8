#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/emulated/hip_runtime.h"

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  hipGraph_t recorded = nullptr;  ///< what is queued while it is set becomes part of it
};

namespace {

constexpr std::size_t kMemory = std::size_t{8} << 30;

/// Of the device; several threads of the host may use it.
struct Device {
  std::mutex mutex;
  std::map<void*, std::size_t> sizes;
  std::size_t used = 0;
};
Device& device() {
  static Device* const only = new Device;  // never destroyed: tensors that are may still return memory
  return *only;
}

}  // namespace

namespace retnet::emulated {

void enqueue(hipStream_t stream, std::function<void()> work) {
  if (stream != nullptr && stream->recorded != nullptr)
    stream->recorded->work.push_back(std::move(work));
  else
    work();
}

}  // namespace retnet::emulated

const char* hipGetErrorString(hipError_t error) {
  switch (error) {
    case hipSuccess: return "no error";
    case hipErrorOutOfMemory: return "out of memory";
    case hipErrorNoDevice: return "no device";
    default: return "invalid argument";
  }
}

// Every call does its work before it returns, and kernels report what is wrong themselves.
hipError_t hipGetLastError() { return hipSuccess; }
hipError_t hipDeviceSynchronize() { return hipSuccess; }
hipError_t hipStreamSynchronize(hipStream_t) { return hipSuccess; }

hipError_t hipGetDeviceCount(int* count) {
  *count = 1;
  return hipSuccess;
}

hipError_t hipGetDeviceProperties(hipDeviceProp_t* properties, int) {
  *properties = {"a GPU emulated on the CPU", "emulated", kMemory};
  return hipSuccess;
}

hipError_t hipMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard lock(device().mutex);
  if (bytes > kMemory - device().used) return hipErrorOutOfMemory;
  const std::size_t rounded = (bytes + 255) / 256 * 256;
  *memory = std::aligned_alloc(256, rounded);
  if (*memory == nullptr) return hipErrorOutOfMemory;
  std::memset(*memory, 0xFF, bytes);
  device().sizes[*memory] = bytes;
  device().used += bytes;
  return hipSuccess;
}

hipError_t hipFree(void* memory) {
  if (memory == nullptr) return hipSuccess;
  const std::lock_guard lock(device().mutex);
  const auto found = device().sizes.find(memory);
  if (found == device().sizes.end()) return hipErrorInvalidValue;
  device().used -= found->second;
  device().sizes.erase(found);
  std::free(memory);
  return hipSuccess;
}

hipError_t hipMemcpyAsync(void* to, const void* from, std::size_t bytes, hipMemcpyKind, hipStream_t stream) {
  retnet::emulated::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return hipSuccess;
}

hipError_t hipMemsetAsync(void* memory, int value, std::size_t bytes, hipStream_t stream) {
  retnet::emulated::enqueue(stream, [=] { std::memset(memory, value, bytes); });
  return hipSuccess;
}

hipError_t hipStreamCreateWithFlags(hipStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return hipSuccess;
}

hipError_t hipStreamBeginCapture(hipStream_t stream, hipStreamCaptureMode) {
  if (stream == nullptr || stream->recorded != nullptr) return hipErrorInvalidValue;
  stream->recorded = new EmulatedGraph;
  return hipSuccess;
}

hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t* graph) {
  if (stream == nullptr || stream->recorded == nullptr) return hipErrorInvalidValue;
  *graph = std::exchange(stream->recorded, nullptr);
  return hipSuccess;
}

hipError_t hipGraphGetNodes(hipGraph_t graph, hipGraphNode_t*, std::size_t* count) {
  *count = graph->work.size();
  return hipSuccess;
}

hipError_t hipGraphInstantiateWithFlags(hipGraphExec_t* ready, hipGraph_t graph, unsigned long long) {
  *ready = new EmulatedGraph(*graph);
  return hipSuccess;
}

hipError_t hipGraphLaunch(hipGraphExec_t graph, hipStream_t stream) {
  for (const std::function<void()>& work : graph->work) retnet::emulated::enqueue(stream, work);
  return hipSuccess;
}

hipError_t hipGraphDestroy(hipGraph_t graph) {
  delete graph;
  return hipSuccess;
}

hipError_t hipGraphExecDestroy(hipGraphExec_t graph) { return hipGraphDestroy(graph); }
