#include "retnet/layers.h"

#include <cmath>

namespace retnet {

Linear::Linear(std::int64_t in, std::int64_t out, double gain, RandomKey key, Dtype dtype) {
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(in + out));
  weight = Variable(rand_uniform({out, in}, key, -bound, bound, dtype), true);
}

Norm::Norm(NormKind norm_kind, double epsilon, std::int64_t width, Dtype dtype)
    : kind(norm_kind), eps(epsilon) {
  weight = Variable(Tensor::full({width}, 1, dtype), true);
  if (kind == NormKind::layer) bias = Variable(Tensor::zeros({width}, dtype), true);
}

Variable Norm::operator()(const Variable& x, bool reference) const {
  if (!reference && fusable(x.dtype()))
    return group_norm(x, weight, bias, {}, {1, eps, kind == NormKind::layer, Activation::none});
  Variable y = normalize(x, eps, kind == NormKind::layer);
  if (weight.defined()) y = mul(y, weight);
  if (bias.defined()) y = add(y, bias);
  return y;
}

}  // namespace retnet
