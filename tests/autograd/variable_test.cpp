// Variables, the graph and backward(): depth, width, sharing, memory, and every way to use them wrongly.

#include "autograd/variable.h"

#include <thread>

#include "autograd/functions.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

Variable leaf(double value, Dtype dtype = Dtype::f64) { return Variable(Tensor::scalar(value, dtype), true); }

TEST_CASE("a chain of a million operations builds, differentiates and is destroyed", "[autograd][graph]") {
  for (const Graph graph : {Graph::keep, Graph::release}) {
    const Variable x = leaf(2);
    {
      Variable y = x;
      for (int i = 0; i < 1'000'000; ++i) y = add(y, 0.5);
      CHECK(y.value().item() == 500002);
      backward(y, graph);
    }
    CHECK(x.grad().item() == 1);
  }
}

TEST_CASE("a chain that needs no gradient keeps no history", "[autograd][graph]") {
  Variable x(Tensor::scalar(2));
  const std::int64_t before = memory_stats().live;
  for (int i = 0; i < 1000; ++i) x = add(x, 1);
  CHECK(memory_stats().live == before);
}

TEST_CASE("a value used by many operations collects all their gradients", "[autograd][graph]") {
  const Variable x = leaf(3);
  std::vector<Variable> parts;
  for (int i = 1; i <= 10000; ++i) parts.push_back(unsqueeze(mul(x, i), 0));
  backward(sum(concat(parts, 0)));
  CHECK(x.grad().item() == 10000 * 10001 / 2);
}

TEST_CASE("a ladder of diamonds visits each operation once, not once a path", "[autograd][graph]") {
  // y_{i+1} = y_i + y_i: 2^40 paths lead to x.
  const Variable x = leaf(1);
  int visits = 0;
  Variable y = x;
  for (int i = 0; i < 40; ++i)
    y = record("twice", add(y.value(), y.value()), {y, y}, [&visits](const Tensor& dy) {
      ++visits;
      return std::vector<Tensor>{dy, dy};
    });
  backward(y);
  CHECK(visits == 40);
  CHECK(x.grad().item() == 0x1p40);
}

TEST_CASE("an operation waits for all its users, whatever the order they were made in", "[autograd][graph]") {
  const Variable x = leaf(2);
  const Variable a = square(x);        // 4
  const Variable late = mul(a, x);     // x^3
  const Variable early = add(a, 1);    // x^2 + 1
  backward(mul(late, mul(early, a)));  // x^3 (x^2 + 1) x^2 = x^7 + x^5
  CHECK(x.grad().item() == 7 * 64 + 5 * 16);
}

TEST_CASE("backward twice over a kept graph gives each time the same", "[autograd]") {
  const Variable x(random({3, 4}, 1), true);
  const Variable y = sum(mul(tanh(x), x));
  backward(y, Graph::keep);
  const Tensor once = clone(x.grad());
  backward(y, Graph::keep);
  CHECK(bit_difference(x.grad(), add(once, once)) == "");
}

TEST_CASE("gradients of several losses add up until they are forgotten", "[autograd]") {
  Variable x = leaf(3);
  backward(square(x));
  backward(mul(x, 10));
  CHECK(x.grad().item() == 16);
  x.zero_grad();
  CHECK(!x.grad().defined());
  backward(square(x));
  CHECK(x.grad().item() == 6);
}

TEST_CASE("a leaf's gradient is its own memory", "[autograd]") {
  // add() hands the same dy to both inputs, and dy belongs to the caller: writing to one must not show in
  // another.
  const Variable a(random({3}, 1), true), b(random({3}, 2), true);
  const Tensor dy = random({3}, 3), before = clone(dy);
  backward(add(a, b), dy);
  const Tensor a_gradient = a.grad();
  fill(a_gradient, 7);
  CHECK(bit_difference(b.grad(), before) == "");
  CHECK(bit_difference(dy, before) == "");
  const Variable c(random({3}, 4), true);
  backward(c, dy);  // a leaf is a graph as well
  CHECK(c.grad().storage() != dy.storage());
}

TEST_CASE("accumulation does not write to a gradient that someone else holds", "[autograd]") {
  // The rule hands out a tensor that it keeps; a sum that is formed in place would change it from pass to
  // pass.
  const Variable x(random({4}, 1), true);
  const Tensor kept = random({4}, 2), before = clone(kept);
  const auto rule = [kept](const Tensor&) { return std::vector<Tensor>{kept}; };
  const Variable y = record("a", x.value(), {x}, rule), z = record("b", x.value(), {x}, rule);
  const Tensor dx = gradients(add(y, z), random({4}, 3), {x})[0];
  CHECK(bit_difference(kept, before) == "");
  CHECK(bit_difference(dx, add(kept, kept)) == "");
}

TEST_CASE("only leaves that require a gradient and were reached get one", "[autograd]") {
  const Variable x = leaf(2), constant(Tensor::scalar(3, Dtype::f64)), unused = leaf(4);
  const Variable y = mul(x, constant);
  CHECK(y.requires_grad());
  CHECK(!mul(constant, constant).requires_grad());
  backward(y);
  CHECK(x.grad().item() == 3);
  CHECK(!constant.grad().defined());
  CHECK(!unused.grad().defined());
  CHECK(!y.grad().defined());
}

TEST_CASE("a rule may give no gradient to an input", "[autograd]") {
  const Variable a = leaf(2), b = leaf(3);
  const Variable y = record("first", a.value(), {a, b}, [](const Tensor& dy) {
    return std::vector<Tensor>{dy, Tensor()};
  });
  backward(y);
  CHECK(a.grad().item() == 1);
  CHECK(!b.grad().defined());
}

TEST_CASE("detach stops gradients and shares the value", "[autograd]") {
  const Variable x = leaf(3);
  const Variable fixed = square(x).detach();
  CHECK(!fixed.requires_grad());
  backward(mul(fixed, x));
  CHECK(x.grad().item() == 9);
  CHECK(x.detach().value().storage() == x.value().storage());
}

TEST_CASE("NoGrad records nothing, on this thread and in its scope only", "[autograd]") {
  const Variable x = leaf(3);
  CHECK(grad_enabled());
  {
    const NoGrad outer;
    CHECK(!grad_enabled());
    CHECK(!square(x).requires_grad());
    {
      const Recording on(true);
      CHECK(square(x).requires_grad());
      const NoGrad inner;
      CHECK(!grad_enabled());
    }
    CHECK(!grad_enabled());
    bool other = false;
    std::thread([&other] { other = grad_enabled(); }).join();
    CHECK(other);
  }
  CHECK(grad_enabled());
  // The rules run without recording, else a second graph would grow from each backward().
  bool recorded = true;
  backward(record("id", x.value(), {x}, [&recorded](const Tensor& dy) {
    recorded = grad_enabled();
    return std::vector<Tensor>{dy};
  }));
  CHECK(!recorded);
}

TEST_CASE("NoGrad ends with an exception too", "[autograd]") {
  CHECK_THROWS_AS(
      [] {
        const NoGrad no_grad;
        throw Error("out");
      }(),
      Error);
  CHECK(grad_enabled());
  const Variable x = leaf(1);
  CHECK_THROWS_AS(backward(record("bad", x.value(), {x},
                                  [](const Tensor&) -> std::vector<Tensor> { throw Error("out"); })),
                  Error);
  CHECK(grad_enabled());
}

TEST_CASE("gradients() touches no grad() and gives one tensor per input", "[autograd]") {
  const Variable x = leaf(2), y = leaf(5), unused = leaf(1);
  const std::vector<Tensor> d = gradients(mul(x, y), Tensor::scalar(1, Dtype::f64), {y, unused, x, y});
  CHECK(d[0].item() == 2);
  CHECK(!d[1].defined());
  CHECK(d[2].item() == 5);
  CHECK(d[3].item() == 2);
  CHECK(!x.grad().defined());
  CHECK(!y.grad().defined());
}

TEST_CASE("gradients() refuses leaves that it was not asked about, and results", "[autograd]") {
  const Variable x = leaf(2), y = leaf(5), square_of_x = square(x);
  const Tensor one = Tensor::scalar(1, Dtype::f64);
  CHECK(error_message([&] { gradients(mul(x, y), one, {x}); }) ==
        "gradients: the value depends on a leaf [] that requires a gradient and is not among the inputs; "
        "pass it as "
        "one");
  CHECK(error_message([&] {
          gradients(mul(square_of_x, y), one, {x, y, square_of_x});
        }) == "gradients: input 2 is the result of square; only leaves can be asked for");
}

TEST_CASE("what a rule returns is checked against its inputs", "[autograd]") {
  const Variable x(random({2, 3}, 1), true);
  const auto message = [&](std::function<std::vector<Tensor>(const Tensor&)> rule) {
    return error_message([&] { backward(record("op", x.value(), {x}, rule), x.value()); });
  };
  CHECK(message([](const Tensor& dy) { return std::vector<Tensor>{transpose(dy)}; }) ==
        "backward: the rule of op returned a gradient [3, 2] f64 for input 0, which is [2, 3] f64");
  CHECK(message([](const Tensor& dy) { return std::vector<Tensor>{astype(dy, Dtype::f32)}; }) ==
        "backward: the rule of op returned a gradient [2, 3] f32 for input 0, which is [2, 3] f64");
  CHECK(message([](const Tensor&) { return std::vector<Tensor>{}; }) ==
        "backward: the rule of op returned 0 gradients for 1 inputs");
  CHECK(!x.grad().defined());
}

TEST_CASE("backward refuses what it cannot differentiate", "[autograd]") {
  const Variable x(random({2, 3}, 1), true), constant(random({2, 3}, 1));
  CHECK(error_message([&] { backward(x); }) ==
        "backward: without dL/dy the value must have one element, got [2, 3]");
  CHECK(error_message([&] { backward(sum(constant)); }) ==
        "backward: nothing that this value was computed from requires a gradient");
  CHECK(error_message([&] {
          backward(square(x), random({3, 2}, 1));
        }) == "backward: the gradient must be [2, 3] f64, got [3, 2] f64");
  CHECK(error_message([&] {
          backward(square(x), random({2, 3}, 1, Layout::dense, Dtype::f32));
        }) == "backward: the gradient must be [2, 3] f64, got [2, 3] f32");
  // An undefined tensor has the shape and dtype of an f32 scalar, and must not pass for one.
  const Variable scalar = leaf(2, Dtype::f32);
  CHECK(error_message([&] { backward(square(scalar), Tensor()); }) ==
        "backward: the gradient must be [] f32, got an undefined tensor");
  CHECK(error_message([&] { backward(Variable(), Tensor()); }) == "variable: the variable is undefined");
}

TEST_CASE("set_value and set_grad keep shape and dtype, and history", "[autograd]") {
  Variable x(random({2, 3}, 1), true);
  x.set_value(Tensor::zeros({2, 3}, Dtype::f64));
  CHECK(x.value().at({1, 2}) == 0);
  CHECK(error_message([&] {
          x.set_value(random({3, 2}, 1));
        }) == "set_value: needs [2, 3] f64, got [3, 2] f64");
  CHECK(error_message([&] {
          x.set_grad(random({2, 3}, 1, Layout::dense, Dtype::f32));
        }) == "set_grad: needs [2, 3] f64, got [2, 3] f32");
  Variable scalar = leaf(2, Dtype::f32), y = square(scalar);
  CHECK(error_message([&] { scalar.set_value(Tensor()); }) ==
        "set_value: needs [] f32, got an undefined tensor");
  CHECK(error_message([&] { scalar.set_grad(Tensor()); }) ==
        "set_grad: needs [] f32, got an undefined tensor");
  CHECK(error_message([&] { y.set_value(Tensor::scalar(1)); }) ==
        "set_value: the variable is the result of square; only a leaf can be set");
  // The graph saved the value that it was computed from.
  const Variable z = square(x);
  x.set_value(Tensor::full({2, 3}, 9, Dtype::f64));
  backward(sum(z));
  CHECK(x.grad().at({0, 0}) == 0);
}

TEST_CASE("variables need a tensor, and a floating one to be differentiated", "[autograd]") {
  CHECK(error_message([] { Variable x{Tensor()}; }) == "variable: the tensor is undefined");
  CHECK(error_message([] { Variable x(Tensor::arange(3, Dtype::i32), true); }) ==
        "variable: only floating tensors have gradients, got i32");
  CHECK(error_message([] { Variable().value(); }) == "variable: the variable is undefined");
  CHECK(!Variable().defined());
}

}  // namespace
}  // namespace retnet::test
