/// @file
/// Rotation of pairs of neighbours by position-dependent angles: R1 of the paper's retention.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// Turns each pair (x[.., 2j], x[.., 2j+1]) of x [batch, n, heads, dk] at step t by the angle whose cosine
/// and sine are at [t, j] of the tables [n, dk / 2], or by its opposite when `inverse` (which is also the
/// gradient, since a rotation's transpose is its inverse, @eq{G8}). y may be x.
/// @tparam T float, double or bf16; the tables are float for bf16
template <class T>
void rotate(Cpu, T* y, const T* x, const accum_t<T>* cosines, const accum_t<T>* sines, std::int64_t batch,
            std::int64_t n, std::int64_t heads, std::int64_t dk, bool inverse);

}  // namespace retnet::kernels
