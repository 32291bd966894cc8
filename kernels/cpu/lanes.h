/// @file
/// Sums along a row in a fixed number of interleaved lanes: an order that a compiler can vectorise without
/// being allowed to reorder anything.
#pragma once

#include <cstdint>

namespace retnet::kernels {

inline constexpr int kLanes = 16;

/// Sum of term(0) .. term(n-1): lane l adds the terms l, l + 16, .., and the lanes are added as a tree.
/// @tparam A the type that accumulates
template <class A, class Term>
A lane_sum(std::int64_t n, Term&& term) {
  A lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += A(term(i + l));
  for (int l = 0; i < n; ++i, ++l) lanes[l] += A(term(i));
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

}  // namespace retnet::kernels
