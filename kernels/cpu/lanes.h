/// @file
/// Sums along a row in a fixed number of interleaved lanes: an order that can be vectorised, and that is the
/// same for vectors of any width.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cpu/simd.h"

namespace retnet::kernels {

inline constexpr int kSumLanes = 16;

/// Sum of term(0) .. term(n-1): lane l adds the terms l, l + 16, .., and the lanes are added as a tree.
/// @tparam A the type that accumulates
template <class A, class Term>
A lane_sum(std::int64_t n, Term&& term) {
  A lanes[kSumLanes] = {};
  std::int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes)
    for (int l = 0; l < kSumLanes; ++l) lanes[l] += A(term(i + l));
  for (int l = 0; i < n; ++i, ++l) lanes[l] += A(term(i));
  for (int width = kSumLanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

namespace lanes_detail {
/// v[l] + v[l + Width] in the first Width lanes.
template <class A, int Width, int... Lane>
inline Vec<A> fold(Vec<A> v, std::integer_sequence<int, Lane...>) {
  return v + __builtin_shufflevector(v, v, (Lane < Width ? Lane + Width : Lane)...);
}
template <class A, int Width>
inline A tree(Vec<A> v) {
  if constexpr (Width == 0) {
    return v[0];
  } else {
    return tree<A, Width / 2>(fold<A, Width>(v, std::make_integer_sequence<int, kLanes<A>>()));
  }
}
}  // namespace lanes_detail

/// The same sum, bit for bit, of n terms of which term(i) gives as many as a vector holds, from i on.
/// @param n  a multiple of kSumLanes
template <class A, class Term>
A lane_sum_of_vectors(std::int64_t n, Term&& term) {
  constexpr int L = kLanes<A>, V = kSumLanes / L;
  Vec<A> lanes[V] = {};
  for (std::int64_t i = 0; i < n; i += kSumLanes)
    for (int v = 0; v < V; ++v) lanes[v] += term(i + v * L);
  for (int half = V / 2; half > 0; half /= 2)
    for (int v = 0; v < half; ++v) lanes[v] += lanes[v + half];
  return lanes_detail::tree<A, L / 2>(lanes[0]);
}

/// The same sum of n terms, of vectors where n allows it. `f(at)` is a term, or a vector of them, where at(x)
/// is what belongs to it of a row x.
template <class A, class F>
A row_sum(std::int64_t n, F f) {
  if (n % kSumLanes == 0)
    return lane_sum_of_vectors<A>(
        n, [=](std::int64_t i) { return f([i](const auto* x) { return load(x + i); }); });
  return lane_sum<A>(n, [=](std::int64_t i) { return f([i](const auto* x) { return load_one(x + i); }); });
}

}  // namespace retnet::kernels
