/// @file
/// The decays gamma of the heads, and their powers. All computed in f64 and rounded once.
#pragma once

#include <vector>

#include "retnet/config.h"
#include "tensor/tensor.h"

namespace retnet {

/// Decay per head and step, each in (0, 1], @eq{8}.
std::vector<double> decays(const Config& config);

/// Powers of one set of decays for a piece of N steps, in the dtype of the activations.
/// Exponents are differences of positions, so nothing overflows however long the sequence is.
struct DecayTables {
  Tensor mask;        ///< D_nm = gamma^(n-m) for n >= m, else 0: [H, N, N], @eq{5}
  Tensor from_state;  ///< gamma^(i+1), how much of the earlier state query i still reads: [H, N, 1], @eq{7}
  Tensor to_state;    ///< gamma^(N-1-i), how much of key i is left at the end: [H, N, 1], @eq{7}
  Tensor whole;       ///< gamma^N, how much of the earlier state is left at the end: [H, 1, 1], @eq{7}
};

/// @param gamma  decay per head, in (0, 1]
/// @param n      steps of the piece, >= 1; cost O(H n^2)
DecayTables decay_tables(const std::vector<double>& gamma, std::int64_t n, Dtype dtype,
                         Device device = Device::cpu);

/// gamma^0 .. gamma^n of every head: [H, n+1]. All that a fused kernel needs.
Tensor decay_powers(const std::vector<double>& gamma, std::int64_t n, Dtype dtype,
                    Device device = Device::cpu);

/// s after each of n steps, from s before them: s_i = gamma s_(i-1) + 1, @eq{R3}.
/// @param start  [H], one number per head; returns [H][n]
std::vector<std::vector<double>> decay_sums(const std::vector<double>& gamma,
                                            const std::vector<double>& start, std::int64_t n);

}  // namespace retnet
