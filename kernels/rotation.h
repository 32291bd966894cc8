/// @file
/// Rotation of pairs of neighbours by position-dependent angles: R1 of the paper's retention.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// Sizes and layout of a rotation: x and y [batch, n, heads, dk], rows of heads dk elements.
struct Rotation {
  std::int64_t batch = 0, n = 0, heads = 0, dk = 0;
  std::int64_t x_row = 0, y_row = 0;  ///< distance between the rows of consecutive steps, in elements
  bool inverse = false;               ///< turn the other way
  double scale = 1;                   ///< multiplies the result
};

/// Turns each pair (x[.., 2j], x[.., 2j+1]) at step t by the angle whose cosine and sine are at [t, j] of the
/// tables [n, dk / 2], or by its opposite when `inverse` (which is also the gradient, since a rotation's
/// transpose is its inverse, @eq{G8}). y may be x.
/// @tparam T float, double or bf16; the tables are float for bf16
template <class T>
void rotate(Cpu, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines);
template <class T>
void rotate(Hip, const Rotation& s, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines);

}  // namespace retnet::kernels
