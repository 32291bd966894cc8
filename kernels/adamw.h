/// @file
/// One AdamW update of all parameters.
#pragma once

#include "kernels/exec.h"

namespace retnet::kernels {

/// Settings of one step; all dimensionless.
struct AdamW {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0;    ///< decoupled: a weight that decays shrinks by learning_rate * weight_decay
  double gradient_scale = 1;  ///< multiplies the gradient first; clipping by the global norm arrives here
  std::int64_t step = 1;      ///< counts from 1, for the bias corrections
  /// Where the weights are: one more factor of the gradient, known there only. Unless it is finite, nothing
  /// is updated. Null: 1.
  const double* scale = nullptr;
};

/// One parameter: n elements each of the weight, its two moments and its gradient.
template <class T>
struct AdamWParameter {
  T *w = nullptr, *m = nullptr, *v = nullptr;
  const T* gradient = nullptr;
  std::int64_t n = 0;
  bool decays = true;  ///< false: weight_decay does not apply
};

/// What clipping by the global norm makes of the sums of squares of all gradients, added up in order:
/// norm = their root, and scale = clip / norm where clip > 0 and the norm is larger, else 1; or NaN where the
/// norm is not finite. norm, scale and squares are where the gradients are.
void clip_by_norm(Cpu, double* norm, double* scale, const double* squares, std::int64_t count, double clip);
void clip_by_norm(Hip, double* norm, double* scale, const double* squares, std::int64_t count, double clip);

/// Updates w, m and v of every parameter in place, in one pass over all of them; Loshchilov & Hutter,
/// "Decoupled weight decay regularization", 2019: m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,  w -= lr (m /
/// (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) + decay w).
/// The list of parameters is on the host.
/// @tparam T float or double
template <class T>
void adamw(Cpu, const AdamW& s, const AdamWParameter<T>* parameters, std::int64_t count);
template <class T>
void adamw(Hip, const AdamW& s, const AdamWParameter<T>* parameters, std::int64_t count);

}  // namespace retnet::kernels
