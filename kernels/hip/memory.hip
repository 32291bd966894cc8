#include "kernels/memory.h"

#include <cstdio>
#include <cstdlib>

#include "kernels/hip/hip.h"

namespace retnet::kernels {
namespace {

/// @throws DeviceError "call: what the runtime says; what to do" unless the call succeeded
void require_success(const char* call, hipError_t error, const char* advice) {
  if (error == hipSuccess) return;
  (void)hipGetLastError();  // or the next check would find it again
  throw DeviceError(std::string(call) + ": " + hipGetErrorString(error) + advice);
}

constexpr const char* kNoDevice = "; this needs a GPU and its driver, else use the device cpu";
constexpr const char* kFailedBefore =
    "; a kernel queued before has failed: run again with RETNET_GPU_CHECK=1 in the environment to learn "
    "which";

/// True iff the host waits for each kernel, so that one that fails is named.
bool waits_for_each() {
  static const bool on = std::getenv("RETNET_GPU_CHECK") != nullptr;
  return on;
}

/// "gfx90a", or "sm_90".
std::string architecture(const hipDeviceProp_t& properties) {
#if defined(__CUDACC__)
  return "sm_" + std::to_string(10 * properties.major + properties.minor);
#else
  return properties.gcnArchName;
#endif
}

hipDeviceProp_t device_properties() {
  int count = 0;
  require_success("GPU", hipGetDeviceCount(&count), kNoDevice);
  require_success("GPU", count > 0 ? hipSuccess : hipErrorNoDevice, kNoDevice);
  hipDeviceProp_t properties;
  require_success("GPU", hipGetDeviceProperties(&properties, 0), kNoDevice);
  return properties;
}

/// What to do about an architecture that this build has no code for.
std::string rebuild(const hipDeviceProp_t& device) {
#if defined(__CUDACC__)
  return "-DCMAKE_CUDA_ARCHITECTURES=" + std::to_string(10 * device.major + device.minor);
#else
  return "-DRETNET_GPU_ARCHITECTURES=" + architecture(device);
#endif
}

}  // namespace

void check_launch(const char* kernel) {
  hipError_t error = hipGetLastError();
  if (error == hipSuccess && waits_for_each()) error = hipDeviceSynchronize();
  if (error == hipSuccess) return;
  const std::string prefix = std::string(kernel) + ": ";
  if (error == hipErrorNoDevice) require_success(kernel, error, kNoDevice);
  if (error == hipErrorNoBinaryForGpu || error == hipErrorInvalidDeviceFunction) {
    const hipDeviceProp_t device = device_properties();
    throw DeviceError(prefix + "this build has no code for the GPU, " + device.name + " (" +
                      architecture(device) + "); configure with " + rebuild(device));
  }
  if (error == hipErrorOutOfMemory)
    throw DeviceError(prefix + "the GPU is out of memory; use a smaller batch, window or model");
  throw DeviceError(prefix + hipGetErrorString(error) + (waits_for_each() ? "" : kFailedBefore));
}

void* allocate(Hip, std::int64_t bytes) {
  static const hipDeviceProp_t device = device_properties();  // that there is one is asked once
  (void)device;
  void* memory = nullptr;
  const hipError_t error = hipMalloc(&memory, static_cast<std::size_t>(bytes));
  if (error == hipErrorOutOfMemory) {
    (void)hipGetLastError();
    return nullptr;
  }
  require_success("memory of the GPU", error, kFailedBefore);
  return memory;
}

void release(Hip, void* memory) {
  // Runs in destructors, so what a failed kernel left behind is for the next check to report.
  (void)hipFree(memory);
}

void poison(Hip hip, void* memory, std::int64_t bytes) {
  require_success("memory of the GPU",
                  hipMemsetAsync(memory, 0xFF, static_cast<std::size_t>(bytes), stream_of(hip)),
                  kFailedBefore);
}

// From pageable memory, the runtime takes a copy before it returns, or waits for the transfer itself.
void copy_in(Hip hip, void* to, const void* from, std::int64_t bytes) {
  require_success(
      "copy to the GPU",
      hipMemcpyAsync(to, from, static_cast<std::size_t>(bytes), hipMemcpyHostToDevice, stream_of(hip)),
      kFailedBefore);
}

void copy_out(Hip hip, void* to, const void* from, std::int64_t bytes) {
  require_success(
      "copy from the GPU",
      hipMemcpyAsync(to, from, static_cast<std::size_t>(bytes), hipMemcpyDeviceToHost, stream_of(hip)),
      kFailedBefore);
  require_success("copy from the GPU", hipStreamSynchronize(stream_of(hip)), kFailedBefore);
}

std::string description(Hip) {
  const hipDeviceProp_t device = device_properties();
  char memory[32];
  std::snprintf(memory, sizeof memory, "%.0f GiB", static_cast<double>(device.totalGlobalMem) / 0x1p30);
  return std::string(device.name) + ", " + architecture(device) + ", " + memory;
}

}  // namespace retnet::kernels
