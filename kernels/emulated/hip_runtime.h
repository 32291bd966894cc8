/// @file
/// A GPU that is not there: the part of the HIP runtime and of its language that kernels/hip uses, on the CPU.
///
/// The kernels' sources run unchanged, so that they can be read with a debugger, tested where there is no GPU,
/// and checked for what a GPU may do and seldom does: the threads of a block go on in any order between two
/// barriers (RETNET_EMULATED_ORDER=forward, backward or a number that seeds random orders). A kernel without
/// races has the same bits in all of them. Slow: what takes a GPU a millisecond takes seconds here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline
/// A block runs on one thread of the CPU from beginning to end, so its memory is that thread's.
#define __shared__ static thread_local

using std::isfinite;

struct dim3 {
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned x, y, z;
};

extern thread_local constinit dim3 threadIdx, blockIdx;
extern thread_local constinit dim3 blockDim, gridDim;

enum hipError_t {
  hipSuccess,
  hipErrorOutOfMemory,
  hipErrorNoDevice,
  hipErrorNoBinaryForGpu,
  hipErrorInvalidDeviceFunction,
  hipErrorInvalidValue,
};
enum hipMemcpyKind { hipMemcpyHostToDevice, hipMemcpyDeviceToHost, hipMemcpyDeviceToDevice };
enum hipStreamCaptureMode { hipStreamCaptureModeRelaxed };
constexpr unsigned hipStreamNonBlocking = 1;

using hipStream_t = struct EmulatedStream*;
using hipGraph_t = struct EmulatedGraph*;
using hipGraphNode_t = struct EmulatedNode*;
using hipGraphExec_t = hipGraph_t;

struct hipDeviceProp_t {
  const char* name = nullptr;
  const char* gcnArchName = nullptr;
  std::size_t totalGlobalMem = 0;
};

const char* hipGetErrorString(hipError_t error);
hipError_t hipGetLastError();
hipError_t hipGetDeviceCount(int* count);
hipError_t hipGetDeviceProperties(hipDeviceProp_t* properties, int device);
hipError_t hipDeviceSynchronize();

/// As on a GPU, memory is what is left of the device's; it begins as NaN.
hipError_t hipMalloc(void** memory, std::size_t bytes);
hipError_t hipFree(void* memory);
hipError_t hipMemcpyAsync(void* to, const void* from, std::size_t bytes, hipMemcpyKind, hipStream_t stream);
hipError_t hipMemsetAsync(void* memory, int value, std::size_t bytes, hipStream_t stream);

hipError_t hipStreamCreateWithFlags(hipStream_t* stream, unsigned flags);
hipError_t hipStreamSynchronize(hipStream_t stream);
hipError_t hipStreamBeginCapture(hipStream_t stream, hipStreamCaptureMode mode);
hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t* graph);
hipError_t hipGraphGetNodes(hipGraph_t graph, hipGraphNode_t* nodes, std::size_t* count);
hipError_t hipGraphInstantiateWithFlags(hipGraphExec_t* ready, hipGraph_t graph, unsigned long long flags);
hipError_t hipGraphLaunch(hipGraphExec_t graph, hipStream_t stream);
hipError_t hipGraphDestroy(hipGraph_t graph);
hipError_t hipGraphExecDestroy(hipGraphExec_t graph);

/// Waits for every thread of the block.
void __syncthreads();

namespace retnet::emulated {

/// Threads that exchange values without a barrier: 32 on every GPU, a wavefront or half of one.
constexpr unsigned kTeam = 32;

/// Of the thread `lane` further on, by exclusive or, in this thread's team: what it passes to this call.
const void* exchange(const void* mine, unsigned lane);

/// Waits for the others of the team.
void meet_team();

/// Queues `work` in the stream: runs it, or makes it part of the graph that the stream records.
void enqueue(hipStream_t stream, std::function<void()> work);

/// Runs `thread` once for each thread of each block.
/// @throws DeviceError if some threads of a block wait for others that have ended or wait elsewhere
void run(const char* kernel, dim3 blocks, dim3 threads, const std::function<void()>& thread);

/// @throws DeviceError for a launch of no threads, which a GPU's runtime refuses too
void check_configuration(const char* kernel, dim3 blocks, dim3 threads);

/// What kernel<<<blocks, threads, 0, stream>>>(args...) becomes, with the kernel's name (cmake/EmulateLaunch.cmake).
template <class Kernel, class... Args>
void launch(const char* name, dim3 blocks, dim3 threads, std::size_t, hipStream_t stream, Kernel kernel,
            Args... args) {
  check_configuration(name, blocks, threads);
  enqueue(stream, [=] { run(name, blocks, threads, [&] { kernel(args...); }); });
}

}  // namespace retnet::emulated

/// The value of the thread `lane` further on, by exclusive or. All threads of the team call it.
template <class T>
T __shfl_xor(T value, int lane, int) {
  const T theirs = *static_cast<const T*>(retnet::emulated::exchange(&value, static_cast<unsigned>(lane)));
  retnet::emulated::meet_team();  // until then, `value` may be read
  return theirs;
}
