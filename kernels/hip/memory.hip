#include "kernels/memory.h"

#include <cstdio>
#include <cstdlib>

#include "kernels/hip/hip.h"

namespace retnet::kernels {
namespace {

/// True iff the host waits for each kernel, so that one that fails is named.
bool waits_for_each() {
  static const bool on = std::getenv("RETNET_GPU_CHECK") != nullptr;
  return on;
}

/// @throws DeviceError "call: what the runtime says; what to do" unless the call succeeded
void require_success(const char* call, hipError_t error) {
  if (error == hipSuccess) return;
  (void)hipGetLastError();  // or the next check would find it again
  const char* advice =
      waits_for_each()
          ? ""
          : "; a kernel queued before may have failed: RETNET_GPU_CHECK=1 in the environment names it";
  throw DeviceError(std::string(call) + ": " + hipGetErrorString(error) + advice);
}

/// "gfx90a", or "sm_90".
std::string architecture(const hipDeviceProp_t& properties) {
#if defined(__CUDACC__)
  return "sm_" + std::to_string(10 * properties.major + properties.minor);
#else
  return properties.gcnArchName;
#endif
}

/// @throws DeviceError where there is no device
hipDeviceProp_t device_properties() {
  int count = 0;
  hipDeviceProp_t properties{};
  hipError_t error = hipGetDeviceCount(&count);
  if (error == hipSuccess) error = count > 0 ? hipGetDeviceProperties(&properties, 0) : hipErrorNoDevice;
  if (error != hipSuccess)
    throw DeviceError(std::string("GPU: required one with its driver, got ") + hipGetErrorString(error) +
                      "; use the device cpu");
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
  if (error == hipErrorNoBinaryForGpu || error == hipErrorInvalidDeviceFunction) {
    const hipDeviceProp_t device = device_properties();
    throw DeviceError(prefix + "this build has no code for the GPU, " + device.name + " (" +
                      architecture(device) + "); configure with " + rebuild(device));
  }
  if (error == hipErrorOutOfMemory)
    throw DeviceError(prefix + "the GPU is out of memory; use a smaller batch, window or model");
  require_success(kernel, error);
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
  require_success("memory of the GPU", error);
  return memory;
}

void release(Hip, void* memory) {
  // Runs in destructors, so what a failed kernel left behind is for the next check to report.
  (void)hipFree(memory);
}

void poison(Hip hip, void* memory, std::int64_t bytes) {
  require_success("memory of the GPU",
                  hipMemsetAsync(memory, 0xFF, static_cast<std::size_t>(bytes), stream_of(hip)));
}

// From pageable memory, the runtime takes a copy before it returns, or waits for the transfer itself.
void copy_in(Hip hip, void* to, const void* from, std::int64_t bytes) {
  require_success("copy to the GPU", hipMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                                    hipMemcpyHostToDevice, stream_of(hip)));
}

void copy_out(Hip hip, void* to, const void* from, std::int64_t bytes) {
  require_success("copy from the GPU", hipMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                                      hipMemcpyDeviceToHost, stream_of(hip)));
  require_success("copy from the GPU", hipStreamSynchronize(stream_of(hip)));
}

std::string description(Hip) {
  const hipDeviceProp_t device = device_properties();
  char memory[32];
  std::snprintf(memory, sizeof memory, "%.0f GiB", static_cast<double>(device.totalGlobalMem) / 0x1p30);
  return std::string(device.name) + ", " + architecture(device) + ", " + memory;
}

}  // namespace retnet::kernels
