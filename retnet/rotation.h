/// @file
/// Rotation of queries and keys by their positions, @eq{R1}: relative positions enter the scores q_n k_m as
/// rotations by (n - m) theta.
#pragma once

#include <vector>

#include "autograd/variable.h"
#include "retnet/config.h"

namespace retnet {

/// theta_j for j = 0 .. dk/2 - 1, in radians per step, @eq{R1}; empty for Rotation::none.
std::vector<double> rotation_angles(Rotation rule, std::int64_t dk);

/// Cosines and sines of n theta_j for the positions n = pos .. pos + N - 1, each [N, dk/2], computed in f64.
struct RotationTables {
  Tensor cosines, sines;
};

/// @param theta  radians per step
/// @param pos    absolute 0-based position of the first row
/// @param dtype  of the activations; the tables are f32 for bf16
RotationTables rotation_tables(const std::vector<double>& theta, std::int64_t pos, std::int64_t n,
                               Dtype dtype, Device device = Device::cpu);

/// Turns the pairs (2j, 2j+1) of each head by n theta_j; x itself where theta is empty.
/// @param x  [B, N, H, dk]
Variable rotate_positions(const Variable& x, const std::vector<double>& theta, std::int64_t pos);

}  // namespace retnet
