/// @file
/// The formula of every elementwise operation, once, for both devices and all floating dtypes.
///
/// A unary operation `F` is a functor y = F()(x); a binary one y = F()(a, b). The derivative of a nonlinear
/// unary operation is a binary functor of (saved value, dy), so it needs no kernel of its own. Adding an
/// operation here means adding it to the list at the bottom as well: the kernels are compiled for what the
/// lists name.
#pragma once

#include "kernels/bf16.h"
#include "kernels/math.h"

namespace retnet::kernels {

struct Neg {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return -x;
  }
};
struct Exp {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return exp(x);
  }
};
struct Log {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return ::log(x);
  }
};
struct Sqrt {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return ::sqrt(x);
  }
};
struct Abs {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x < 0 ? -x : x;
  }
};
struct Square {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x * x;
  }
};
struct Tanh {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return ::tanh(x);
  }
};
struct Sigmoid {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return A(1) / (A(1) + exp(-x));
  }
};
struct Relu {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x > 0 || x != x ? x : A(0);
  }
};
/// swish(x) = x sigmoid(x), the gate of Eq. (8).
struct Swish {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x / (A(1) + exp(-x));
  }
};
/// gelu(x) = x Phi(x) with the exact normal distribution function, the activation of Eq. (9).
struct Gelu {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return A(0.5) * x * (A(1) + erf(x * A(0.70710678118654752440)));
  }
};

/// x + c and c x for a constant that is no tensor.
struct AddScalar {
  double c;
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x + A(c);
  }
};
struct MulScalar {
  double c;
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x * A(c);
  }
};

struct Add {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a + b;
  }
};
struct Sub {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a - b;
  }
};
struct Mul {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a * b;
  }
};
struct Div {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a / b;
  }
};
/// The larger of two, NaN if either is.
struct Maximum {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a > b || a != a ? a : b;
  }
};
struct Minimum {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a < b || a != a ? a : b;
  }
};
/// 1 where a >= b, else 0: which operand a maximum came from.
struct GreaterEqual {
  template <class A>
  RN_INLINE A operator()(A a, A b) const {
    return a >= b ? A(1) : A(0);
  }
};

/// dx of y = exp(x), from y.
struct ExpGrad {
  template <class A>
  RN_INLINE A operator()(A y, A dy) const {
    return dy * y;
  }
};
/// dx of y = sqrt(x), from y; infinite at 0, as the derivative is.
struct SqrtGrad {
  template <class A>
  RN_INLINE A operator()(A y, A dy) const {
    return A(0.5) * dy / y;
  }
};
/// dx of y = |x|, from x; 0 at 0.
struct AbsGrad {
  template <class A>
  RN_INLINE A operator()(A x, A dy) const {
    return x > 0 ? dy : x < 0 ? -dy : A(0) * dy;
  }
};
/// dx of y = x^2, from x.
struct SquareGrad {
  template <class A>
  RN_INLINE A operator()(A x, A dy) const {
    return A(2) * x * dy;
  }
};
/// dx of y = tanh(x), from y.
struct TanhGrad {
  template <class A>
  RN_INLINE A operator()(A y, A dy) const {
    return dy * (A(1) - y * y);
  }
};
/// dx of y = sigmoid(x), from y.
struct SigmoidGrad {
  template <class A>
  RN_INLINE A operator()(A y, A dy) const {
    return dy * y * (A(1) - y);
  }
};
/// dx of y = relu(x), from x; 0 at 0.
struct ReluGrad {
  template <class A>
  RN_INLINE A operator()(A x, A dy) const {
    return x > 0 ? dy : A(0) * dy;
  }
};
/// dx of y = x s, s = sigmoid(x), from x:  dy (s + x s (1 - s)), Eq. (G6).
struct SwishGrad {
  template <class A>
  RN_INLINE A operator()(A x, A dy) const {
    const A s = A(1) / (A(1) + exp(-x));
    return dy * s * (A(1) + x * (A(1) - s));
  }
};
/// dx of y = x Phi(x), from x:  dy (Phi(x) + x phi(x)), phi the normal density, Eq. (G7).
struct GeluGrad {
  template <class A>
  RN_INLINE A operator()(A x, A dy) const {
    const A cdf = A(0.5) * (A(1) + erf(x * A(0.70710678118654752440)));
    const A pdf = A(0.39894228040143267794) * exp(A(-0.5) * x * x);
    return dy * (cdf + x * pdf);
  }
};

/// Every unary and binary functor: `X(Functor)`.
#define RETNET_UNARY_OPS(X) \
  X(Neg)                    \
  X(Exp) X(Log) X(Sqrt) X(Abs) X(Square) X(Tanh) X(Sigmoid) X(Relu) X(Swish) X(Gelu) X(AddScalar) X(MulScalar)
#define RETNET_BINARY_OPS(X)                                                                          \
  X(Add)                                                                                              \
  X(Sub)                                                                                              \
  X(Mul) X(Div) X(Maximum) X(Minimum) X(GreaterEqual) X(ExpGrad) X(SqrtGrad) X(AbsGrad) X(SquareGrad) \
      X(TanhGrad) X(SigmoidGrad) X(ReluGrad) X(SwishGrad) X(GeluGrad)

}  // namespace retnet::kernels
