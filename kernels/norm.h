/// @file
/// Normalisation of rows, the core of LayerNorm, GroupNorm and RMSNorm.
#pragma once

#include "kernels/activation.h"
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
template <class T>
void normalize(Hip, T* y, accum_t<T>* rstd, const T* x, std::int64_t rows, std::int64_t n, double eps,
               bool center);

/// dx = rstd (dy - [center] mean(dy) - y mean(dy y)), from what normalize() returned, @eq{G5}.
template <class T>
void normalize_grad(Cpu, T* dx, const T* dy, const T* y, const accum_t<T>* rstd, std::int64_t rows,
                    std::int64_t n, bool center);
template <class T>
void normalize_grad(Hip, T* dx, const T* dy, const T* y, const accum_t<T>* rstd, std::int64_t rows,
                    std::int64_t n, bool center);

/// Sizes of a norm of `groups` neighbours in every row, each group of n elements on its own, followed by
/// weights, and by a gate if there is one. One group is LayerNorm, one for every head GroupNorm.
struct GroupNorm {
  std::int64_t rows = 0, groups = 1, n = 0;
  bool shared_weight = false;  ///< weight and bias are [n], the same for every group; else [groups n]
  bool center = true;          ///< false: RMSNorm
  double eps = 0;
  Activation gate = Activation::none;  ///< what the gate goes through; none: there is no gate
  std::int64_t gate_row = 0;           ///< distance between the gate's rows, in elements
};

/// What a norm reads besides x: each may be null where there is none.
template <class T>
struct GroupNormTensors {
  const T *weight = nullptr, *bias = nullptr;
  const T* gate = nullptr;  ///< [rows, groups n], rows gate_row apart
};

/// y = act(gate) . ((x - mean) rstd weight + bias), x and y [rows, groups n]: the norms of Eq. (8) and (9) in
/// one pass over memory.
/// @param mean, rstd  [rows, groups], kept for the gradient
/// @tparam T float or double
template <class T>
void group_norm(Cpu, const GroupNorm& s, T* y, T* mean, T* rstd, const T* x, const GroupNormTensors<T>& in);
template <class T>
void group_norm(Hip, const GroupNorm& s, T* y, T* mean, T* rstd, const T* x, const GroupNormTensors<T>& in);

/// Where the gradients of a norm go; all but dx may be null where there is nothing to differentiate.
template <class T>
struct GroupNormGradients {
  T* dx = nullptr;
  T *dweight = nullptr, *dbias = nullptr;
  T* dgate = nullptr;  ///< rows gate_row apart, like the gate
};

/// The gradients of group_norm(), @eq{G5} and @eq{G6}, in one pass; those of weight and bias are summed over
/// slices of 64 rows in T and over the slices in double, in order.
template <class T>
void group_norm_grad(Cpu, const GroupNorm& s, const GroupNormGradients<T>& out, const T* dy, const T* x,
                     const T* mean, const T* rstd, const GroupNormTensors<T>& in);
template <class T>
void group_norm_grad(Hip, const GroupNorm& s, const GroupNormGradients<T>& out, const T* dy, const T* x,
                     const T* mean, const T* rstd, const GroupNormTensors<T>& in);

}  // namespace retnet::kernels
