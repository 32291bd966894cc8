// Retention at its edges: one step, one head, the shortest rows; states of which half is zero; scores that
// sum to exactly zero; the kink of the divisor; and gradients of one result, or to one operand, alone.

#include <cmath>

#include "tests/support/gpu.h"
#include "tests/support/gradcheck.h"
#include "tests/support/retention_cases.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// What the state before the first step holds.
enum class Before { nothing, only_S, only_z, both };
constexpr Before kBefore[] = {Before::nothing, Before::only_S, Before::only_z, Before::both};

struct Sizes {
  std::int64_t B, H, N, dk, dv, C;
};
// One of everything; one head and the shortest rows; a chunk of 1, of N, longer than N; heads enough to be
// walked by a thread each, and too few; rows of more than a vector.
constexpr Sizes kSizes[] = {{1, 1, 1, 2, 1, 1}, {1, 1, 5, 2, 1, 1},    {1, 1, 5, 2, 2, 5},
                            {2, 1, 4, 2, 3, 9}, {1, 2, 7, 2, 1, 3},    {9, 2, 1, 2, 2, 64},
                            {4, 4, 6, 2, 3, 4}, {1, 1, 20, 18, 17, 8}, {1, 3, 1, 6, 5, 2},
                            {1, 1, 3, 1, 1, 2}, {17, 1, 9, 3, 18, 4},  {1, 2, 70, 4, 3, 64}};

RetentionCase case_of(const Sizes& sizes, Before before, unsigned seed, Dtype dtype = Dtype::f64) {
  RetentionCase c;
  c.B = sizes.B, c.H = sizes.H, c.N = sizes.N, c.dk = sizes.dk, c.dv = sizes.dv, c.C = sizes.C;
  const auto fill = [&](Tensor& x, const Shape& shape) { x = random(shape, ++seed, Layout::dense, dtype); };
  fill(c.q, {c.B, c.H, c.N, c.dk}), fill(c.k, {c.B, c.H, c.N, c.dk}), fill(c.v, {c.B, c.H, c.N, c.dv});
  fill(c.S, {c.B, c.H, c.dk, c.dv}), fill(c.z, {c.B, c.H, c.dk});
  fill(c.do_, {c.B, c.H, c.N, c.dv}), fill(c.dS, {c.B, c.H, c.dk, c.dv}), fill(c.dz, {c.B, c.H, c.dk});
  if (before == Before::nothing || before == Before::only_z) c.S = Tensor::zeros(c.S.shape(), dtype);
  if (before == Before::nothing || before == Before::only_S) c.z = Tensor::zeros(c.z.shape(), dtype);
  for (std::int64_t h = 0; h < c.H; ++h) {
    c.options.gamma.push_back(1 - 0.3 / static_cast<double>(h + 1));
    c.s.push_back(seed % 2 ? 2.5 : 0);  // 0 as well where the position, 5, is not
  }
  return c;
}

Retained run_case(const RetentionCase& c, const Way& way, const std::vector<Variable>& x) {
  return run(way, x[0], x[1], x[2], {x[3], x[4], c.s, 5}, c.options, c.C);
}

std::vector<Variable> leaves(const RetentionCase& c, const std::vector<bool>& wanted) {
  const Tensor* const values[] = {&c.q, &c.k, &c.v, &c.S, &c.z};
  std::vector<Variable> x;
  for (std::size_t i = 0; i < 5; ++i) x.emplace_back(*values[i], wanted[i]);
  return x;
}

/// Results by number, their names, their cotangents, and the operands that each depends on.
Variable result_of(const Retained& r, int which) {
  return which == 0 ? r.o : which == 1 ? r.state.S : r.state.z;
}
constexpr const char* kResults[] = {"outputs", "S", "z"};
const std::vector<bool> kOperandsOf[] = {
    {true, true, true, true, true}, {false, true, true, true, false}, {false, true, false, false, true}};
constexpr const char* kOperands[] = {"q", "k", "v", "S before", "z before"};

std::vector<Tensor> gradients_of(const RetentionCase& c, const Way& way, int which,
                                 const std::vector<bool>& wanted) {
  const Tensor cotangent[] = {c.do_, c.dS, c.dz};
  const std::vector<Variable> x = leaves(c, wanted);
  return gradients(result_of(run_case(c, way, x), which), cotangent[which], x);
}

const Way& composed(const Way& way) { return way.form == Form::chunkwise ? kWays[3] : kWays[4]; }

}  // namespace

TEST_CASE("Edges of sizes and states: every form equals the definition", "[retention][edges]") {
  unsigned seed = 0;
  for (const Sizes& sizes : kSizes)
    for (const Before before : kBefore)
      for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
        RetentionCase c = case_of(sizes, before, seed += 31, dtype);
        c.options.score_norm = seed % 4 ? ScoreNorm::paper : ScoreNorm::none;
        const Array expected = retention_by_definition(c);
        CAPTURE(c.B, c.H, c.N, c.dk, c.dv, c.C, static_cast<int>(before), name(dtype));
        for (const Way& way : kWays) {
          INFO(way.name);
          const Retained r = run_case(c, way, leaves(c, std::vector<bool>(5, false)));
          CHECK(difference(r.o.value(), expected, dtype == Dtype::f64 ? 1e-12 : 2e-5) == "");
          CHECK(r.state.pos == 5 + c.N);
        }
      }
}

TEST_CASE("Edges of sizes and states: the gradient of each result alone agrees with central differences",
          "[retention][edges][law4]") {
  unsigned seed = 1000;
  int proven[3][5] = {}, zero[3][5] = {};
  for (const Sizes& sizes : kSizes) {
    if (sizes.B * sizes.H * sizes.N > 20) continue;
    for (const Before before : kBefore)
      for (int which = 0; which < 3; ++which) {
        const RetentionCase c = case_of(sizes, before, seed += 31);
        CAPTURE(c.B, c.H, c.N, c.dk, c.dv, c.C, static_cast<int>(before), kResults[which]);
        for (const Way& way : kWays)
          for (std::size_t i = 0; i < 5; ++i) {
            if (!kOperandsOf[which][i]) continue;
            INFO(way.name << " by " << kOperands[i]);
            const std::vector<Variable> all = leaves(c, std::vector<bool>(5, false));
            const auto f = [&](const std::vector<Variable>& x) {
              std::vector<Variable> operand = all;
              operand[i] = x[0];
              return result_of(run_case(c, way, operand), which);
            };
            const std::string problem = gradient_problem(f, {all[i].value()}, {1e-6, seed, 3});
            // The divisor alone depends on z, and q cancels in a single step's: where it is not at work, or
            // is, their gradients are zero, by the rule and by differences.
            const bool none = which == 0 && problem.find("can prove nothing") != std::string::npos;
            CHECK((none ? "" : problem) == "");
            ++(none ? zero : proven)[which][i];
          }
      }
  }
  for (int which = 0; which < 3; ++which)
    for (std::size_t i = 0; i < 5; ++i)
      if (kOperandsOf[which][i]) CHECK(proven[which][i] > zero[which][i]);
}

TEST_CASE("A gradient wanted of one result or of one operand is that of all of them, in every form",
          "[retention][edges]") {
  unsigned seed = 5000;
  for (const Sizes& sizes : kSizes)
    for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
      seed += 31;
      const RetentionCase c = case_of(sizes, kBefore[seed % 4], seed, dtype);
      const double tolerance = dtype == Dtype::f64 ? 1e-12 : 2e-5;
      CAPTURE(c.B, c.H, c.N, c.dk, c.dv, c.C, name(dtype));
      for (const Way& way : kWays)
        for (int which = 0; which < 3; ++which) {
          const std::vector<Tensor> all = gradients_of(c, way, which, std::vector<bool>(5, true)),
                                    expected = gradients_of(c, kWays[4], which, std::vector<bool>(5, true));
          for (std::size_t i = 0; i < 5; ++i) {
            INFO(way.name << ": " << kResults[which] << " by " << kOperands[i]);
            REQUIRE(all[i].defined() == kOperandsOf[which][i]);
            if (!all[i].defined()) continue;
            CHECK(difference(all[i], expected[i], tolerance) == "");
            std::vector<bool> one(5, false);
            one[i] = true;
            const std::vector<Tensor> alone = gradients_of(c, way, which, one);
            CHECK(difference(alone[i], all[i], dtype == Dtype::f64 ? 1e-13 : 1e-6) == "");
            for (std::size_t j = 0; j < 5; ++j) CHECK(alone[j].defined() == (j == i));
          }
        }
    }
}

TEST_CASE("Scores that sum to exactly zero leave an output of zero and the gradients of their neighbours",
          "[retention][edges][eqR4]") {
  for (const Sizes& sizes : {Sizes{1, 1, 6, 2, 2, 3}, Sizes{4, 4, 6, 2, 3, 4}})
    for (const int what : {0, 1, 2, 3}) {
      RetentionCase c = case_of(sizes, Before::nothing, 77);
      const auto rows = [&](const Tensor& x) { return slice(x, 2, 1, 4); };
      const auto clear = [](const Tensor& x) { copy_into(x, Tensor::zeros(x.shape(), x.dtype())); };
      if (what == 0) clear(rows(c.q));
      if (what == 1) clear(c.k);
      if (what == 2) clear(c.v);
      if (what == 3) clear(select(c.q, 3, 1)), clear(select(c.k, 3, 0));  // orthogonal, and no row is zero
      for (const Dtype dtype : {Dtype::f64, Dtype::f32})
        for (const Way& way : kWays) {
          RetentionCase d = c;
          for (Tensor* x : {&d.q, &d.k, &d.v, &d.S, &d.z, &d.do_, &d.dS, &d.dz}) *x = in_dtype(*x, dtype);
          CAPTURE(way.name, what, name(dtype), d.B);
          const Retained r = run_case(d, way, leaves(d, std::vector<bool>(5, false)));
          const Tensor zero = what == 0 ? rows(r.o.value()) : r.o.value();
          CHECK(difference(contiguous(zero), Tensor::zeros(zero.shape(), dtype), 0) == "");
          const RetentionResult result = run_with_gradients(d, {{way, d.N}}),
                                expected = run_with_gradients(d, {{kWays[4], d.N}});
          for (std::size_t i = 0; i < result.tensors.size(); ++i) {
            INFO(kResultNames[i]);
            CHECK(std::isfinite(sum_squares(contiguous(result.tensors[i]))));
            CHECK(difference(result.tensors[i], expected.tensors[i], dtype == Dtype::f64 ? 1e-12 : 2e-5) ==
                  "");
          }
        }
      const auto f = [&](const std::vector<Variable>& x) {
        return run_case(c, kWays[2], {x[0], x[1], x[2], Variable(c.S), Variable(c.z)}).o;
      };
      const auto with_q = [&](const std::vector<Variable>& x) {
        return f({x[0], Variable(c.k), Variable(c.v)});
      };
      if (what == 0 || what == 3) CHECK(gradient_problem(with_q, {c.q}) == "");
    }
}

TEST_CASE(
    "At the kink of the divisor, |q z| = sqrt(s), the gradient is that of |q z|, exactly and in every form",
    "[retention][edges][eqG13]") {
  // With gamma = 1 and no state before, s is 1, 2, 3, 4: its root is exact at the first and the fourth step.
  for (const std::int64_t H : {1, 16})
    for (const Dtype dtype : {Dtype::f64, Dtype::f32})
      for (const double sign : {1.0, -1.0})
        for (const double larger : {1.0, 0.75, 1.25}) {  // on the kink, below it, above it
          RetentionCase c = case_of({1, H, 5, 2, 3, 4}, Before::nothing, 4, dtype);
          c.options.gamma.assign(static_cast<std::size_t>(H), 1.0), c.s.assign(c.options.gamma.size(), 0.0);
          const Array q = array_of(c.q);
          write(c.k,
                make_array(c.k.shape(), [](const Index& i) { return i[2] == 0 ? i[3] == 0 : i[3] == 1; }));
          write(c.q, make_array(c.q.shape(), [&](const Index& i) {
                  if (i[2] == 0) return i[3] == 0 ? sign * larger : 0.0;       // q z = +-1
                  if (i[2] == 3) return i[3] == 0 ? -2 * sign * larger : 0.0;  // q z = -+2
                  return element(q, i);
                }));
          for (const bool differentiate : {true, false})
            for (const Way& way : kWays) {
              c.options.score_norm_gradient = differentiate;
              CAPTURE(way.name, name(dtype), H, sign, larger, differentiate);
              const std::vector<Tensor> of = gradients_of(c, way, 0, std::vector<bool>(5, true)),
                                        expected =
                                            gradients_of(c, composed(way), 0, std::vector<bool>(5, true));
              for (std::size_t i = 0; i < 4; ++i)
                CHECK(difference(of[i], expected[i], dtype == Dtype::f64 ? 1e-13 : 1e-6) == "");
              // Only through the divisor do outputs depend on z.
              if (of[4].defined() && expected[4].defined())
                CHECK(difference(of[4], expected[4], dtype == Dtype::f64 ? 1e-13 : 1e-6) == "");
              else
                CHECK((!differentiate && (!of[4].defined() || sum_squares(of[4]) == 0)));
              // Where the divisor is |q z|, a longer q changes nothing: dq q = 0.
              const Array along = array_of(sum(mul(of[0], c.q), -1, false));
              for (const std::int64_t n : {0, 3}) {
                const double slope = std::abs(element(along, {0, H - 1, n}));
                if (differentiate && larger >= 1)
                  CHECK(slope < 1e-5);
                else
                  CHECK(slope > 1e-3);
              }
            }
        }
}

TEST_CASE("Edges on the GPU are those on the CPU", "[gpu][retention][edges]") {
  RETNET_NEEDS_GPU();
  unsigned seed = 9000;
  for (const Sizes& sizes : kSizes)
    for (const Before before : kBefore)
      for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
        const RetentionCase c = case_of(sizes, before, seed += 31, dtype);
        RetentionCase there = c;
        for (Tensor* x : {&there.q, &there.k, &there.v, &there.S, &there.z, &there.do_, &there.dS, &there.dz})
          *x = x->to(Device::hip);
        CAPTURE(c.B, c.H, c.N, c.dk, c.dv, c.C, static_cast<int>(before), name(dtype));
        for (const Way& way : {kWays[0], kWays[1], kWays[2]})
          for (int which = 0; which < 3; ++which) {
            const std::vector<Tensor> result = gradients_of(there, way, which, kOperandsOf[which]),
                                      expected = gradients_of(c, way, which, kOperandsOf[which]);
            // All gradients as one: that by q of a single step is zero but for rounding.
            std::vector<Tensor> there_flat, here_flat;
            for (std::size_t i = 0; i < 5; ++i) {
              REQUIRE(result[i].defined() == expected[i].defined());
              if (!result[i].defined()) continue;
              there_flat.push_back(reshape(contiguous(result[i].to(Device::cpu)), {-1}));
              here_flat.push_back(reshape(contiguous(expected[i]), {-1}));
            }
            INFO(way.name << ": " << kResults[which]);
            CHECK(normalized_square_error(concat(there_flat, 0), concat(here_flat, 0)) <=
                  (dtype == Dtype::f64 ? 1e-20 : 1e-7));
          }
      }
}

}  // namespace retnet::test
