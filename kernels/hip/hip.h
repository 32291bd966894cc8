/// @file
/// The HIP runtime for the .hip sources; on NVIDIA, CUDA's names for what they use of it; without a GPU, the
/// emulator.
#pragma once

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define hipError_t cudaError_t
#define hipSuccess cudaSuccess
#define hipErrorOutOfMemory cudaErrorMemoryAllocation
#define hipErrorNoDevice cudaErrorNoDevice
#define hipErrorNoBinaryForGpu cudaErrorNoKernelImageForDevice
#define hipErrorInvalidDeviceFunction cudaErrorInvalidDeviceFunction
#define hipGetErrorString cudaGetErrorString
#define hipGetLastError cudaGetLastError
#define hipStream_t cudaStream_t
#define hipMalloc cudaMalloc
#define hipFree cudaFree
#define hipMemcpyAsync cudaMemcpyAsync
#define hipMemcpyHostToDevice cudaMemcpyHostToDevice
#define hipMemcpyDeviceToHost cudaMemcpyDeviceToHost
#define hipMemcpyDeviceToDevice cudaMemcpyDeviceToDevice
#define hipMemsetAsync cudaMemsetAsync
#define hipStreamSynchronize cudaStreamSynchronize
#define hipDeviceSynchronize cudaDeviceSynchronize
#define hipStreamCreateWithFlags cudaStreamCreateWithFlags
#define hipStreamNonBlocking cudaStreamNonBlocking
#define hipStreamBeginCapture cudaStreamBeginCapture
#define hipStreamEndCapture cudaStreamEndCapture
#define hipStreamCaptureModeRelaxed cudaStreamCaptureModeRelaxed
#define hipGraph_t cudaGraph_t
#define hipGraphExec_t cudaGraphExec_t
#define hipGraphGetNodes cudaGraphGetNodes
#define hipGraphInstantiateWithFlags cudaGraphInstantiateWithFlags
#define hipGraphLaunch cudaGraphLaunch
#define hipGraphDestroy cudaGraphDestroy
#define hipGraphExecDestroy cudaGraphExecDestroy
#define hipGetDeviceCount cudaGetDeviceCount
#define hipGetDeviceProperties cudaGetDeviceProperties
#define hipDeviceProp_t cudaDeviceProp
#define hipFuncSetAttribute cudaFuncSetAttribute
#define hipFuncAttributeMaxDynamicSharedMemorySize cudaFuncAttributeMaxDynamicSharedMemorySize
#define hipEvent_t cudaEvent_t
#define hipEventCreate cudaEventCreate
#define hipEventRecord cudaEventRecord
#define hipEventSynchronize cudaEventSynchronize
#define hipEventElapsedTime cudaEventElapsedTime
#define hipEventDestroy cudaEventDestroy
#else
#if defined(RETNET_GPU_EMULATED)
#include "kernels/emulated/hip_runtime.h"
#else
#include <hip/hip_runtime.h>
#endif
// AMD's threads in step need no mask of who takes part.
#define __shfl_xor_sync(mask, value, lane, width) __shfl_xor(value, lane, width)
#endif

#include <vector>

#include "kernels/exec.h"
#include "kernels/memory.h"

namespace retnet::kernels {

/// A count in 32 bits, where it is known to fit: to divide numbers of 64 bits takes a GPU a hundred
/// instructions.
template <class Count>
__host__ __device__ inline unsigned narrow(Count count) {
  return static_cast<unsigned>(count);
}

/// The stream that a call's work is queued in.
inline hipStream_t stream_of(Hip hip) { return static_cast<hipStream_t>(hip.stream); }

/// Memory of the device for the length of a call. Returned as soon as the last kernel that uses it is queued:
/// whoever takes it next queues behind, in the same stream.
class Scratch {
 public:
  Scratch(Hip hip, std::int64_t bytes) : hip_(hip), bytes_(bytes), data_(hip.take(bytes)) {}
  ~Scratch() { hip_.give_back(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Hip hip_;
  std::int64_t bytes_;
  void* data_;
};

/// A list of the host, copied to the device for the length of a call.
template <class T>
class ListOnDevice {
 public:
  ListOnDevice(Hip hip, const std::vector<T>& list)
      : memory_(hip, static_cast<std::int64_t>(list.size() * sizeof(T))) {
    copy_in(hip, memory_.template as<void>(), list.data(),
            static_cast<std::int64_t>(list.size() * sizeof(T)));
  }
  const T* data() const { return memory_.template as<T>(); }

 private:
  Scratch memory_;
};

/// After every launch. A kernel that fails while it runs shows at the next call of the runtime; with
/// RETNET_GPU_CHECK=1 in the environment, here. @throws DeviceError that names the kernel and what to do
void check_launch(const char* kernel);

/// @throws DeviceError "call: what the runtime says; what to do" unless the call succeeded
void require_success(const char* call, hipError_t error);

}  // namespace retnet::kernels
