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
};

/// One parameter: n elements each of the weight, its two moments and its gradient.
template <class T>
struct AdamWParameter {
  T *w = nullptr, *m = nullptr, *v = nullptr;
  const T* gradient = nullptr;
  std::int64_t n = 0;
  bool decays = true;  ///< false: weight_decay does not apply
};

/// Updates w, m and v of every parameter in place, in one pass over all of them; Loshchilov & Hutter,
/// "Decoupled weight decay regularization", 2019: m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,  w -= lr (m /
/// (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) + decay w).
/// @tparam T float or double
template <class T>
void adamw(Cpu, const AdamW& s, const AdamWParameter<T>* parameters, std::int64_t count);

}  // namespace retnet::kernels
