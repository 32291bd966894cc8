/// @file
/// Random retention problems, and what each should give, straight from the definition.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "autograd/functions.h"
#include "retnet/retention.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace retnet::test {

/// A problem: sizes, data and options. The state before the first step is random, as if steps had come
/// before.
struct RetentionCase {
  std::int64_t B = 1, H = 1, N = 1, dk = 2, dv = 1, C = 1;
  RetentionOptions options;
  Tensor q, k, v, S, z;   ///< [B, H, N, dk], the same, [B, H, N, dv], [B, H, dk, dv], [B, H, dk]
  std::vector<double> s;  ///< [H]
  Tensor do_, dS, dz;     ///< random cotangents of the outputs and of the final state

  RetentionState state(bool requires_grad = false) const {
    return {Variable(S, requires_grad), Variable(z, requires_grad), s, 5};
  }
};

/// A problem with sizes from 1, 2, 7, 33 and random decays; `number` chooses.
inline RetentionCase random_case(unsigned number, Dtype dtype = Dtype::f64) {
  std::mt19937_64 bits(number);
  const auto pick = [&](std::initializer_list<std::int64_t> sizes) {
    return sizes.begin()[bits() % sizes.size()];
  };
  RetentionCase c;
  c.B = pick({1, 2, 7}), c.H = pick({1, 2, 7}), c.N = pick({1, 2, 7, 33}), c.C = pick({1, 2, 7, 33});
  c.dk = pick({1, 2, 7, 33}), c.dv = pick({1, 2, 7, 33});
  c.options.score_norm = bits() % 2 ? ScoreNorm::paper : ScoreNorm::none;
  c.options.score_norm_gradient = bits() % 4 != 0;
  for (std::int64_t h = 0; h < c.H; ++h) {
    c.options.gamma.push_back(bits() % 8 == 0 ? 1.0 : 0.3 + 0.7 * uniform(bits));
    c.s.push_back(bits() % 3 == 0 ? 0.0 : 4 * uniform(bits));
  }
  const unsigned seed = 100 * number;
  c.q = random({c.B, c.H, c.N, c.dk}, seed + 1, Layout::dense, dtype);
  c.k = random({c.B, c.H, c.N, c.dk}, seed + 2, Layout::dense, dtype);
  c.v = random({c.B, c.H, c.N, c.dv}, seed + 3, Layout::dense, dtype);
  c.S = random({c.B, c.H, c.dk, c.dv}, seed + 4, Layout::dense, dtype);
  c.z = random({c.B, c.H, c.dk}, seed + 5, Layout::dense, dtype);
  c.do_ = random({c.B, c.H, c.N, c.dv}, seed + 6, Layout::dense, dtype);
  c.dS = random({c.B, c.H, c.dk, c.dv}, seed + 7, Layout::dense, dtype);
  c.dz = random({c.B, c.H, c.dk}, seed + 8, Layout::dense, dtype);
  return c;
}

/// A way to compute retention: a form, fused or composed where it is both.
struct Way {
  Form form;
  bool reference;
  const char* name;
};
inline constexpr Way kWays[] = {{Form::parallel, false, "parallel, fused"},
                                {Form::recurrent, false, "recurrent"},
                                {Form::chunkwise, false, "chunkwise, fused"},
                                {Form::chunkwise, true, "chunkwise, composed"},
                                {Form::parallel, true, "parallel, composed"}};
inline constexpr std::size_t kWayCount = std::size(kWays);

inline Retained run(const Way& way, const Variable& q, const Variable& k, const Variable& v,
                    const RetentionState& state, RetentionOptions options, std::int64_t chunk) {
  options.reference = way.reference;
  return retention(way.form, q, k, v, state, options, chunk);
}

/// A sequence cut into pieces, each run in a way of its own.
struct Segment {
  Way way;
  std::int64_t length;
};

inline std::vector<Segment> random_segments(std::int64_t n, std::mt19937_64& bits) {
  std::vector<Segment> segments;
  while (n > 0) {
    const std::int64_t length = 1 + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(n));
    segments.push_back({kWays[bits() % kWayCount], length});
    n -= length;
  }
  return segments;
}

/// Runs the segments one after the other, the state handed on.
inline Retained run_segments(const std::vector<Segment>& segments, const Variable& q, const Variable& k,
                             const Variable& v, RetentionState state, const RetentionCase& c) {
  std::vector<Variable> outputs;
  std::int64_t at = 0;
  for (const Segment& segment : segments) {
    const auto part = [&](const Variable& x) { return slice(x, 2, at, at + segment.length); };
    Retained piece = run(segment.way, part(q), part(k), part(v), state, c.options, c.C);
    outputs.push_back(piece.o);
    state = piece.state;
    at += segment.length;
  }
  return {concat(outputs, 2), state};
}

/// Everything that a run gives: outputs, final state, and gradients of a random loss of both.
struct RetentionResult {
  std::vector<Tensor> tensors;  ///< o, S, z, dq, dk, dv, dS_0, dz_0
  std::vector<double> s;
  std::int64_t pos = 0;
};
inline constexpr const char* kResultNames[] = {"o", "S", "z", "dq", "dk", "dv", "dS0", "dz0"};

inline RetentionResult run_with_gradients(const RetentionCase& c, const std::vector<Segment>& segments) {
  const Variable q(c.q, true), k(c.k, true), v(c.v, true);
  const RetentionState state = c.state(true);
  const Retained r = run_segments(segments, q, k, v, state, c);
  const Variable loss = add(sum(mul(r.o, Variable(c.do_))),
                            add(sum(mul(r.state.S, Variable(c.dS))), sum(mul(r.state.z, Variable(c.dz)))));
  RetentionResult result{{r.o.value(), r.state.S.value(), r.state.z.value()}, r.state.s, r.state.pos};
  for (const Tensor& g :
       gradients(loss, Tensor::full({}, 1, c.q.dtype()).to(c.q.device()), {q, k, v, state.S, state.z}))
    result.tensors.push_back(g.defined() ? g : Tensor());
  return result;
}

/// The outputs by the definition, unrolled: every earlier step and the state before the first, in double
/// loops.
inline Array retention_by_definition(const RetentionCase& c) {
  const Array q = array_of(c.q), k = array_of(c.k), v = array_of(c.v), S = array_of(c.S), z = array_of(c.z);
  return make_array({c.B, c.H, c.N, c.dv}, [&](const Index& at) {
    const std::int64_t b = at[0], h = at[1], n = at[2], j = at[3];
    const double gamma = c.options.gamma[static_cast<std::size_t>(h)];
    double numerator = 0, row_sum = 0, decay_sum = 0;
    for (std::int64_t m = 0; m <= n; ++m) {
      double qk = 0;
      for (std::int64_t i = 0; i < c.dk; ++i) qk += element(q, {b, h, n, i}) * element(k, {b, h, m, i});
      const double decay = std::pow(gamma, static_cast<double>(n - m));
      numerator += decay * qk * element(v, {b, h, m, j});
      row_sum += decay * qk;
      decay_sum += decay;
    }
    const double past = std::pow(gamma, static_cast<double>(n + 1));
    for (std::int64_t i = 0; i < c.dk; ++i) {
      numerator += past * element(q, {b, h, n, i}) * element(S, {b, h, i, j});
      row_sum += past * element(q, {b, h, n, i}) * element(z, {b, h, i});
    }
    decay_sum += past * c.s[static_cast<std::size_t>(h)];
    if (c.options.score_norm == ScoreNorm::none) return numerator;
    return numerator / std::max(std::abs(row_sum), std::sqrt(decay_sum));
  });
}

}  // namespace retnet::test
