/// @file
/// What tests on a GPU need: a reason to skip where there is none, and views moved as they are.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "tensor/dispatch.h"
#include "tests/support/array.h"
#include "tests/support/test.h"

namespace retnet::test {

/// "" where tests can compute on a GPU, else why they cannot.
inline std::string no_gpu() {
  if (!kHasGpu) return "this build has no GPU";
  try {
    Tensor::zeros({1}, Dtype::f32, Device::hip);
  } catch (const kernels::DeviceError& error) {
    return error.what();
  }
  return "";
}

/// Begins a test that needs a GPU: says why it is skipped where there is none.
#define RETNET_NEEDS_GPU()                             \
  do {                                                 \
    const std::string reason = retnet::test::no_gpu(); \
    if (!reason.empty()) {                             \
      WARN("skipped: " << reason);                     \
      return;                                          \
    }                                                  \
  } while (false)

/// A copy on the GPU with the same strides and offset, in a storage of the same size.
inline Tensor on_gpu(const Tensor& x) {
  const std::int64_t elements = x.storage()->bytes() / size_of(x.dtype());
  const Tensor all(x.storage(), 0, {elements}, {1}, x.dtype());
  return {all.to(Device::hip).storage(), x.offset(), x.shape(), x.strides(), x.dtype()};
}

/// Sum of squared differences over the sum of squares of b, on any device; infinite where only one of two
/// numbers is finite, or the shapes differ.
inline double normalized_square_error(const Tensor& a, const Tensor& b) {
  const Array x = array_of(a), y = array_of(b);
  if (!(x.shape == y.shape)) return std::numeric_limits<double>::infinity();
  double apart = 0, scale = 0;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    if (std::isnan(x.values[i]) && std::isnan(y.values[i])) continue;
    if (x.values[i] == y.values[i]) {
      if (std::isfinite(y.values[i])) scale += y.values[i] * y.values[i];
      continue;
    }
    apart += (x.values[i] - y.values[i]) * (x.values[i] - y.values[i]);
    scale += y.values[i] * y.values[i];
  }
  return apart == 0 ? 0 : std::isnan(apart / scale) ? std::numeric_limits<double>::infinity() : apart / scale;
}

}  // namespace retnet::test
