// The gradient formulas of docs/equations.md, (G1) to (G9), written out in loops and compared with what the recorded
// rules give. The checks against central differences are elsewhere (tests/autograd); these hold the book to its word.

#include <cmath>

#include "autograd/functions.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr double kTolerance = 1e-13;

/// Element (i, j) of a matrix.
double at(const Array& x, std::int64_t i, std::int64_t j) { return element(x, {i, j}); }

/// Variables to differentiate with respect to.
std::vector<Variable> leaves(const std::vector<Tensor>& values) {
  std::vector<Variable> result;
  for (const Tensor& value : values) result.emplace_back(value, true);
  return result;
}

/// "" when the rules of y, for a random cotangent, give the gradients that `formula(dy)` says.
template <class Formula>
std::string formula_problem(const Variable& y, const std::vector<Variable>& inputs, Formula&& formula) {
  const Tensor dy = random(y.shape(), 71);
  const std::vector<Tensor> rules = gradients(y, dy, inputs);
  const std::vector<Array> book = formula(array_of(dy));
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (const std::string problem = difference(rules[i], book[i], kTolerance); !problem.empty()) return problem;
  return "";
}

/// Sum of f(0) .. f(n-1).
template <class F>
double sum_of(std::int64_t n, F&& f) {
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += f(i);
  return total;
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double normal_cdf(double x) { return 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }
double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846); }

TEST_CASE("Eq. (G1): gradients of a matrix product", "[docs][eqG1]") {
  const std::int64_t m = 3, k = 5, n = 4;
  const auto in = leaves({random({m, k}, 1), random({k, n}, 2)});
  const Array A = array_of(in[0].value()), B = array_of(in[1].value());
  CHECK(formula_problem(matmul(in[0], in[1]), in, [&](const Array& dC) {
          return std::vector<Array>{
              make_array({m, k}, [&](const Index& i) {
                return sum_of(n, [&](std::int64_t j) { return at(dC, i[0], j) * at(B, i[1], j); });
              }),
              make_array({k, n}, [&](const Index& i) {
                return sum_of(m, [&](std::int64_t j) { return at(A, j, i[0]) * at(dC, j, i[1]); });
              })};
        }) == "");
}

TEST_CASE("Eq. (G2): an operand that was repeated receives the sum", "[docs][eqG2]") {
  const auto in = leaves({random({4}, 1)});
  CHECK(formula_problem(broadcast_to(in[0], {3, 4}), in, [](const Array& dy) {
          return std::vector<Array>{make_array(
              {4}, [&](const Index& j) { return sum_of(3, [&](std::int64_t i) { return at(dy, i, j[0]); }); })};
        }) == "");
}

TEST_CASE("Eq. (G3): gradient of softmax", "[docs][eqG3]") {
  const auto in = leaves({random({3, 6}, 1)});
  const Variable y = softmax(in[0]);
  const Array p = array_of(y.value());
  CHECK(formula_problem(y, in, [&](const Array& dy) {
          return std::vector<Array>{make_array({3, 6}, [&](const Index& i) {
            const double dot = sum_of(6, [&](std::int64_t j) { return at(dy, i[0], j) * at(p, i[0], j); });
            return element(p, i) * (element(dy, i) - dot);
          })};
        }) == "");
}

TEST_CASE("Eq. (G4): gradient of the cross-entropy", "[docs][eqG4]") {
  const auto in = leaves({random({3, 6}, 1)});
  const Tensor targets = Tensor::from(std::vector<std::int32_t>{5, 0, 2}, {3});
  const Array p = array_of(softmax(in[0].value())), t = array_of(targets);
  CHECK(formula_problem(cross_entropy(in[0], targets), in, [&](const Array& dloss) {
          return std::vector<Array>{make_array({3, 6}, [&](const Index& i) {
            const double onehot = element(t, {i[0]}) == static_cast<double>(i[1]) ? 1 : 0;
            return element(dloss, {i[0]}) * (element(p, i) - onehot);
          })};
        }) == "");
}

TEST_CASE("Eq. (G5): gradient of a normalised row, centred and not, at any epsilon", "[docs][eqG5]") {
  const std::int64_t n = 7;
  const auto in = leaves({random({3, n}, 1)});
  for (const bool center : {true, false})
    for (const double eps : {0.0, 1e-5, 0.5}) {
      CAPTURE(center, eps);
      const Variable y = normalize(in[0], eps, center);
      const Array x = array_of(in[0].value()), v = array_of(y.value());
      CHECK(formula_problem(y, in, [&](const Array& dy) {
              return std::vector<Array>{make_array({3, n}, [&](const Index& i) {
                const auto mean = [&](auto&& f) { return sum_of(n, f) / static_cast<double>(n); };
                const double m = center ? mean([&](std::int64_t j) { return at(x, i[0], j); }) : 0;
                const double u = eps + mean([&](std::int64_t j) { return std::pow(at(x, i[0], j) - m, 2); });
                const double mean_dy = center ? mean([&](std::int64_t j) { return at(dy, i[0], j); }) : 0;
                const double mean_dyy = mean([&](std::int64_t j) { return at(dy, i[0], j) * at(v, i[0], j); });
                return (element(dy, i) - mean_dy - element(v, i) * mean_dyy) / std::sqrt(u);
              })};
            }) == "");
    }
}

TEST_CASE("Eq. (G6): gradient of swish", "[docs][eqG6]") {
  const auto in = leaves({random({9}, 1)});
  const Array x = array_of(in[0].value());
  CHECK(formula_problem(swish(in[0]), in, [&](const Array& dy) {
          return std::vector<Array>{make_array({9}, [&](const Index& i) {
            const double s = sigmoid_of(element(x, i));
            return element(dy, i) * s * (1 + element(x, i) * (1 - s));
          })};
        }) == "");
}

TEST_CASE("Eq. (G7): gradient of gelu", "[docs][eqG7]") {
  const auto in = leaves({random({9}, 1)});
  const Array x = array_of(in[0].value());
  CHECK(formula_problem(gelu(in[0]), in, [&](const Array& dy) {
          return std::vector<Array>{make_array({9}, [&](const Index& i) {
            const double v = element(x, i);
            return element(dy, i) * (normal_cdf(v) + v * normal_density(v));
          })};
        }) == "");
}

TEST_CASE("Eq. (G8): the gradient of a rotation is the rotation back", "[docs][eqG8]") {
  const std::int64_t N = 3, pairs = 2;
  const auto in = leaves({random({2, N, 2, 2 * pairs}, 1)});
  const auto angle = [](std::int64_t n, std::int64_t j) { return 0.3 + 0.7 * static_cast<double>(n * pairs + j); };
  std::vector<double> cosines, sines;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t j = 0; j < pairs; ++j)
      cosines.push_back(std::cos(angle(n, j))), sines.push_back(std::sin(angle(n, j)));
  const Tensor c = Tensor::from(cosines, {N, pairs}), s = Tensor::from(sines, {N, pairs});
  CHECK(formula_problem(rotate(in[0], c, s), in, [&](const Array& dy) {
          return std::vector<Array>{make_array({2, N, 2, 2 * pairs}, [&](const Index& i) {
            const double a = -angle(i[1], i[3] / 2);  // (a, b) times ((cos, sin), (-sin, cos))
            const double first = element(dy, {i[0], i[1], i[2], i[3] / 2 * 2});
            const double second = element(dy, {i[0], i[1], i[2], i[3] / 2 * 2 + 1});
            return i[3] % 2 == 0 ? first * std::cos(a) - second * std::sin(a)
                                 : first * std::sin(a) + second * std::cos(a);
          })};
        }) == "");
}

TEST_CASE("Eq. (G9): a row of a table receives the sum of what read it", "[docs][eqG9]") {
  const auto in = leaves({random({4, 3}, 1)});
  const std::vector<std::int32_t> ids{2, 0, 2, 3, 2};
  CHECK(formula_problem(embedding(in[0], Tensor::from(ids, {5})), in, [&](const Array& dy) {
          return std::vector<Array>{make_array({4, 3}, [&](const Index& e) {
            return sum_of(5, [&](std::int64_t i) {
              return ids[static_cast<std::size_t>(i)] == e[0] ? at(dy, i, e[1]) : 0;
            });
          })};
        }) == "");
}

}  // namespace
}  // namespace retnet::test
