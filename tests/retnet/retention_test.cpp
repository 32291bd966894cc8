// The three forms against the definition, and the laws of their equality.

#include "tests/support/retention_cases.h"

#include "kernels/parallel.h"
#include "retnet/rotation.h"
#include "tests/support/gradcheck.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

std::vector<Segment> whole(const Way& way, const RetentionCase& c) { return {{way, c.N}}; }

Tensor outputs(const Way& way, const RetentionCase& c) {
  return run(way, Variable(c.q), Variable(c.k), Variable(c.v), c.state(), c.options, c.C).o.value();
}

/// Compares everything two runs gave; on failure says what.
void check_equal(const RetentionResult& a, const RetentionResult& b, double tolerance) {
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    INFO(kResultNames[i]);
    REQUIRE(a.tensors[i].defined() == b.tensors[i].defined());
    if (a.tensors[i].defined()) CHECK(difference(a.tensors[i], b.tensors[i], tolerance) == "");
  }
  CHECK(a.pos == b.pos);
  for (std::size_t h = 0; h < a.s.size(); ++h) CHECK(std::abs(a.s[h] - b.s[h]) <= 1e-13 * b.s[h]);
}

}  // namespace

TEST_CASE("Eq. (5) parallel, Eq. (6) recurrent and Eq. (7) chunkwise equal the definition",
          "[eq5][eq6][eq7][eqR2][eqR3][eqR4]") {
  for (unsigned number = 0; number < 120; ++number) {
    const RetentionCase c = random_case(number);
    const Array expected = retention_by_definition(c);
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    for (const Way& way : kWays) {
      INFO(way.name);
      CHECK(difference(outputs(way, c), expected, 1e-12) == "");
    }
  }
}

TEST_CASE("Law 1: any segmentation gives the outputs, state and gradients of one run, f64",
          "[law1][eq5][eq6][eq7]") {
  // Measured over these cases: at most 2e-14 relative to each tensor's largest element.
  for (unsigned number = 0; number < 200; ++number) {
    const RetentionCase c = random_case(1000 + number);
    const RetentionResult one = run_with_gradients(c, whole(kWays[number % kWayCount], c));
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    std::mt19937_64 bits(number);
    for (int cut = 0; cut < 3; ++cut)
      check_equal(run_with_gradients(c, random_segments(c.N, bits)), one, 1e-12);
  }
}

TEST_CASE("Law 1 in f32", "[law1]") {
  // The bound is that of the law; q z can nearly cancel, and c then magnifies rounding.
  for (unsigned number = 0; number < 100; ++number) {
    const RetentionCase c = random_case(2000 + number, Dtype::f32);
    const RetentionResult one = run_with_gradients(c, whole(kWays[0], c));
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    std::mt19937_64 bits(number);
    check_equal(run_with_gradients(c, random_segments(c.N, bits)), one, 1e-4);
  }
}

TEST_CASE("Law 2: outputs do not change, bit for bit, when later steps do", "[law2]") {
  for (unsigned number = 0; number < 60; ++number) {
    const Dtype dtype = number % 2 ? Dtype::f32 : Dtype::f64;
    const RetentionCase c = random_case(3000 + number, dtype);
    if (c.N < 2) continue;
    const std::int64_t n = c.N / 2;
    RetentionCase changed = c;
    for (Tensor* x : {&changed.q, &changed.k, &changed.v}) {
      *x = clone(*x);
      copy_into(slice(*x, 2, n, c.N), random(slice(*x, 2, n, c.N).shape(), number + 7, Layout::dense, dtype));
    }
    CAPTURE(number, c.N, c.C, n);
    for (const Way& way : kWays) {
      INFO(way.name);
      const Tensor before = outputs(way, c), after = outputs(way, changed);
      CHECK(bit_difference(slice(after, 2, 0, n), slice(before, 2, 0, n)) == "");
      CHECK(error(slice(after, 2, n, c.N), slice(before, 2, n, c.N)) > 1e-3);  // the change was one
    }
  }
}

TEST_CASE("Law 3: a sequence gets the same bits alone or in any batch, at any row", "[law3]") {
  for (unsigned number = 0; number < 60; ++number) {
    RetentionCase c = random_case(4000 + number, number % 2 ? Dtype::f32 : Dtype::f64);
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    for (const Way& way : kWays) {
      const Tensor batch = outputs(way, c);
      for (std::int64_t b = 0; b < c.B; ++b) {
        RetentionCase alone = c;
        alone.B = 1;
        for (Tensor* x : {&alone.q, &alone.k, &alone.v, &alone.S, &alone.z}) *x = slice(*x, 0, b, b + 1);
        CHECK(bit_difference(outputs(way, alone), slice(batch, 0, b, b + 1)) == "");
      }
    }
  }
}

TEST_CASE("Law 4: gradients of every form agree with central differences", "[law4][eq5][eq6][eq7]") {
  for (unsigned number = 0; number < 24; ++number) {
    RetentionCase c = random_case(5000 + number);
    if (c.B * c.H * c.N * c.dk * c.dv > 3000) continue;  // two evaluations an element
    c.options.score_norm_gradient = true;                // held constant, c is not the forward's derivative
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    for (const Way& way : kWays) {
      INFO(way.name);
      const auto f = [&](const std::vector<Variable>& x) {
        const Retained r = run(way, x[0], x[1], x[2], {x[3], x[4], c.s, 0}, c.options, c.C);
        const Variable parts[] = {r.o, r.state.S, r.state.z};
        std::vector<Variable> flat;
        for (const Variable& part : parts) flat.push_back(reshape(part, {-1}));
        return concat(flat, 0);
      };
      CHECK(gradient_problem(f, {c.q, c.k, c.v, c.S, c.z}, {1e-6, 1, 12}) == "");
    }
  }
}

TEST_CASE("Law 6: at position 10^6 nothing overflows, and the state is what the closed form says", "[law6]") {
  // Constant q, k, v of ones: S_n = s_n = (1 - gamma^n) / (1 - gamma), so o_n = s_n / max(s_n, sqrt(s_n)).
  const std::int64_t n = 1000000;
  RetentionCase c;
  c.H = 2, c.dk = 1, c.N = n, c.C = 100;
  c.options.gamma = {1 - 0x1p-5, 1 - 0x1p-12};
  for (Tensor* x : {&c.q, &c.k, &c.v}) *x = Tensor::full({1, 2, n, 1}, 1);
  const Variable q(c.q), k(c.k), v(c.v);
  for (const Way& way : {kWays[2], kWays[3]}) {
    INFO(way.name);
    const Retained r = run(way, q, k, v, initial_state(1, 2, 1, 1), c.options, c.C);
    REQUIRE(r.state.pos == n);
    for (std::int64_t h = 0; h < 2; ++h) {
      const double limit = 1 / (1 - c.options.gamma[static_cast<std::size_t>(h)]);
      // Measured: 1.1e-5 in f32. Sums of equal numbers round in one direction.
      CHECK(std::abs(r.state.S.value().at({0, h, 0, 0}) / limit - 1) < 5e-5);
      CHECK(std::abs(r.state.z.value().at({0, h, 0}) / limit - 1) < 5e-5);
      CHECK(std::abs(r.state.s[static_cast<std::size_t>(h)] / limit - 1) < 1e-12);
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1})
        CHECK(std::abs(r.o.value().at({0, h, at, 0}) - 1) < 1e-5);
    }
    CHECK(std::isfinite(sum_squares(contiguous(r.o.value()))));
    const Retained next =
        retention_recurrent(slice(q, 2, 0, 3), slice(k, 2, 0, 3), slice(v, 2, 0, 3), r.state, c.options);
    CHECK(next.state.pos == n + 3);
    CHECK(std::abs(next.o.value().at({0, 1, 2, 0}) - 1) < 1e-5);
  }
}

TEST_CASE("Any number of threads gives the same bits, forward and backward", "[threads]") {
  const int before = kernels::num_threads();
  for (unsigned number = 0; number < 12; ++number) {
    const RetentionCase c = random_case(6000 + number, Dtype::f32);
    for (const Way& way : kWays) {
      kernels::set_num_threads(1);
      const RetentionResult one = run_with_gradients(c, whole(way, c));
      for (const int threads : {2, 3, 8}) {
        kernels::set_num_threads(threads);
        const RetentionResult many = run_with_gradients(c, whole(way, c));
        for (std::size_t i = 0; i < one.tensors.size(); ++i)
          if (one.tensors[i].defined())
            CHECK(bit_difference(contiguous(many.tensors[i]), contiguous(one.tensors[i])) == "");
      }
    }
  }
  kernels::set_num_threads(before);
}

TEST_CASE("Eq. (7) without the decay of Fig. 4 is another function", "[eq7]") {
  // The paper's pseudocode leaves gamma^(C'-1-i) out of the state; the difference is no rounding.
  RetentionCase c = random_case(1);
  c.options.gamma.assign(static_cast<std::size_t>(c.H), 0.5);
  c.options.score_norm = ScoreNorm::none;
  c.N = 8, c.C = 4, c.B = 1;
  c.q = random({1, c.H, 8, c.dk}, 1), c.k = random({1, c.H, 8, c.dk}, 2), c.v = random({1, c.H, 8, c.dv}, 3);
  c.S = Tensor::zeros({1, c.H, c.dk, c.dv}, Dtype::f64), c.z = Tensor::zeros({1, c.H, c.dk}, Dtype::f64);
  const Tensor right = outputs(kWays[2], c);
  // The printed pseudocode's state: sum of k^T v of the first chunk, undecayed.
  const Variable k0 = slice(Variable(c.k), 2, 0, 4), v0 = slice(Variable(c.v), 2, 0, 4);
  RetentionState as_printed = c.state();
  as_printed.S = matmul(k0, v0, true, false);
  const Retained second = retention_parallel(slice(Variable(c.q), 2, 4, 8), slice(Variable(c.k), 2, 4, 8),
                                             slice(Variable(c.v), 2, 4, 8), as_printed, c.options);
  CHECK(error(second.o.value(), slice(right, 2, 4, 8)) > 0.05);
}

TEST_CASE("Retention refuses what does not fit, saying what", "[errors]") {
  const RetentionCase c = random_case(3);
  const Variable q(c.q), k(c.k), v(c.v);
  RetentionOptions wrong = c.options;
  wrong.gamma.push_back(0.5);
  for (const Way& way : kWays) {
    CHECK_THROWS_AS(run(way, q, k, v, c.state(), wrong, c.C), Error);
    CHECK_THROWS_AS(run(way, q, k, v, {}, c.options, c.C), Error);
    CHECK_THROWS_AS(run(way, q, slice(k, 3, 0, c.dk - 1), v, c.state(), c.options, c.C), Error);
  }
  CHECK_THROWS_AS(retention_chunkwise(q, k, v, c.state(), c.options, 0), Error);
}

}  // namespace retnet::test
