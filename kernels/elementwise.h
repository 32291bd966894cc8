/// @file
/// Elementwise loops; the formulas are in elementwise_ops.h.
#pragma once

#include "kernels/elementwise_ops.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// y[i] = f(x[i]) for n contiguous elements; y may be x.
/// @tparam T float, double or bf16;  @tparam F one of RETNET_UNARY_OPS
template <class F, class T>
void map(Cpu, F f, T* y, const T* x, std::int64_t n);
template <class F, class T>
void map(Hip, F f, T* y, const T* x, std::int64_t n);

/// Two operands of a common shape, each with its own strides in elements; a stride of 0 broadcasts.
struct Zip {
  int rank = 0;
  std::int64_t dims[kMaxRank] = {};
  std::int64_t a_stride[kMaxRank] = {}, b_stride[kMaxRank] = {};
};

/// y = f(a, b) over the shape of `s`; y is contiguous, and may be a or b where that one is contiguous too.
/// @tparam T float, double or bf16;  @tparam F one of RETNET_BINARY_OPS
template <class F, class T>
void zip(Cpu, F f, T* y, const T* a, const T* b, const Zip& s);
template <class F, class T>
void zip(Hip, F f, T* y, const T* a, const T* b, const Zip& s);

}  // namespace retnet::kernels
