/// @file
/// From a tensor's device and dtype to the overload of a kernel: the only place that chooses, and that knows
/// whether this build has a GPU.
#pragma once

#include <initializer_list>
#include <utility>

#include "kernels/exec.h"
#include "tensor/tensor.h"

namespace retnet {

#if defined(RETNET_GPU)
inline constexpr bool kHasGpu = true;
#else
inline constexpr bool kHasGpu = false;
#endif

/// Calls `body(exec)` with the tag that picks the overloads for a device.
/// @throws Error in the name of `op` for a device that this build does not have
template <class Body>
decltype(auto) on_device(const char* op, Device device, Body&& body) {
  if constexpr (kHasGpu) {
    if (device == Device::hip) return body(hip());
  }
  require(device == Device::cpu, op, "the tensor is on ", device,
          ", but this build has no GPU; configure with -DRETNET_GPU=amd or nvidia");
  return body(kernels::Cpu{});
}

/// Calls `body(Type<T>{})` with T = float, double or bf16 as the dtype says.
/// @throws Error in the name of `op` for i32
template <class Body>
decltype(auto) with_type(const char* op, Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::f32:
      return body(Type<float>{});
    case Dtype::f64:
      return body(Type<double>{});
    case Dtype::bf16:
      return body(Type<bf16>{});
    case Dtype::i32:
      break;
  }
  fail(op, "needs f32, f64 or bf16, got ", dtype, "; convert with astype()");
}

/// As with_type(), with T = std::int32_t possible as well.
template <class Body>
decltype(auto) with_any_type(const char* op, Dtype dtype, Body&& body) {
  if (dtype == Dtype::i32) return body(Type<std::int32_t>{});
  return with_type(op, dtype, std::forward<Body>(body));
}

/// Calls `body(exec, Type<T>{})` with T = float, double or bf16 as the dtype says.
/// @throws Error in the name of `op` for i32, or for a device that this build does not have
template <class Body>
decltype(auto) dispatch(const char* op, Dtype dtype, Device device, Body&& body) {
  return on_device(op, device, [&](auto exec) -> decltype(auto) {
    return with_type(op, dtype, [&](auto type) -> decltype(auto) { return body(exec, type); });
  });
}

/// The same for a tensor.
template <class Body>
decltype(auto) dispatch(const char* op, const Tensor& x, Body&& body) {
  return dispatch(op, x.dtype(), x.device(), std::forward<Body>(body));
}

/// As dispatch(), with T = std::int32_t possible as well.
template <class Body>
decltype(auto) dispatch_all(const char* op, Dtype dtype, Device device, Body&& body) {
  return on_device(op, device, [&](auto exec) -> decltype(auto) {
    return with_any_type(op, dtype, [&](auto type) -> decltype(auto) { return body(exec, type); });
  });
}

/// As dispatch(), for kernels that exist in f32 and f64 only.
template <class Body>
decltype(auto) dispatch_real(const char* op, const Tensor& x, Body&& body) {
  require(x.dtype() == Dtype::f32 || x.dtype() == Dtype::f64, op, "needs f32 or f64, got ", x.dtype());
  return on_device(op, x.device(), [&](auto exec) -> decltype(auto) {
    if (x.dtype() == Dtype::f64) return body(exec, Type<double>{});
    return body(exec, Type<float>{});
  });
}

/// @throws Error in the name of `op` unless all tensors that are defined are on one device
inline void require_one_device(const char* op, std::initializer_list<const Tensor*> tensors) {
  const Tensor* first = nullptr;
  for (const Tensor* x : tensors) {
    if (!x->defined()) continue;
    if (first == nullptr) first = x;
    require(x->device() == first->device(), op, "devices differ, got ", first->device(), " and ", x->device(),
            "; move one with to()");
  }
}

}  // namespace retnet
