/// @file
/// Every random number of a run, drawn a second time: Philox from its paper, and the list of streams from
/// train/streams.h and docs/numerics.md. It shares no code with the library.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace retnet::test {

/// Philox4x32-10 (Salmon and others, 2011): four 32-bit words from a counter of four and a key of two.
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x & 0xffffffffu); };
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
    c = {high(b) ^ c[1] ^ k[0], low(b), high(a) ^ c[3] ^ k[1], low(a)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  return c;
}

/// A stream of random numbers under a seed. Number i is word i mod 4 of block i / 4.
struct ReferenceStream {
  std::uint64_t seed, stream;

  std::array<std::uint32_t, 4> block(std::uint64_t number) const {
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x & 0xffffffffu); };
    return philox({low(number), high(number), low(stream), high(stream)}, {low(seed), high(seed)});
  }

  std::uint32_t bits(std::uint64_t i) const { return block(i / 4)[i % 4]; }
  double uniform(std::uint64_t i) const { return bits(i) / 4294967296.0; }  ///< in [0, 1)

  /// Box and Muller's method, from the first two words of block i.
  double normal(std::uint64_t i) const {
    const auto words = block(i);
    const double radius = std::sqrt(-2 * std::log((words[0] + 1.0) / 4294967296.0));
    return radius * std::cos(2 * 3.14159265358979323846 * (words[1] / 4294967296.0));
  }

  /// A whole number in 0 .. below-1 from numbers 2i (the upper half) and 2i + 1, which are 64 random bits:
  /// floor(bits below / 2^64).
  std::int64_t whole(std::uint64_t i, std::int64_t below) const {
    // Digits of base 2^16 of the product, as one multiplies on paper; `below` has at most 32 bits here.
    const std::uint64_t factor = static_cast<std::uint64_t>(below);
    std::uint64_t carry = 0;
    for (const std::uint32_t word : {bits(2 * i + 1), bits(2 * i)})
      for (const std::uint32_t digit : {word & 0xffffu, word >> 16}) carry = (carry + digit * factor) >> 16;
    return static_cast<std::int64_t>(carry);
  }
};

/// purpose (2 bits) | step (31 bits) | part (16 bits) | layer (14 bits)
inline ReferenceStream step_stream(std::uint64_t purpose, std::int64_t seed, std::int64_t step,
                                   std::int64_t part, std::int64_t layer = 0) {
  const auto bits = [](std::int64_t x) { return static_cast<std::uint64_t>(x); };
  return {bits(seed), (purpose << 61) + (bits(step) << 30) + (bits(part) << 14) + bits(layer)};
}

/// Where row `row` of a batch begins, of `places` places where a window can.
inline std::int64_t reference_window(std::int64_t seed, std::int64_t step, std::int64_t part,
                                     std::int64_t row, std::int64_t places) {
  return step_stream(1, seed, step, part).whole(static_cast<std::uint64_t>(row), places);
}

/// What dropout multiplies element i of a pass's activations by: in layer 0 the embedding's, in layers
/// 2l + 1 and 2l + 2 the outputs of retention and of the feed-forward network of block l.
inline double reference_keep(double p, std::int64_t seed, std::int64_t step, std::int64_t pass,
                             std::int64_t layer, std::int64_t i) {
  const double u = step_stream(2, seed, step, pass, layer).uniform(static_cast<std::uint64_t>(i));
  return u < p ? 0 : 1 / (1 - p);
}

}  // namespace retnet::test
