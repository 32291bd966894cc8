/// @file
/// The nonlinearities of gates and feed-forward networks, by name, for kernels that fuse one of them.
#pragma once

#include "kernels/elementwise_ops.h"

namespace retnet {

/// Nonlinearity of the gate or of the feed-forward network.
enum class Activation {
  swish,
  gelu,  ///< exact, with erf
  relu,
  none,  ///< as a gate: no gate at all
};

namespace kernels {

/// y = x, for Activation::none.
struct Identity {
  template <class A>
  RN_INLINE A operator()(A x) const {
    return x;
  }
};
struct IdentityGrad {
  template <class A>
  RN_INLINE A operator()(A, A dy) const {
    return dy;
  }
};

/// Calls `body(F{}, FGrad{})` with the formula of an activation and its derivative, dx = FGrad()(x, dy).
template <class Body>
void with_activation(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::swish:
      return body(Swish{}, SwishGrad{});
    case Activation::gelu:
      return body(Gelu{}, GeluGrad{});
    case Activation::relu:
      return body(Relu{}, ReluGrad{});
    case Activation::none:
      return body(Identity{}, IdentityGrad{});
  }
}

}  // namespace kernels
}  // namespace retnet
