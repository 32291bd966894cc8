/// @file
/// The most that a GPU can do, as kernels that do nothing else: multiply and add, or copy memory. `retnet
/// bench
/// --device hip` times them and compares everything else with the result.
#pragma once

#include <cstdint>

#include "kernels/exec.h"

namespace retnet::kernels {

/// Fused multiply-adds in registers, in independent chains, in many more threads than run at a time.
/// @param result  one float, which keeps the work from being left out
/// @return how many f32 operations that was, a multiply-add counting 2: in proportion to `rounds`
std::int64_t multiply_add_rounds(Hip, float* result, std::int64_t rounds);

/// Copies n floats, a multiple of 4, from one place aligned to 16 bytes to another.
void copy_floats(Hip, float* to, const float* from, std::int64_t n);

}  // namespace retnet::kernels
