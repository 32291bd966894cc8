/// @file
/// Gradients for the tests' own references: real numbers that record every operation, one scalar at a time.
/// It shares no code with the library's autograd, and is as slow as that makes it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace retnet::test {

/// A computation as a list: number i was computed from at most two earlier ones.
struct Tape {
  struct Step {
    std::int64_t from[2];
    double slope[2];  ///< derivatives of this number by those two
  };
  std::vector<Step> steps;

  std::int64_t add(const Step& step) {
    steps.push_back(step);
    return static_cast<std::int64_t>(steps.size()) - 1;
  }

  /// Derivatives of number `of` by every number.
  std::vector<double> gradient(std::int64_t of) const {
    std::vector<double> d(steps.size(), 0.0);
    d[static_cast<std::size_t>(of)] = 1;
    for (auto i = static_cast<std::size_t>(of) + 1; i-- > 0;)
      for (const int side : {0, 1})
        if (steps[i].from[side] >= 0)
          d[static_cast<std::size_t>(steps[i].from[side])] += d[i] * steps[i].slope[side];
    return d;
  }
};

/// A real number on a tape, or a constant.
struct Real {
  double value = 0;
  Tape* tape = nullptr;  ///< null: a constant
  std::int64_t at = -1;  ///< its number on the tape

  Real() = default;
  Real(double constant) : value(constant) {}  // NOLINT: numbers mix with constants
  Real(double v, Tape& on) : value(v), tape(&on), at(on.add({{-1, -1}, {0, 0}})) {}  ///< a variable

  /// y = f(a, b), with the derivatives of f.
  static Real of(double y, const Real& a, double by_a) { return of(y, a, by_a, Real(), 0); }
  static Real of(double y, const Real& a, double by_a, const Real& b, double by_b) {
    Real result(y);
    result.tape = a.tape ? a.tape : b.tape;
    if (result.tape) result.at = result.tape->add({{a.at, b.at}, {by_a, by_b}});
    return result;
  }
};

inline double value_of(double x) { return x; }
inline double value_of(const Real& x) { return x.value; }

inline Real operator+(const Real& a, const Real& b) { return Real::of(a.value + b.value, a, 1, b, 1); }
inline Real operator-(const Real& a, const Real& b) { return Real::of(a.value - b.value, a, 1, b, -1); }
inline Real operator*(const Real& a, const Real& b) {
  return Real::of(a.value * b.value, a, b.value, b, a.value);
}
inline Real operator/(const Real& a, const Real& b) {
  return Real::of(a.value / b.value, a, 1 / b.value, b, -a.value / (b.value * b.value));
}
inline Real& operator+=(Real& a, const Real& b) { return a = a + b; }
inline Real& operator*=(Real& a, const Real& b) { return a = a * b; }
inline Real& operator/=(Real& a, const Real& b) { return a = a / b; }

inline Real exp(const Real& x) { return Real::of(std::exp(x.value), x, std::exp(x.value)); }
inline Real log(const Real& x) { return Real::of(std::log(x.value), x, 1 / x.value); }
inline Real sqrt(const Real& x) { return Real::of(std::sqrt(x.value), x, 0.5 / std::sqrt(x.value)); }
inline Real abs(const Real& x) { return Real::of(std::abs(x.value), x, x.value < 0 ? -1 : 1); }
inline Real erf(const Real& x) {
  return Real::of(std::erf(x.value), x, 1.1283791670955126 * std::exp(-x.value * x.value));  // 2 / sqrt(pi)
}

}  // namespace retnet::test
