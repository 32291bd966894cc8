/// @file
/// Normalisation of rows, the core of LayerNorm, GroupNorm and RMSNorm.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// y = (x - mean) rstd with rstd = 1 / sqrt(variance + eps), per row of n >= 1; without `center`, the mean
/// counts as 0, and the variance is the mean square (RMSNorm). Statistics in double for T = double, else
/// float.
/// @param rstd  [rows], kept for the gradient
/// @tparam T float, double or bf16
template <class T>
void normalize(Cpu, T* y, accum_t<T>* rstd, const T* x, std::int64_t rows, std::int64_t n, double eps,
               bool center);

/// dx = rstd (dy - [center] mean(dy) - y mean(dy y)), from what normalize() returned, @eq{G5}.
template <class T>
void normalize_grad(Cpu, T* dx, const T* dy, const T* y, const accum_t<T>* rstd, std::int64_t rows,
                    std::int64_t n, bool center);

}  // namespace retnet::kernels
