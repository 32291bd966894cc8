/// @file
/// Counter-based random numbers: number i of a stream is a pure function of (seed, stream, i). Nothing is
/// carried from call to call, so any order, any number of threads and any resumed run draw the same numbers.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// Names a stream of random numbers. Two keys that differ in any field give independent streams.
struct RandomKey {
  std::uint64_t seed = 0;    ///< the run's seed
  std::uint64_t stream = 0;  ///< what the numbers are for: a parameter, a step's windows, a layer's dropout
};

/// Four 32-bit numbers from 128 bits of counter under a 64-bit key: Philox4x32-10 of Salmon et al., "Parallel
/// random numbers: as easy as 1, 2, 3", SC 2011.
struct Philox {
  std::uint32_t x[4];

  /// The block that holds numbers 4 `block` .. 4 `block` + 3 of the stream.
  RN_HD Philox(RandomKey key, std::uint64_t block)
      : x{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
          static_cast<std::uint32_t>(key.stream), static_cast<std::uint32_t>(key.stream >> 32)} {
    std::uint32_t k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = 0xD2511F53ull * x[0], p1 = 0xCD9E8D57ull * x[2];
      const std::uint32_t y0 = static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ k0;
      const std::uint32_t y2 = static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ k1;
      x[0] = y0, x[1] = static_cast<std::uint32_t>(p1), x[2] = y2, x[3] = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
  }
};

/// Number i of a stream, 32 random bits.
RN_HD inline std::uint32_t random_bits(RandomKey key, std::uint64_t i) { return Philox(key, i / 4).x[i % 4]; }

/// Number i of a stream as a real in [0, 1), a multiple of 2^-32.
RN_HD inline double random_uniform(RandomKey key, std::uint64_t i) { return random_bits(key, i) * 0x1p-32; }

/// x[i] uniform in [low, high).  @tparam T float or double
template <class T>
void fill_uniform(Cpu, T* x, std::int64_t n, RandomKey key, double low, double high);
template <class T>
void fill_uniform(Hip, T* x, std::int64_t n, RandomKey key, double low, double high);

/// x[i] normal with the given mean and standard deviation (Box-Muller).  @tparam T float or double
template <class T>
void fill_normal(Cpu, T* x, std::int64_t n, RandomKey key, double mean, double deviation);
template <class T>
void fill_normal(Hip, T* x, std::int64_t n, RandomKey key, double mean, double deviation);

/// y[i] = x[i] / (1 - p) where number i of the stream is at least p, else 0. The same call on dy is the
/// gradient: the mask is drawn again, not stored.  @tparam T float, double or bf16;  0 <= p < 1
template <class T>
void dropout(Cpu, T* y, const T* x, std::int64_t n, RandomKey key, double p);
template <class T>
void dropout(Hip, T* y, const T* x, std::int64_t n, RandomKey key, double p);

}  // namespace retnet::kernels
