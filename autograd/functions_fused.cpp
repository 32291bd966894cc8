// Functions that do in one pass over memory what several of the others do, and that the network's layers are
// made of. What a later product needs of a norm's results is computed again by backward() rather than kept:
// see record().

#include "autograd/functions.h"

namespace retnet {
namespace {

Tensor value_of(const Variable& x) { return x.defined() ? x.value() : Tensor(); }

/// The defined ones of several variables, and what is left of a rule's results when the others' are dropped.
struct Defined {
  explicit Defined(const std::vector<Variable>& all) {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i].defined()) variables.push_back(all[i]), positions.push_back(i);
  }
  std::vector<Variable> variables;
  std::vector<std::size_t> positions;
};

std::vector<Tensor> picked(const std::vector<Tensor>& all, const std::vector<std::size_t>& positions) {
  std::vector<Tensor> result;
  for (const std::size_t i : positions) result.push_back(all[i]);
  return result;
}

}  // namespace

Variable group_norm(const Variable& x, const Variable& weight, const Variable& bias, const Variable& gate,
                    const GroupNormOptions& options) {
  // y = act(g) . t,  t = x_hat w + b:  dg = dy t act'(g),  dt = dy act(g),  dw = sum dt x_hat,  db = sum dt,
  // and dx from dx_hat = dt w as in normalize().
  const GroupNormInputs in{x.value(), value_of(weight), value_of(bias), value_of(gate), options};
  const GroupNormOutputs out = group_norm(in);
  const Defined inputs({x, weight, bias, gate});
  const GroupNormOutputs statistics{Tensor(), out.mean, out.rstd};
  return record(
      "group_norm", out.y, inputs.variables,
      [in, statistics, positions = inputs.positions](const Tensor& dy) {
        return picked(group_norm_grad(in, statistics, dy), positions);
      },
      gate.defined() ? Recipe()
                     : [in] { return group_norm(in).y; });  // a gate's exponentials cost more than memory
}

Variable linear(const Variable& x, const Variable& weight, const Variable& residual) {
  // y = x W^T + r:  dx = dy W,  dW = dy^T x,  dr = dy
  const Defined inputs({x, weight, residual});
  return record("linear", linear(x.value(), weight.value(), value_of(residual)), inputs.variables,
                [x = weight.requires_grad() ? x.recipe() : Recipe(),
                 weight = x.requires_grad() ? weight.value() : Tensor(),
                 positions = inputs.positions](const Tensor& dy) {
                  const Tensor dx = weight.defined() ? matmul(dy, weight) : Tensor();
                  return picked({dx, x ? linear_weight_grad(dy, x()) : Tensor(), dy}, positions);
                });
}

Variable linear(const Variable& x, const Variable& weight, Activation activation) {
  if (activation == Activation::none) return linear(x, weight);
  // y = act(h), h = x W^T:  dh = dy act'(h), and then as above
  const Activated out = linear(x.value(), weight.value(), activation);
  return record("linear", out.y, {x, weight},
                [x = x.recipe(), weight = weight.value(), pre = out.pre, activation](const Tensor& dy) {
                  const Tensor dpre = activate_grad(activation, pre, dy);
                  return std::vector<Tensor>{matmul(dpre, weight), linear_weight_grad(dpre, x())};
                });
}

Variable activate(Activation activation, const Variable& x) {
  if (activation == Activation::none) return x;
  return record("activate", activate(activation, x.value()), {x},
                [x = x.value(), activation](const Tensor& dy) {
                  return std::vector<Tensor>{activate_grad(activation, x, dy)};
                });
}

}  // namespace retnet
