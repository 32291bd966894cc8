/// @file
/// bfloat16 as a storage type, and the type each storage type computes in.
#pragma once

#include <cstdint>

#if defined(__HIPCC__) || defined(__CUDACC__)
#define RN_HD __host__ __device__
#else
#define RN_HD
#endif
/// For short functions that a loop can only be vectorised around once they are inlined.
#define RN_INLINE RN_HD inline __attribute__((always_inline))

namespace retnet {

/// The upper half of an IEEE binary32: 8 exponent bits, 8 significant bits. Storage only: arithmetic happens
/// in float, and a value is rounded once, to nearest even, when it is stored.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  RN_HD explicit bf16(float x) {
    std::uint32_t u = 0;
    __builtin_memcpy(&u, &x, sizeof u);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    // Rounding could carry a NaN's payload into infinity, so a NaN is truncated and made quiet instead.
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : rounded >> 16);
  }
  RN_HD explicit bf16(double x) : bf16(static_cast<float>(x)) {}
  RN_HD explicit operator float() const {
    const std::uint32_t u = static_cast<std::uint32_t>(bits) << 16;
    float x = 0;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
  }
  RN_HD explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

namespace detail {
template <class T>
struct Accum {
  using type = T;
};
template <>
struct Accum<bf16> {
  using type = float;
};
}  // namespace detail

/// The type that arithmetic on stored values of type `T` is done in: float for bf16, else `T` itself.
template <class T>
using accum_t = typename detail::Accum<T>::type;

}  // namespace retnet
