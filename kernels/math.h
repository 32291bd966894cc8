/// @file
/// exp and erf for float as short branch-free polynomials, which compilers vectorise, and for double from the
/// C library, which is exact to the last bit or nearly so. The C library's float versions are calls that
/// cannot be vectorised, and gates and activations spend most of a training step's elementwise time in them.
#pragma once

#include <math.h>

#include <cstdint>

#include "kernels/bf16.h"

namespace retnet::kernels {

RN_HD inline double exp(double x) { return ::exp(x); }
RN_HD inline double erf(double x) { return ::erf(x); }

namespace detail {

/// a b + c, rounded once where the machine does that in one instruction, in the body of a vectorised loop and
/// in its remainder alike.
RN_INLINE float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__HIP_DEVICE_COMPILE__) || \
    defined(__CUDA_ARCH__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

/// 2^n for -126 <= n <= 127, built in the exponent bits.
RN_INLINE float exp2_int(std::int32_t n) {
  const std::int32_t bits = (n + 127) << 23;
  float power = 0;
  __builtin_memcpy(&power, &bits, sizeof power);
  return power;
}

/// e^x = p 2^n with n the nearest integer to x / ln 2, for finite x of which n fits 24 bits.
struct Power {
  float p, n;
};
RN_INLINE Power exp_parts(float x) {
  // ln 2 is subtracted in two parts, the first with enough trailing zeros that n times it is exact. What is
  // left is r, |r| <= ln(2) / 2, and p = e^r.
  constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float to_nearest = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = multiply_add(x, log2_e, to_nearest) - to_nearest;
  const float r = multiply_add(-n, ln2_low, multiply_add(-n, ln2_high, x));
  float p = 0.00139411213f;  // minimax fit of (e^r - 1 - r) / r^2
  p = multiply_add(p, r, 0.00836317981f);
  p = multiply_add(p, r, 0.0416663752f);
  p = multiply_add(p, r, 0.16666577f);
  p = multiply_add(p, r, 0.5f);
  return {multiply_add(p, r * r, r) + 1.0f, n};
}

}  // namespace detail

/// e^x with a relative error below 1.2e-7 (2 units in the last place); 0 below -104, infinity above 88.8.
RN_INLINE float exp(float x) {
  float y = x < -104.0f ? -104.0f : x;
  y = y > 89.0f ? 89.0f : y;
  y = x == x ? y : 0.0f;  // the conversion below is undefined for NaN
  const detail::Power e = detail::exp_parts(y);
  // Two half powers, because 2^n itself leaves the exponent's range where the result is subnormal or
  // infinite.
  const std::int32_t n = static_cast<std::int32_t>(e.n), half = n >> 1;
  const float power = e.p * detail::exp2_int(half) * detail::exp2_int(n - half);
  return x == x ? power : x;
}

/// The error function with an absolute error below 1.2e-7.
RN_INLINE float erf(float x) {
  const float a = x < 0 ? -x : x;
  const float u = x * x;
  float small = -0.000597689662f;  // fit of erf(x) / x - 1 in x^2, for |x| < 0.93
  small = detail::multiply_add(small, u, 0.00499098077f);
  small = detail::multiply_add(small, u, -0.0267655674f);
  small = detail::multiply_add(small, u, 0.112818028f);
  small = detail::multiply_add(small, u, -0.376124943f);
  small = detail::multiply_add(small, u, 0.12837915f);
  small = detail::multiply_add(small, x, x);
  const float t = a < 4.0f ? a : 4.0f;  // beyond 3.92 erf rounds to 1
  float large = -4.56496827e-7f;        // fit of ln(1 - erf(t)), for 0.92 <= t <= 4
  large = detail::multiply_add(large, t, -1.5212270e-5f);
  large = detail::multiply_add(large, t, 0.000402011159f);
  large = detail::multiply_add(large, t, -0.00407093074f);
  large = detail::multiply_add(large, t, 0.0249302959f);
  large = detail::multiply_add(large, t, -0.108056018f);
  large = detail::multiply_add(large, t, -0.633509634f);
  large = detail::multiply_add(large, t, -1.12944865f);
  large = detail::multiply_add(large, t, 0.00016307987f);
  const detail::Power e = detail::exp_parts(large);  // large is in -16 .. 0, whatever x is
  const float tail = 1.0f - e.p * detail::exp2_int(static_cast<std::int32_t>(e.n));
  const float big = x < 0 ? -tail : tail;
  return a >= 0.93f ? big : small;  // of NaN, small is NaN
}

}  // namespace retnet::kernels
