/// @file
/// What a matrix product does to an element of C once its sum is complete, before it is stored: the
/// elementwise pass that would follow the product, without its trip to memory.
///
/// An epilogue is a functor `void operator()(A* z, at, column, run)` that turns `run` neighbouring sums of a
/// row into the values to store. `at` is the first one's offset in C, counted in elements from the pointer
/// that the product was given, and `column` its column. Matrices that an epilogue reads or writes are laid
/// out as C is, so `at` serves for all of them. `run` may be a constant by its type, which lets the loops be
/// vectorised.
#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/elementwise_ops.h"

namespace retnet::kernels {

/// C = A B.
struct NoEpilogue {
  template <class A, class Run>
  RN_INLINE void operator()(A*, std::int64_t, std::int64_t, Run) const {}
};

/// C = A B + 1 b^T: `bias` [n] is added to every row.
template <class T>
struct AddBias {
  const T* bias;
  template <class A, class Run>
  RN_INLINE void operator()(A* z, std::int64_t, std::int64_t column, Run run) const {
    for (std::int64_t j = 0; j < run; ++j) z[j] += A(bias[column + j]);
  }
};

/// C = A B + R. Computed in the type of the sums and rounded once: for bf16, R is added before rounding.
/// R must not overlap C, which holds unfinished sums meanwhile; Matmul::accumulate is for C += A B.
template <class T>
struct AddResidual {
  const T* residual;
  template <class A, class Run>
  RN_INLINE void operator()(A* z, std::int64_t at, std::int64_t, Run run) const {
    for (std::int64_t j = 0; j < run; ++j) z[j] += A(residual[at + j]);
  }
};

/// C = f(Z), Z = A B. Z is stored too unless `pre` is null: a gradient rule needs it. f is applied to Z as it
/// is stored, so C has the bits that a separate pass over Z would give it.
/// @tparam F Gelu or Swish
template <class F, class T>
struct Activate {
  F f;
  T* pre;
  template <class A, class Run>
  RN_INLINE void operator()(A* z, std::int64_t at, std::int64_t, Run run) const {
    for (std::int64_t j = 0; j < run; ++j) z[j] = A(static_cast<T>(z[j]));
    if (pre)
      for (std::int64_t j = 0; j < run; ++j) pre[at + j] = static_cast<T>(z[j]);
    for (std::int64_t j = 0; j < run; ++j) z[j] = f(z[j]);
  }
};

}  // namespace retnet::kernels
