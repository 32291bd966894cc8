// exp and erf in float, against double over dense sweeps of all floats, and at the ends of their range.

#include "kernels/math.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/test.h"

namespace retnet::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float from_bits(std::uint32_t bits) {
  float x = 0;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Calls `body(x)` for every `stride`-th float pattern, both signs, NaN and infinities left out.
template <class Body>
void sweep(std::uint32_t stride, Body&& body) {
  for (std::uint64_t bits = 0; bits < 0x7f800000u; bits += stride)
    for (const std::uint32_t sign : {0u, 0x80000000u})
      body(from_bits(static_cast<std::uint32_t>(bits) | sign));
}

TEST_CASE("exp is within 1.2e-7 of e^x wherever the result is a normal number", "[math]") {
  double worst = 0;
  float at = 0;
  sweep(1013, [&](float x) {
    if (!(x > -87.3f && x < 88.72f)) return;
    const double exact = ::exp(static_cast<double>(x)), error = std::abs(exp(x) - exact) / exact;
    if (!(error <= worst)) worst = error, at = x;
  });
  CAPTURE(at);
  CHECK(worst <= 1.2e-7);  // measured 8.0e-8
}

TEST_CASE("exp of a subnormal result is within two units of the smallest number", "[math]") {
  for (float x = -104.5f; x < -87; x += 1e-4f) {
    const double exact = ::exp(static_cast<double>(x));
    if (!(std::abs(exp(x) - exact) <= 2 * 0x1p-149)) FAIL_CHECK("exp(" << x << ") is " << exp(x));
  }
}

TEST_CASE("exp at and beyond the ends of its range", "[math]") {
  CHECK(exp(0.0f) == 1);
  CHECK(exp(-0.0f) == 1);
  CHECK(exp(88.8f) == kInfinity);
  CHECK(exp(1e30f) == kInfinity);
  CHECK(exp(kInfinity) == kInfinity);
  CHECK(exp(-104.0f) == 0);
  CHECK(exp(-1e30f) == 0);
  CHECK(exp(-kInfinity) == 0);
  CHECK(std::isnan(exp(std::numeric_limits<float>::quiet_NaN())));
  CHECK(exp(1e-40f) == 1);
  CHECK(exp(-1e-40f) == 1);
  CHECK(std::isfinite(exp(88.72f)));
  // Towards both ends the function never turns back, and there is nothing between the last number and
  // infinity.
  float before = exp(88.0f);
  for (float x = 88.0f; x < 89.5f; x = std::nextafter(x, 100.0f)) {
    if (!(exp(x) >= before)) FAIL_CHECK("exp falls at " << x);
    before = exp(x);
  }
  before = exp(-86.0f);
  for (float x = -86.0f; x > -105; x -= 1e-5f) {
    if (!(exp(x) <= before * 1.000001f)) FAIL_CHECK("exp rises below " << x);
    before = exp(x);
  }
}

TEST_CASE("erf is within 1.2e-7 of the error function everywhere", "[math]") {
  double worst = 0;
  float at = 0;
  sweep(1013, [&](float x) {
    const double error = std::abs(erf(x) - ::erf(static_cast<double>(x)));
    if (!(error <= worst)) worst = error, at = x;
  });
  CAPTURE(at);
  CHECK(worst <= 1.2e-7);  // measured 6.3e-8
}

TEST_CASE("erf of small numbers keeps its relative accuracy", "[math]") {
  double worst = 0;
  sweep(1013, [&](float x) {
    if (std::abs(x) > 0.9f || std::abs(x) < 1e-37f) return;
    const double exact = ::erf(static_cast<double>(x));
    worst = std::max(worst, std::abs(erf(x) - exact) / std::abs(exact));
  });
  CHECK(worst <= 1.2e-7);  // measured 8.3e-8
}

TEST_CASE("erf is odd, bounded and right at its ends", "[math]") {
  sweep(10007, [](float x) {
    if (erf(-x) != -erf(x) || !(std::abs(erf(x)) <= 1)) FAIL_CHECK("erf(" << x << ") is " << erf(x));
  });
  CHECK(erf(0.0f) == 0);
  CHECK(std::signbit(erf(-0.0f)));
  CHECK(erf(4.0f) == 1);
  CHECK(erf(kInfinity) == 1);
  CHECK(erf(-kInfinity) == -1);
  CHECK(std::isnan(erf(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::abs(erf(1e-40f) - 1.1283792e-40) <= 2 * 0x1p-149);
}

TEST_CASE("the double versions are the C library's", "[math]") {
  for (const double x : {-3.7, -1e-9, 0.0, 0.5, 20.0}) {
    CHECK(exp(x) == ::exp(x));
    CHECK(erf(x) == ::erf(x));
  }
}

}  // namespace
}  // namespace retnet::kernels
