/// @file
/// The most that a core can do, as loops that do nothing else: multiply and add, or read and write memory.
/// `retnet bench` times them and compares everything else with the result.
#pragma once

#include <cstdint>

namespace retnet::kernels {

/// Fused multiply-adds in registers, in enough independent chains to fill the pipelines; nothing is loaded.
/// @return how many f32 operations that was, a multiply-add counting 2: in proportion to `rounds`
std::int64_t multiply_add_rounds(std::int64_t rounds);

/// Reads n floats and returns their sum; n is a multiple of 128.
float read_floats(const float* x, std::int64_t n);

/// a = b + c x: reads two arrays and writes a third.
void triad(float* a, const float* b, const float* c, float x, std::int64_t n);

}  // namespace retnet::kernels
