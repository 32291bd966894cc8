/// @file
/// Strided copies with conversion, and filling: all that makes a view contiguous or changes a dtype.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// A shape and the strides, in elements, of both sides of a copy. A source stride may be 0 (broadcast).
struct Copy {
  int rank = 0;
  std::int64_t dims[kMaxRank] = {};
  std::int64_t to_stride[kMaxRank] = {}, from_stride[kMaxRank] = {};
};

/// to[...] = To(from[...]) over the shape of `s`; the two must not overlap.
/// @tparam To, From float, double, bf16 or std::int32_t
template <class To, class From>
void copy(Cpu, To* to, const From* from, const Copy& s);
template <class To, class From>
void copy(Hip, To* to, const From* from, const Copy& s);

/// x[i] = value for n contiguous elements.
template <class T>
void fill(Cpu, T* x, T value, std::int64_t n);
template <class T>
void fill(Hip, T* x, T value, std::int64_t n);

}  // namespace retnet::kernels
