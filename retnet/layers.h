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
};

/// Normalises the last axis, then scales it, and for NormKind::layer shifts it, channel by channel.
struct Norm {
  NormKind kind = NormKind::layer;
  double eps = 1e-5;
  Variable weight, bias;  ///< [width]; undefined where there is none

  Norm() = default;
  Norm(NormKind kind, double eps, std::int64_t width, Dtype dtype);
  Variable operator()(const Variable& x) const;
};

/// The nonlinearity that an Activation names; x itself for none.
Variable activate(Activation activation, const Variable& x);

/// A parameter and its name, which is also its name in checkpoints.
struct Parameter {
  std::string name;
  Variable variable;  ///< shares value and gradient with the model
};

}  // namespace retnet
