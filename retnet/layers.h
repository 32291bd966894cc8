/// @file
/// The layers that RetNet shares with every network: linear maps and normalisation, and how parameters are
/// named.
#pragma once

#include <string>
#include <vector>

#include "autograd/functions.h"
#include "retnet/config.h"

namespace retnet {

/// y = x W^T without bias. The weight is stored as [out, in].
struct Linear {
  Variable weight;

  Linear() = default;
  /// Uniform in +-gain sqrt(6 / (in + out)) (Glorot & Bengio, 2010).
  Linear(std::int64_t in, std::int64_t out, double gain, RandomKey key, Dtype dtype);
  Variable operator()(const Variable& x) const { return matmul(x, weight, false, true); }
  /// x W^T + residual as one operation; the residual may be undefined.
  Variable operator()(const Variable& x, const Variable& residual) const {
    return linear(x, weight, residual);
  }
  /// act(x W^T) as one operation.
  Variable operator()(const Variable& x, Activation activation) const {
    return linear(x, weight, activation);
  }
};

/// Normalises the last axis, then scales it, and for NormKind::layer shifts it, channel by channel.
struct Norm {
  NormKind kind = NormKind::layer;
  double eps = 1e-5;
  Variable weight, bias;  ///< [width]; undefined where there is none

  Norm() = default;
  Norm(NormKind kind, double eps, std::int64_t width, Dtype dtype);
  /// @param reference  true: composed of small operations; false: one operation where the dtype has it
  Variable operator()(const Variable& x, bool reference) const;
};

/// True iff the fused operations exist for values of this dtype.
inline bool fusable(Dtype dtype) { return dtype == Dtype::f32 || dtype == Dtype::f64; }

/// A parameter and its name, which is also its name in checkpoints.
struct Parameter {
  std::string name;
  Variable variable;  ///< shares value and gradient with the model
};

}  // namespace retnet
