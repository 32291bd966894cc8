// Elementwise functions, each with its gradient rule. dx and dy stand for dL/dx and dL/dy.

#include "autograd/functions.h"

namespace retnet {

Variable neg(const Variable& x) {
  return record("neg", neg(x.value()), {x}, [](const Tensor& dy) { return std::vector<Tensor>{neg(dy)}; });
}

Variable exp(const Variable& x) {
  // dx = dy exp(x) = dy y
  const Tensor y = exp(x.value());
  return record("exp", y, {x}, [y](const Tensor& dy) { return std::vector<Tensor>{exp_grad(y, dy)}; });
}

Variable log(const Variable& x) {
  // dx = dy / x
  return record("log", log(x.value()), {x},
                [x = x.value()](const Tensor& dy) { return std::vector<Tensor>{div(dy, x)}; });
}

Variable sqrt(const Variable& x) {
  // dx = dy / (2 sqrt(x)) = dy / (2 y)
  const Tensor y = sqrt(x.value());
  return record("sqrt", y, {x}, [y](const Tensor& dy) { return std::vector<Tensor>{sqrt_grad(y, dy)}; });
}

Variable abs(const Variable& x) {
  // dx = dy sign(x)
  return record("abs", abs(x.value()), {x},
                [x = x.value()](const Tensor& dy) { return std::vector<Tensor>{abs_grad(x, dy)}; });
}

Variable square(const Variable& x) {
  // dx = 2 x dy
  return record("square", square(x.value()), {x},
                [x = x.value()](const Tensor& dy) { return std::vector<Tensor>{square_grad(x, dy)}; });
}

Variable tanh(const Variable& x) {
  // dx = dy (1 - tanh(x)^2) = dy (1 - y^2)
  const Tensor y = tanh(x.value());
  return record("tanh", y, {x}, [y](const Tensor& dy) { return std::vector<Tensor>{tanh_grad(y, dy)}; });
}

Variable sigmoid(const Variable& x) {
  // dx = dy y (1 - y)
  const Tensor y = sigmoid(x.value());
  return record("sigmoid", y, {x},
                [y](const Tensor& dy) { return std::vector<Tensor>{sigmoid_grad(y, dy)}; });
}

Variable relu(const Variable& x) {
  // dx = dy where x > 0, else 0
  return record("relu", relu(x.value()), {x},
                [x = x.value()](const Tensor& dy) { return std::vector<Tensor>{relu_grad(x, dy)}; });
}

Variable swish(const Variable& x) {
  // y = x s with s = sigmoid(x) and s' = s (1 - s):  dx = dy s (1 + x (1 - s))
  return record("swish", swish(x.value()), {x},
                [x = x.value()](const Tensor& dy) { return std::vector<Tensor>{swish_grad(x, dy)}; });
}

Variable gelu(const Variable& x) {
  // y = x Phi(x) with Phi' = phi:  dx = dy (Phi(x) + x phi(x))
  return record("gelu", gelu(x.value()), {x},
                [x = x.value()](const Tensor& dy) { return std::vector<Tensor>{gelu_grad(x, dy)}; });
}

Variable add(const Variable& x, double c) {
  return record("add", add(x.value(), c), {x}, [](const Tensor& dy) { return std::vector<Tensor>{dy}; });
}

Variable mul(const Variable& x, double c) {
  return record("mul", mul(x.value(), c), {x},
                [c](const Tensor& dy) { return std::vector<Tensor>{mul(dy, c)}; });
}

Variable dropout(const Variable& x, double p, RandomKey key) {
  // y = x . mask / (1 - p), and dx = dy . mask / (1 - p): the same function of the same key.
  if (p == 0) return x;
  return record("dropout", dropout(x.value(), p, key), {x},
                [p, key](const Tensor& dy) { return std::vector<Tensor>{dropout(dy, p, key)}; });
}

Variable astype(const Variable& x, Dtype dtype) {
  if (x.dtype() == dtype) return x;
  return record("astype", astype(x.value(), dtype), {x},
                [from = x.dtype()](const Tensor& dy) { return std::vector<Tensor>{astype(dy, from)}; });
}

Variable add(const Variable& a, const Variable& b) {
  return record("add", add(a.value(), b.value()), {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& dy) {
    return std::vector<Tensor>{sum_to(dy, sa), sum_to(dy, sb)};
  });
}

Variable sub(const Variable& a, const Variable& b) {
  return record("sub", sub(a.value(), b.value()), {a, b}, [sa = a.shape(), sb = b.shape()](const Tensor& dy) {
    return std::vector<Tensor>{sum_to(dy, sa), neg(sum_to(dy, sb))};
  });
}

Variable mul(const Variable& a, const Variable& b) {
  // da = dy b,  db = dy a; a constant factor, such as a decay mask, needs no gradient, and none is computed.
  return record("mul", mul(a.value(), b.value()), {a, b},
                [a = b.requires_grad() ? a.recipe() : Recipe(), b = a.requires_grad() ? b.recipe() : Recipe(),
                 sa = a.shape(), sb = b.shape()](const Tensor& dy) {
                  return std::vector<Tensor>{b ? sum_to(mul(dy, b()), sa) : Tensor(),
                                             a ? sum_to(mul(dy, a()), sb) : Tensor()};
                });
}

Variable div(const Variable& a, const Variable& b) {
  // y = a / b:  da = dy / b,  db = -dy a / b^2 = -(dy / b) y
  const Tensor y = div(a.value(), b.value());
  return record(
      "div", y, {a, b}, [y, b = b.value(), sa = a.shape(), want_b = b.requires_grad()](const Tensor& dy) {
        const Tensor da = div(dy, b);
        return std::vector<Tensor>{sum_to(da, sa), want_b ? neg(sum_to(mul(da, y), b.shape())) : Tensor()};
      });
}

namespace {

/// The rule of maximum and minimum: dy goes where `from_a` is 1 to a, elsewhere to b.
GradientRule choice_rule(const Tensor& from_a, const Shape& sa, const Shape& sb) {
  return [from_a, sa, sb](const Tensor& dy) {
    const Tensor da = mul(dy, from_a);
    return std::vector<Tensor>{sum_to(da, sa), sum_to(sub(dy, da), sb)};
  };
}

}  // namespace

Variable maximum(const Variable& a, const Variable& b) {
  return record("maximum", maximum(a.value(), b.value()), {a, b},
                choice_rule(greater_equal(a.value(), b.value()), a.shape(), b.shape()));
}

Variable minimum(const Variable& a, const Variable& b) {
  return record("minimum", minimum(a.value(), b.value()), {a, b},
                choice_rule(greater_equal(neg(a.value()), neg(b.value())), a.shape(), b.shape()));
}

}  // namespace retnet
