/// @file
/// What a matrix product does to an element of C once its sum is complete, before it is stored: the
/// elementwise pass that would follow the product, without its trip to memory.
///
/// An epilogue is a functor `A operator()(A sum, at, column)` that returns the value to store. `at` is the
/// element's offset in C, counted in elements from the pointer that the product was given, and `column` its
/// column. Matrices that an epilogue reads or writes are laid out as C is, so `at` serves for all of them.
#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/elementwise_ops.h"

namespace retnet::kernels {

/// C = A B.
struct NoEpilogue {
  template <class A>
  RN_HD A operator()(A sum, std::int64_t, std::int64_t) const {
    return sum;
  }
};

/// C = A B + 1 b^T: `bias` [n] is added to every row.
template <class T>
struct AddBias {
  const T* bias;
  template <class A>
  RN_HD A operator()(A sum, std::int64_t, std::int64_t column) const {
    return sum + A(bias[column]);
  }
};

/// C = A B + R. Computed in the type of the sums and rounded once: for bf16, R is added before rounding.
/// R must not overlap C, which holds unfinished sums meanwhile; Matmul::accumulate is for C += A B.
template <class T>
struct AddResidual {
  const T* residual;
  template <class A>
  RN_HD A operator()(A sum, std::int64_t at, std::int64_t) const {
    return sum + A(residual[at]);
  }
};

/// C = f(Z), Z = A B. Z is stored too unless `pre` is null: a gradient rule needs it. f is applied to Z as it
/// is stored, so C has the bits that a separate pass over Z would give it.
/// @tparam F Gelu or Swish
template <class F, class T>
struct Activate {
  F f;
  T* pre;
  template <class A>
  RN_HD A operator()(A sum, std::int64_t at, std::int64_t) const {
    const T z = static_cast<T>(sum);
    if (pre) pre[at] = z;
    return f(A(z));
  }
};

}  // namespace retnet::kernels
