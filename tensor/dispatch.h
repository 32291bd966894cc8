/// @file
/// From a tensor's device and dtype to the overload of a kernel: the only place that chooses.
#pragma once

#include "kernels/exec.h"
#include "tensor/tensor.h"

namespace retnet {

/// Calls `body(exec, Type<T>{})` with T = float, double or bf16 as the dtype says.
/// @throws Error in the name of `op` for i32, or for a device that this build does not have
template <class Body>
decltype(auto) dispatch(const char* op, Dtype dtype, Device device, Body&& body) {
  require(device == Device::cpu, op, "the tensor is on ", device,
          ", but this build has no GPU; configure with -DRETNET_GPU=amd or nvidia");
  switch (dtype) {
    case Dtype::f32:
      return body(kernels::Cpu{}, Type<float>{});
    case Dtype::f64:
      return body(kernels::Cpu{}, Type<double>{});
    case Dtype::bf16:
      return body(kernels::Cpu{}, Type<bf16>{});
    case Dtype::i32:
      break;
  }
  fail(op, "needs f32, f64 or bf16, got ", dtype, "; convert with astype()");
}

/// The same for a tensor.
template <class Body>
decltype(auto) dispatch(const char* op, const Tensor& x, Body&& body) {
  return dispatch(op, x.dtype(), x.device(), std::forward<Body>(body));
}

/// As dispatch(), with T = std::int32_t possible as well.
template <class Body>
decltype(auto) dispatch_all(const char* op, Dtype dtype, Device device, Body&& body) {
  if (dtype == Dtype::i32 && device == Device::cpu) return body(kernels::Cpu{}, Type<std::int32_t>{});
  return dispatch(op, dtype, device, std::forward<Body>(body));
}

/// As dispatch(), for kernels that exist in f32 and f64 only.
template <class Body>
decltype(auto) dispatch_real(const char* op, const Tensor& x, Body&& body) {
  require(x.dtype() == Dtype::f32 || x.dtype() == Dtype::f64, op, "needs f32 or f64, got ", x.dtype());
  require(x.device() == Device::cpu, op, "the tensor is on ", x.device(),
          ", but this build has no GPU; configure with -DRETNET_GPU=amd or nvidia");
  if (x.dtype() == Dtype::f64) return body(kernels::Cpu{}, Type<double>{});
  return body(kernels::Cpu{}, Type<float>{});
}

}  // namespace retnet
