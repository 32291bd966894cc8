/// @file
/// Reductions along one axis of contiguous memory. The order of every sum is fixed by the shape.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// y[o, i] = sum over r of x[o, r, i], accumulated in double.  x [outer, n, inner], y [outer, inner]
/// @tparam T float, double or bf16
template <class T>
void sum_axis(Cpu, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner);
template <class T>
void sum_axis(Hip, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner);

/// y[o, i] = the largest x[o, r, i], NaN if any is; n >= 1.
template <class T>
void max_axis(Cpu, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner);
template <class T>
void max_axis(Hip, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner);

/// y[row] = index of the largest of x[row, 0 .. n-1], the first of equals; n >= 1.
template <class T>
void argmax_rows(Cpu, std::int32_t* y, const T* x, std::int64_t rows, std::int64_t n);
template <class T>
void argmax_rows(Hip, std::int32_t* y, const T* x, std::int64_t rows, std::int64_t n);

/// n contiguous elements, one tensor of several.
template <class T>
struct Part {
  const T* x = nullptr;
  std::int64_t n = 0;
};

/// y[i] = sum of the squares of the elements of part i, in double. y is where the parts are; the list of them
/// is on the host.
template <class T>
void sum_squares(Cpu, double* y, const Part<T>* parts, std::int64_t count);
template <class T>
void sum_squares(Hip, double* y, const Part<T>* parts, std::int64_t count);

}  // namespace retnet::kernels
