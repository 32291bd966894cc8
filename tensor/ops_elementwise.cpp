#include "kernels/elementwise.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

template <class F>
Tensor unary(const char* op, F f, const Tensor& input) {
  require(input.defined(), op, "the operand is undefined");
  const Tensor x = contiguous(input);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  dispatch(op, x, [&]<class T>(auto exec, Type<T>) {
    kernels::map(exec, f, y.data<T>(), static_cast<const T*>(x.data<T>()), x.size());
  });
  return y;
}

/// Strides of both operands over their common shape; neighbouring dimensions that both walk through without a
/// jump become one, so that the usual case is a single loop.
kernels::Zip zip_plan(const Tensor& a, const Tensor& b) {
  kernels::Zip s;
  for (int i = 0; i < a.rank(); ++i) {
    const std::int64_t size = a.shape()[i], a_step = a.strides()[i], b_step = b.strides()[i];
    if (size == 1) continue;
    const int d = s.rank - 1;
    if (d >= 0 && s.a_stride[d] == a_step * size && s.b_stride[d] == b_step * size) {
      s.dims[d] *= size;
      s.a_stride[d] = a_step;
      s.b_stride[d] = b_step;
    } else {
      s.dims[s.rank] = size;
      s.a_stride[s.rank] = a_step;
      s.b_stride[s.rank++] = b_step;
    }
  }
  return s;
}

template <class F>
void binary_into(const char* op, F f, const Tensor& y, const Tensor& a, const Tensor& b) {
  if (y.size() == 0) return;
  const kernels::Zip s = zip_plan(a, b);
  dispatch(op, y, [&]<class T>(auto exec, Type<T>) {
    kernels::zip(exec, f, y.data<T>(), static_cast<const T*>(a.data<T>()), static_cast<const T*>(b.data<T>()),
                 s);
  });
}

template <class F>
Tensor binary(const char* op, F f, const Tensor& a, const Tensor& b) {
  require(a.defined() && b.defined(), op, "an operand is undefined");
  require(a.dtype() == b.dtype(), op, "dtypes differ, got ", a.dtype(), " and ", b.dtype(),
          "; convert one with astype()");
  require_one_device(op, {&a, &b});
  const Shape shape = broadcast_shapes(op, a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  binary_into(op, f, y, broadcast_to(a, shape), broadcast_to(b, shape));
  return y;
}

}  // namespace

Tensor neg(const Tensor& x) { return unary("neg", kernels::Neg{}, x); }
Tensor exp(const Tensor& x) { return unary("exp", kernels::Exp{}, x); }
Tensor log(const Tensor& x) { return unary("log", kernels::Log{}, x); }
Tensor sqrt(const Tensor& x) { return unary("sqrt", kernels::Sqrt{}, x); }
Tensor abs(const Tensor& x) { return unary("abs", kernels::Abs{}, x); }
Tensor square(const Tensor& x) { return unary("square", kernels::Square{}, x); }
Tensor tanh(const Tensor& x) { return unary("tanh", kernels::Tanh{}, x); }
Tensor sigmoid(const Tensor& x) { return unary("sigmoid", kernels::Sigmoid{}, x); }
Tensor relu(const Tensor& x) { return unary("relu", kernels::Relu{}, x); }
Tensor swish(const Tensor& x) { return unary("swish", kernels::Swish{}, x); }
Tensor gelu(const Tensor& x) { return unary("gelu", kernels::Gelu{}, x); }
Tensor add(const Tensor& x, double c) { return unary("add", kernels::AddScalar{c}, x); }
Tensor mul(const Tensor& x, double c) { return unary("mul", kernels::MulScalar{c}, x); }

Tensor add(const Tensor& a, const Tensor& b) { return binary("add", kernels::Add{}, a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return binary("sub", kernels::Sub{}, a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return binary("mul", kernels::Mul{}, a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return binary("div", kernels::Div{}, a, b); }
Tensor maximum(const Tensor& a, const Tensor& b) { return binary("maximum", kernels::Maximum{}, a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return binary("minimum", kernels::Minimum{}, a, b); }
Tensor greater_equal(const Tensor& a, const Tensor& b) {
  return binary("greater_equal", kernels::GreaterEqual{}, a, b);
}

void add_into(const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape() && a.dtype() == b.dtype() && a.is_contiguous(), "add_into",
          "needs a contiguous target and equal shapes and dtypes, got ", a.shape(), " ", a.dtype(), " and ",
          b.shape(), " ", b.dtype());
  require_one_device("add_into", {&a, &b});
  binary_into("add_into", kernels::Add{}, a, a, b);
}

Tensor exp_grad(const Tensor& y, const Tensor& dy) { return binary("exp_grad", kernels::ExpGrad{}, y, dy); }
Tensor sqrt_grad(const Tensor& y, const Tensor& dy) {
  return binary("sqrt_grad", kernels::SqrtGrad{}, y, dy);
}
Tensor abs_grad(const Tensor& x, const Tensor& dy) { return binary("abs_grad", kernels::AbsGrad{}, x, dy); }
Tensor square_grad(const Tensor& x, const Tensor& dy) {
  return binary("square_grad", kernels::SquareGrad{}, x, dy);
}
Tensor tanh_grad(const Tensor& y, const Tensor& dy) {
  return binary("tanh_grad", kernels::TanhGrad{}, y, dy);
}
Tensor sigmoid_grad(const Tensor& y, const Tensor& dy) {
  return binary("sigmoid_grad", kernels::SigmoidGrad{}, y, dy);
}
Tensor relu_grad(const Tensor& x, const Tensor& dy) {
  return binary("relu_grad", kernels::ReluGrad{}, x, dy);
}
Tensor swish_grad(const Tensor& x, const Tensor& dy) {
  return binary("swish_grad", kernels::SwishGrad{}, x, dy);
}
Tensor gelu_grad(const Tensor& x, const Tensor& dy) {
  return binary("gelu_grad", kernels::GeluGrad{}, x, dy);
}

}  // namespace retnet
