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

/// Where two arrays differ most.
struct Worst {
  double error = 0;  ///< max |a - b| / max |b|, the latter over finite values; NaN if a or b has one
  std::size_t at = 0;
};

/// An infinity equals only the same infinity. Where b is zero everywhere, a must be.
inline Worst worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double scale = 0;
  for (const double value : b)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  Worst worst;
  for (std::size_t i = 0; i < b.size() && !std::isnan(worst.error); ++i) {
    const double apart = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]) / scale;
    if (!(apart <= worst.error)) worst = {apart, i};
  }
  return worst;
}

/// max |a - b| / max |b|; infinity when the shapes differ.
inline double error(const Array& a, const Array& b) {
  if (!(a.shape == b.shape)) return std::numeric_limits<double>::infinity();
  return worst_difference(a.values, b.values).error;
}
inline double error(const Tensor& a, const Tensor& b) { return error(array_of(a), array_of(b)); }

/// "" when error(a, b) <= tolerance, else one line that says by how much it is not, and where.
inline std::string difference(const Array& a, const Array& b, double tolerance) {
  std::ostringstream message;
  if (!(a.shape == b.shape)) {
    message << "shape " << a.shape << " instead of " << b.shape;
    return message.str();
  }
  const Worst worst = worst_difference(a.values, b.values);
  if (worst.error <= tolerance) return "";
  std::size_t i = 0;
  message << "error " << worst.error << " is above " << tolerance;
  message.precision(17);
  for_each_index(a.shape, [&](const Index& index) {
    if (i++ == worst.at)
      message << " at " << Shape(index) << ": " << a.values[worst.at] << " instead of " << b.values[worst.at];
  });
  return message.str();
}

inline std::string difference(const Tensor& a, const Array& b, double tolerance) {
  const std::string text = difference(array_of(a), b, tolerance);
  return text.empty() ? text : std::string(name(a.dtype())) + ": " + text;
}

inline std::string difference(const Tensor& a, const Tensor& b, double tolerance) {
  return difference(a, array_of(b), tolerance);
}

/// "" when a and b have the same shape, dtype and bits (so NaN equals NaN, and -0 is not 0), else where they
/// differ.
inline std::string bit_difference(const Tensor& a_given, const Tensor& b_given) {
  const Tensor a = a_given.to(Device::cpu), b = b_given.to(Device::cpu);
  std::ostringstream message;
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) {
    message << a.shape() << ' ' << a.dtype() << " instead of " << b.shape() << ' ' << b.dtype();
    return message.str();
  }
  const auto bytes = static_cast<std::size_t>(size_of(a.dtype()));
  const char *x = static_cast<const char*>(a.storage()->data()),
             *y = static_cast<const char*>(b.storage()->data());
  if (a.is_contiguous() && b.is_contiguous()) {  // the usual case, all at once
    const auto skip_a = static_cast<std::size_t>(a.offset()) * bytes,
               skip_b = static_cast<std::size_t>(b.offset()) * bytes;
    if (std::memcmp(x + skip_a, y + skip_b, static_cast<std::size_t>(a.size()) * bytes) == 0) return "";
  }
  for_each_index(a.shape(), [&](const Index& index) {
    const char* x_i = x + static_cast<std::size_t>(position(a, index)) * bytes;
    const char* y_i = y + static_cast<std::size_t>(position(b, index)) * bytes;
    if (message.tellp() == 0 && std::memcmp(x_i, y_i, bytes) != 0)
      message << a.dtype() << " differs at " << Shape(index) << ": " << a.at(index) << " instead of "
              << b.at(index);
  });
  return message.str();
}

}  // namespace retnet::test
