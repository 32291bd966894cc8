// gradcheck proves itself before it judges anything else: what must pass passes, and every way to be wrong
// fails, with the message that says which.

#include "tests/support/gradcheck.h"

#include <cmath>
#include <limits>

#include "autograd/functions.h"
#include "tests/support/temporary_folder.h"

namespace retnet::test {
namespace {

/// y = x^3 with a rule made from the right one, 3 x^2 dy.
CheckedFunction cube(std::function<Tensor(const Tensor& right)> change) {
  return [change](const std::vector<Variable>& in) {
    const Tensor x = in[0].value();
    return record("cube", mul(x, square(x)), {in[0]}, [x, change](const Tensor& dy) {
      return std::vector<Tensor>{change(mul(mul(square(x), 3), dy))};
    });
  };
}

GradcheckResult check(const CheckedFunction& f, const Shape& shape = {2, 3}) {
  return gradcheck(f, {Variable(random(shape, 4), true)});
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A rule with wrong numbers: it fails, naming the element, by an error that is not small.
void check_refused(const GradcheckResult& result, const std::string& message) {
  INFO(result.message);
  CHECK(!result.ok);
  CHECK(contains(result.message, message));
  CHECK(!(result.worst < 1e-2));
}

TEST_CASE("gradcheck passes a right rule, far below its tolerance", "[gradcheck]") {
  const GradcheckResult result = check(cube([](const Tensor& right) { return right; }));
  INFO(result.message);
  CHECK(result.ok);
  CHECK(result.checked == 6);
  CHECK(result.worst <= 1e-9);  // measured 4e-11
  CHECK(contains(result.message, "relative error"));
}

TEST_CASE("gradcheck fails rules with wrong numbers", "[gradcheck]") {
  check_refused(check(cube([](const Tensor& right) { return mul(right, -5); })), "central difference");
  check_refused(check(cube([](const Tensor& right) { return mul(right, 1.0 / 3); })), "central difference");
  check_refused(check(cube([](const Tensor& right) { return mul(right, 0); })), "central difference");
}

TEST_CASE("gradcheck fails a missing factor of softmax", "[gradcheck]") {
  // dx = y (dy - sum(dy y)) without the y in front: a mistake that an all-ones cotangent cannot see.
  const CheckedFunction f = [](const std::vector<Variable>& in) {
    const Tensor y = softmax(in[0].value());
    return record("softmax", y, {in[0]},
                  [y](const Tensor& dy) { return std::vector<Tensor>{sub(dy, sum(mul(dy, y), -1, true))}; });
  };
  check_refused(check(f), "central difference");
}

TEST_CASE("gradcheck finds the one wrong element", "[gradcheck]") {
  for (const std::int64_t wrong : {0, 3, 5}) {
    const GradcheckResult result = check(cube([wrong](const Tensor& right) {
      std::vector<double> values = right.to_vector<double>();
      values[static_cast<std::size_t>(wrong)] += 0.5;
      return Tensor::from(values, right.shape());
    }));
    check_refused(result, "input 0, element " + std::to_string(wrong) + ": central difference");
  }
}

TEST_CASE("gradcheck finds the wrong one of several inputs", "[gradcheck]") {
  const CheckedFunction f = [](const std::vector<Variable>& in) {
    const Tensor a = in[0].value(), b = in[1].value();
    return record("mul", mul(a, b), in, [a, b](const Tensor& dy) {
      return std::vector<Tensor>{mul(dy, b), mul(dy, b)};  // the second should be dy a
    });
  };
  const GradcheckResult result =
      gradcheck(f, {Variable(random({3}, 1), true), Variable(random({3}, 2), true)});
  check_refused(result, "input 1, element ");
}

TEST_CASE("gradcheck fails NaN and infinity, in the rule or in the value", "[gradcheck]") {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, infinity, -infinity}) {
    const GradcheckResult result = check(cube([bad](const Tensor& right) {
      std::vector<double> values = right.to_vector<double>();
      values[2] = bad;
      return Tensor::from(values, right.shape());
    }));
    INFO(result.message);
    CHECK(!result.ok);
    CHECK(contains(result.message, "input 0, element 2"));
    CHECK(!std::isfinite(result.worst));
  }
  const Variable negative(Tensor::full({2}, -1, Dtype::f64), true);
  const GradcheckResult result = gradcheck([](const auto& in) { return log(in[0]); }, {negative});
  INFO(result.message);
  CHECK(!result.ok);
  CHECK(std::isnan(result.worst));
}

TEST_CASE("gradcheck refuses a cotangent that can prove nothing", "[gradcheck]") {
  // The outputs of softmax sum to 1, so under an all-ones cotangent every gradient is 0, and so is that of
  // any multiple of the right rule.
  const Variable x(random({2, 5}, 4), true);
  const Tensor ones = Tensor::full({2, 5}, 1, Dtype::f64);
  for (const double factor : {1.0, -5.0}) {
    const CheckedFunction f = [factor](const std::vector<Variable>& in) {
      const Tensor y = softmax(in[0].value());
      return record("softmax", y, {in[0]}, [y, factor](const Tensor& dy) {
        return std::vector<Tensor>{mul(softmax_grad(y, dy), factor)};
      });
    };
    const GradcheckResult result = gradcheck(f, {x}, ones, {});
    INFO(result.message);
    CHECK(!result.ok);
    CHECK(result.message ==
          "input 0: all 10 central differences are about 0, so this check can prove nothing; use other "
          "inputs or "
          "another cotangent");
    CHECK(gradcheck(f, {x}).ok == (factor == 1));
  }
}

TEST_CASE("gradcheck fails a rule that differs from pass to pass", "[gradcheck]") {
  int calls = 0;
  const GradcheckResult result =
      check(cube([&calls](const Tensor& right) { return add(right, 1e-12 * calls++); }));
  CHECK(!result.ok);
  CHECK(result.message == "two backward passes over one graph gave different gradients");
}

TEST_CASE("gradcheck fails a rule that gives no gradient", "[gradcheck]") {
  const GradcheckResult result = check(cube([](const Tensor&) { return Tensor(); }));
  CHECK(!result.ok);
  CHECK(result.message == "input 0: the rules gave no gradient");
}

TEST_CASE("gradcheck reports rules of the wrong shape, dtype or number as errors", "[gradcheck]") {
  CHECK(error_message([] { check(cube([](const Tensor& right) { return sum(right, 0); })); }) ==
        "backward: the rule of cube returned a gradient [3] f64 for input 0, which is [2, 3] f64");
  CHECK(error_message([] { check(cube([](const Tensor& right) { return astype(right, Dtype::f32); })); }) ==
        "backward: the rule of cube returned a gradient [2, 3] f32 for input 0, which is [2, 3] f64");
  const CheckedFunction twice = [](const std::vector<Variable>& in) {
    return record("id", in[0].value(), in, [](const Tensor& dy) { return std::vector<Tensor>{dy, dy}; });
  };
  CHECK(error_message([&] { check(twice); }) == "backward: the rule of id returned 2 gradients for 1 inputs");
}

TEST_CASE("gradcheck refuses inputs that it cannot judge", "[gradcheck]") {
  const CheckedFunction f = [](const auto& in) { return square(in[0]); };
  CHECK(error_message([&] { gradcheck(f, {Variable(random({2}, 1, Layout::dense, Dtype::f32), true)}); }) ==
        "gradcheck: inputs must be f64, got f32");
  CHECK(error_message([&] { gradcheck(f, {Variable(random({2}, 1))}); }) ==
        "gradcheck: no input requires a gradient");
  const CheckedFunction single = [](const auto& in) { return astype(in[0], Dtype::f32); };
  CHECK(error_message([&] { check(single); }) != "no error");
}

TEST_CASE("gradcheck takes inputs without elements, and constants", "[gradcheck]") {
  const GradcheckResult empty = check([](const auto& in) { return square(in[0]); }, {2, 0});
  CHECK(empty.ok);
  CHECK(empty.checked == 0);
  const CheckedFunction f = [](const auto& in) { return mul(in[0], in[1]); };
  const GradcheckResult half = gradcheck(f, {Variable(random({3}, 1), true), Variable(random({3}, 2))});
  CHECK(half.ok);
  CHECK(half.checked == 3);
}

TEST_CASE("gradcheck spreads a limited number of elements over the input", "[gradcheck]") {
  GradcheckOptions options;
  options.most_elements = 4;
  const Variable x(random({100}, 4), true);
  CHECK(gradcheck([](const auto& in) { return square(in[0]); }, {x}, options).checked == 4);
  const auto wrong_at_75 = cube([](const Tensor& right) {
    std::vector<double> values = right.to_vector<double>();
    values[75] += 1;
    return Tensor::from(values, right.shape());
  });
  CHECK(!gradcheck(wrong_at_75, {x}, options).ok);
}

TEST_CASE("gradcheck keeps the layout of a strided input", "[gradcheck]") {
  // A function that is right only for strided inputs passes, so the strided input did reach it.
  const CheckedFunction f = [](const std::vector<Variable>& in) {
    const double factor = in[0].value().is_contiguous() ? 100 : 2;
    return record("scale", mul(in[0].value(), factor), in,
                  [](const Tensor& dy) { return std::vector<Tensor>{mul(dy, 2)}; });
  };
  CHECK(gradient_problem(f, {random({3, 4}, 1, Layout::transposed)}) == "");
  CHECK(gradient_problem(f, {random({3, 4}, 1, Layout::stepped)}) == "");
  CHECK(gradient_problem(f, {random({3, 4}, 1, Layout::dense)}) != "");
}

}  // namespace
}  // namespace retnet::test
