/// @file
/// How far two tensors are apart: the one definition of error that all tests share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>

#include "tests/support/array.h"

namespace retnet::test {

/// "" when max |a - b| / max |b| <= tolerance, else one line that says by how much it is not and where.
/// A NaN fails whatever the other side is, an infinity unless both sides have the same one. Where b is zero
/// everywhere, a must be.
inline std::string difference(const Array& a, const Array& b, double tolerance) {
  std::ostringstream message;
  if (!(a.shape == b.shape)) {
    message << "shapes differ, got " << a.shape << " instead of " << b.shape;
    return message.str();
  }
  double scale = 0, worst = -1;
  for (const double value : b.values)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  std::size_t i = 0;
  std::ostringstream where;
  for_each_index(a.shape, [&](const Index& index) {
    const double x = a.values[i], y = b.values[i++];
    const double apart = x == y ? 0 : std::abs(x - y) / scale;
    if (std::isnan(worst) || apart <= worst) return;
    worst = apart;
    where.str("");
    where.precision(17);
    where << Shape(index) << ": " << x << " instead of " << y;
  });
  if (a.values.empty() || worst <= tolerance) return "";
  message << "error " << worst << " is above " << tolerance << " at " << where.str();
  return message.str();
}

inline std::string difference(const Tensor& a, const Array& b, double tolerance) {
  const std::string text = difference(array_of(a), b, tolerance);
  return text.empty() ? text : std::string(name(a.dtype())) + ": " + text;
}

inline std::string difference(const Tensor& a, const Tensor& b, double tolerance) {
  return difference(a, array_of(b), tolerance);
}

/// max |a - b| / max |b|; NaN if anything is NaN, infinity when the shapes differ.
inline double error(const Array& a, const Array& b) {
  if (!(a.shape == b.shape)) return std::numeric_limits<double>::infinity();
  double scale = 0, worst = 0;
  for (const double value : b.values) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    const double x = a.values[i], y = b.values[i];
    const double apart = x == y ? 0 : std::abs(x - y) / scale;
    if (!(apart <= worst) && !std::isnan(worst)) worst = apart;
  }
  return worst;
}
inline double error(const Tensor& a, const Tensor& b) { return error(array_of(a), array_of(b)); }

/// "" when a and b have the same shape, dtype and bits (so NaN equals NaN, and -0 is not 0), else where they differ.
inline std::string bit_difference(const Tensor& a, const Tensor& b) {
  std::ostringstream message;
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) {
    message << a.shape() << ' ' << a.dtype() << " instead of " << b.shape() << ' ' << b.dtype();
    return message.str();
  }
  const auto bytes = static_cast<std::size_t>(size_of(a.dtype()));
  const char *x = static_cast<const char*>(a.storage()->data()), *y = static_cast<const char*>(b.storage()->data());
  for_each_index(a.shape(), [&](const Index& index) {
    const char* x_i = x + static_cast<std::size_t>(position(a, index)) * bytes;
    const char* y_i = y + static_cast<std::size_t>(position(b, index)) * bytes;
    if (message.tellp() == 0 && std::memcmp(x_i, y_i, bytes) != 0)
      message << a.dtype() << " differs at " << Shape(index) << ": " << a.at(index) << " instead of " << b.at(index);
  });
  return message.str();
}

}  // namespace retnet::test
