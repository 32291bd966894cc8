/// @file
/// Who draws from which stream of random numbers: the one list of them.
///
/// A RandomKey is (seed, stream). All of a run's numbers share its seed, so the streams must differ:
///
///     stream = purpose (2 bits) | step (31 bits) | part (16 bits) | layer (14 bits)
///
/// purpose 0: initial weights. Step and part are 0, and RetNet counts its parameters in the low bits.
/// purpose 1: windows of the data. One stream per step and part, two of its numbers for each row.
/// purpose 2: dropout. One stream per step, part and layer; RetNet adds the layer.
///
/// Sampling (retnet/generate.cpp) has a seed of its own and one stream, which is none of these.
#pragma once

#include "retnet/block.h"

namespace retnet {

/// What a step draws random numbers for.
enum class Purpose : std::uint64_t { windows = 1, dropout = 2 };

inline constexpr std::int64_t kMaxSteps = (std::int64_t{1} << 31) - 1;
inline constexpr std::int64_t kMaxParts = std::int64_t{1} << 16;
inline constexpr int kLayerBits = 14;
inline constexpr int kPartBits = 16;
inline constexpr int kStepBits = 31;
// Config::validate() allows 4096 layers; dropout of the embedding takes one stream more.
static_assert(1 + 4096 * Block::kDropoutStreams <= std::uint64_t{1} << kLayerBits);

/// The first stream of one part of one step.
/// @param step  1 .. kMaxSteps;  @param part  0 .. kMaxParts - 1
inline RandomKey step_key(Purpose purpose, std::int64_t seed, std::int64_t step, std::int64_t part) {
  const auto bits = [](auto value) { return static_cast<std::uint64_t>(value); };
  const std::uint64_t place = (bits(purpose) << kStepBits | bits(step)) << kPartBits | bits(part);
  return {bits(seed), place << kLayerBits};
}

/// A whole number in 0 .. below-1 from 64 random bits: the upper half of their product. The bias is below /
/// 2^64.
inline std::int64_t scaled(std::uint64_t bits, std::int64_t below) {
  const auto n = static_cast<std::uint64_t>(below);
  const std::uint64_t high = bits >> 32, low = bits & 0xffffffffu;
  // n is below 2^62 and usually far below 2^32; schoolbook multiplication of 64 by 64 bits keeps the upper
  // half.
  const std::uint64_t n_high = n >> 32, n_low = n & 0xffffffffu;
  const std::uint64_t middle = high * n_low + ((low * n_low) >> 32);
  const std::uint64_t other = low * n_high + (middle & 0xffffffffu);
  return static_cast<std::int64_t>(high * n_high + (middle >> 32) + (other >> 32));
}

}  // namespace retnet
