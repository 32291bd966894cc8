// AdamW against the formula of its paper, written out in double.

#include "train/optimizer.h"

#include <cmath>
#include <limits>

#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet {
namespace {

using test::error_message;

Parameter parameter(const char* name, const Shape& shape, unsigned seed, Dtype dtype = Dtype::f64) {
  return {name, Variable(test::random(shape, seed, test::Layout::dense, dtype), true)};
}

/// One weight's course through all steps.
struct Reference {
  double w, m = 0, v = 0;

  void step(const TrainSettings& s, std::int64_t t, double gradient, double decay) {
    const double lr = learning_rate(s, t);
    m = s.beta1 * m + (1 - s.beta1) * gradient;
    v = s.beta2 * v + (1 - s.beta2) * gradient * gradient;
    const double m_hat = m / (1 - std::pow(s.beta1, t)), v_hat = v / (1 - std::pow(s.beta2, t));
    w -= lr * (m_hat / (std::sqrt(v_hat) + 1e-8) + decay * w);
  }
};

TEST_CASE("AdamW follows its formula, with decay on matrices and clipping by the global norm",
          "[train][optimizer]") {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    std::vector<Parameter> list{parameter("matrix", {3, 5}, 1, dtype), parameter("vector", {7}, 2, dtype)};
    std::vector<std::vector<Reference>> reference;
    for (const Parameter& p : list) {
      reference.emplace_back();
      for (const double w : p.variable.value().to_vector<double>()) reference.back().push_back({w});
    }
    TrainSettings s;
    s.steps = 20, s.warmup = 5, s.weight_decay = 0.3, s.clip = 3, s.learning_rate = 0.05;
    Optimizer optimizer(list);
    bool clipped = false, unclipped = false;
    for (std::int64_t t = 1; t <= 20; ++t) {
      double squares = 0;
      std::vector<std::vector<double>> gradients;
      for (Parameter& p : list) {
        const Tensor g =
            mul(test::random(p.variable.shape(), static_cast<unsigned>(10 * t), test::Layout::dense, dtype),
                t % 2 == 0 ? 2.0 : 0.3);
        p.variable.set_grad(g);
        gradients.push_back(g.to_vector<double>());
        for (const double x : gradients.back()) squares += x * x;
      }
      const GradientNorm measured = optimizer.gradient_norm(t, s.clip);
      const double norm = measured.global.norm.item();
      CHECK(norm == Approx(std::sqrt(squares)).epsilon(1e-12));
      optimizer.step(s, t, measured);
      const double scale = norm > s.clip ? s.clip / norm : 1;
      (scale < 1 ? clipped : unclipped) = true;
      for (std::size_t i = 0; i < list.size(); ++i)
        for (std::size_t j = 0; j < reference[i].size(); ++j)
          reference[i][j].step(s, t, scale * gradients[i][j], i == 0 ? s.weight_decay : 0);
      CHECK_FALSE(list[0].variable.grad().defined());
    }
    CHECK(clipped);
    CHECK(unclipped);
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::vector<double> expected;
      for (const Reference& r : reference[i]) expected.push_back(r.w);
      const Tensor want = Tensor::from(expected, list[i].variable.shape());
      CAPTURE(name(dtype));
      CHECK(test::difference(astype(list[i].variable.value(), Dtype::f64), want,
                             dtype == Dtype::f64 ? 1e-13 : 1e-5) == "");
    }
  }
}

TEST_CASE("without clipping a large gradient is not scaled", "[train][optimizer]") {
  Parameter p = parameter("w", {4}, 3);
  const Optimizer optimizer({p});
  p.variable.set_grad(Tensor::full({4}, 1e6, Dtype::f64));
  CHECK(optimizer.gradient_norm(1, 0).global.scale.item() == 1);
  CHECK(optimizer.gradient_norm(1, 1e6).global.scale.item() == 0.5);
}

TEST_CASE("a gradient that is not finite changes no weight and no moment", "[train][optimizer]") {
  TrainSettings s;
  Parameter p = parameter("w", {4}, 3), other = parameter("other", {4}, 4);
  const Tensor before = clone(p.variable.value());
  Optimizer optimizer({p, other});
  p.variable.set_grad(test::random({4}, 5));
  other.variable.set_grad(Tensor::full({4}, std::numeric_limits<double>::infinity(), Dtype::f64));
  optimizer.step(s, 1, optimizer.gradient_norm(1, s.clip));
  CHECK(test::bit_difference(p.variable.value(), before) == "");
  CHECK(test::bit_difference(optimizer.moments()[0].m, Tensor::zeros({4}, Dtype::f64)) == "");
}

TEST_CASE("the first gradient that is missing or not finite is named with its step", "[train][optimizer]") {
  std::vector<Parameter> list{parameter("first", {3}, 1), parameter("second", {2, 2}, 2),
                              parameter("third", {1}, 3)};
  const Optimizer optimizer(list);
  for (std::size_t bad = 0; bad < list.size(); ++bad)
    for (const double value :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      for (Parameter& p : list) p.variable.set_grad(Tensor::full(p.variable.shape(), 1, Dtype::f64));
      list[bad].variable.set_grad(Tensor::full(list[bad].variable.shape(), value, Dtype::f64));
      CHECK(error_message([&] { optimizer.check(optimizer.gradient_norm(12, 1), 12); }) ==
            "train: the gradient of " + list[bad].name + " at step 12 is not finite");
    }
  list[1].variable.zero_grad();
  list[2].variable.set_grad(Tensor::full({1}, 1, Dtype::f64));
  list[0].variable.set_grad(Tensor::full({3}, 1, Dtype::f64));
  CHECK(error_message([&] { optimizer.gradient_norm(12, 1); }) ==
        "train: the gradient of second at step 12 is missing");
}

}  // namespace
}  // namespace retnet
