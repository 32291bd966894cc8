/// @file
/// Matrix products to test with: operands, layouts, and the error against the definition.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/matmul.h"
#include "tests/support/test.h"

namespace retnet::kernels::test {

using Index = std::int64_t;

/// Largest error, relative to the sum of |a| |b|: a bound per dtype, about ten times what is measured.
template <class T>
inline constexpr double kTolerance = 1e-6;
template <>
inline constexpr double kTolerance<double> = 1e-13;
template <>
inline constexpr double kTolerance<bf16> = 1e-2;

/// Elements between -1 and 1, the same for the same seed; vectors of exactly the size that the product may
/// touch, so that AddressSanitizer sees every step too far.
template <class T>
std::vector<T> random(Index size, unsigned seed) {
  std::mt19937 bits(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> x(static_cast<std::size_t>(size));
  for (T& value : x) value = static_cast<T>(uniform(bits));
  return x;
}

template <class T>
bool same_bits(const T* x, const T* y, Index size) {
  return std::memcmp(x, y, static_cast<std::size_t>(size) * sizeof(T)) == 0;
}
template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && same_bits(x.data(), y.data(), static_cast<Index>(x.size()));
}

/// A[m, k] and B[k, n], each transposed in memory or not, with `gap` unused elements after every row in
/// memory.
inline Matmul product(Index m, Index n, Index k, bool ta = false, bool tb = false, Index gap = 0) {
  Matmul s;
  s.m = m, s.n = n, s.k = k;
  s.a_row = ta ? 1 : k + gap, s.a_col = ta ? m + gap : 1;
  s.b_row = tb ? 1 : n + gap, s.b_col = tb ? k + gap : 1;
  s.c_row = n + gap;
  return s;
}

/// One more than the largest offset among rows x columns elements.
inline Index extent(Index rows, Index row, Index columns, Index column) {
  return rows * columns == 0 ? 0 : (rows - 1) * row + (columns - 1) * column + 1;
}
inline Index a_extent(const Matmul& s) { return extent(s.m, s.a_row, s.k, s.a_col); }
inline Index b_extent(const Matmul& s) { return extent(s.k, s.b_row, s.n, s.b_col); }
inline Index c_extent(const Matmul& s) { return extent(s.m, s.c_row, s.n, 1); }

/// Adds a batch dimension in front; a step of 0 repeats the operand.
inline void add_batch(Matmul& s, Index size, Index a_step, Index b_step, Index c_step) {
  const int d = s.batch_rank++;
  s.batch[d] = size, s.a_batch[d] = a_step, s.b_batch[d] = b_step, s.c_batch[d] = c_step;
}

template <class T>
std::vector<double> widen(const std::vector<T>& x, bool absolute = false) {
  std::vector<double> y;
  for (const T& value : x)
    y.push_back(absolute ? std::abs(static_cast<double>(value)) : static_cast<double>(value));
  return y;
}

/// Largest |C - oracle| / sum |a| |b| where both start from `c`; elements that the product does not own must
/// keep their bits, for their scale is 0. NaN if anything is NaN.
template <class T>
double error(const Matmul& s, const std::vector<T>& c, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> fast = c;
  matmul(Cpu{}, s, fast.data(), a.data(), b.data());
  std::vector<double> exact = widen(c), scale(c.size());
  matmul_naive(Cpu{}, s, exact.data(), widen(a).data(), widen(b).data());
  Matmul magnitude = s;
  magnitude.accumulate = true;
  if (s.accumulate) scale = widen(c, true);
  matmul_naive(Cpu{}, magnitude, scale.data(), widen(a, true).data(), widen(b, true).data());
  double worst = 0;
  for (std::size_t i = 0; i < c.size(); ++i) {
    const double difference = std::abs(static_cast<double>(fast[i]) - exact[i]);
    if (difference == 0) continue;
    const double relative = difference / scale[i];  // infinite where nothing should have changed
    if (!(relative <= worst)) worst = relative;
  }
  return worst;
}

template <class T>
void check_values(const Matmul& s, Index a_size, Index b_size, Index c_size) {
  CAPTURE(sizeof(T), s.m, s.n, s.k, s.a_row, s.a_col, s.b_row, s.b_col, s.c_row, s.batch_rank, s.accumulate);
  CHECK(error(s, random<T>(c_size, 1), random<T>(a_size, 2), random<T>(b_size, 3)) <= kTolerance<T>);
}
inline void check_all_types(const Matmul& s, Index a_size, Index b_size, Index c_size) {
  check_values<float>(s, a_size, b_size, c_size);
  check_values<double>(s, a_size, b_size, c_size);
  check_values<bf16>(s, a_size, b_size, c_size);
}

template <class T>
std::vector<T> multiply(const Matmul& s, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> c(static_cast<std::size_t>(c_extent(s)));
  matmul(Cpu{}, s, c.data(), a.data(), b.data());
  return c;
}

}  // namespace retnet::kernels::test
