// What the graph holds on to: releasing it as backward() goes, and computing it again instead of keeping it.

#include "autograd/functions.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr std::int64_t kElements = 1 << 16;
constexpr std::int64_t kBytes = kElements * 8;  // of one f64 tensor

/// Twenty operations, each of which saves a tensor for its rule.
Variable tower(const Variable& x) {
  Variable y = x;
  for (int i = 0; i < 20; ++i) y = tanh(y);
  return y;
}

TEST_CASE("a released graph frees what it saved as it goes", "[autograd][memory]") {
  const Variable x(random({kElements}, 1), true);
  const auto peak_of_backward = [&](Graph graph) {
    const Variable loss = sum(tower(x));
    reset_peak_memory();
    const std::int64_t before = memory_stats().live;
    backward(loss, graph);
    const std::int64_t after = memory_stats().live, peak = memory_stats().peak;
    if (graph == Graph::release) {
      CHECK(before - after >= 18 * kBytes);  // one of the twenty became the gradient's place
    } else {
      CHECK(after >= before);
    }
    return peak - before;
  };
  CHECK(peak_of_backward(Graph::keep) <= 4 * kBytes);
  CHECK(peak_of_backward(Graph::release) <= 4 * kBytes);
}

TEST_CASE("a released graph cannot be walked again, and says so", "[autograd][memory]") {
  const Variable x(random({4}, 1), true);
  const Variable y = square(x), loss = sum(y);
  backward(loss, Graph::release);
  const Tensor once = clone(x.grad());
  CHECK(error_message([&] { backward(loss); }) ==
        "backward: the graph of sum was released by an earlier backward()");
  // Also when only a part of it is shared.
  CHECK(error_message([&] { backward(sum(neg(y))); }) ==
        "backward: the graph of square was released by an earlier backward()");
  CHECK(bit_difference(x.grad(), once) == "");
}

TEST_CASE("a released value that someone holds keeps nothing but itself", "[autograd][memory]") {
  const Variable x(random({kElements}, 1), true);
  const Variable y = mul(tanh(x), neg(x)), loss = sum(y);  // the rule of mul saved both factors
  const std::int64_t before = memory_stats().live;
  backward(loss, Graph::release);
  CHECK(memory_stats().live - before < 0);  // two factors less, one gradient more
}

TEST_CASE("leaves survive a release", "[autograd][memory]") {
  const Variable x(random({4}, 1), true);
  backward(sum(square(x)), Graph::release);
  backward(sum(square(x)), Graph::release);
  CHECK(bit_difference(x.grad(), mul(x.value(), 4)) == "");
}

TEST_CASE("a graph that goes out of scope frees its tensors", "[autograd][memory]") {
  const Variable x(random({kElements}, 1), true);
  const std::int64_t before = memory_stats().live;
  { tower(x); }
  CHECK(memory_stats().live == before);
}

using Function = std::function<Variable(const std::vector<Variable>&)>;

/// Value and gradients of sum(w . f(inputs)) with f plain or recomputed, and the peak of memory above the
/// start.
std::vector<Tensor> run(const Function& f, const std::vector<Variable>& inputs, bool again,
                        std::int64_t* peak) {
  reset_peak_memory();
  const std::int64_t before = memory_stats().live;
  const Variable y = again ? recompute(f, inputs) : f(inputs);
  std::vector<Tensor> result = gradients(y, random(y.shape(), 8, Layout::dense, y.dtype()), inputs);
  if (peak) *peak = memory_stats().peak - before;
  result.push_back(y.value());
  return result;
}

void check_recompute(const Function& f, const std::vector<Variable>& inputs) {
  const std::vector<Tensor> plain = run(f, inputs, false, nullptr), again = run(f, inputs, true, nullptr);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    REQUIRE(plain[i].defined() == again[i].defined());
    if (plain[i].defined()) CHECK(bit_difference(again[i], plain[i]) == "");
  }
}

TEST_CASE("recompute gives the bits of the plain computation", "[autograd][memory]") {
  const Variable x(random({5, 7}, 1), true), w(random({7, 3}, 2), true), c(random({3}, 3));
  check_recompute([](const auto& in) { return softmax(add(matmul(in[0], in[1]), in[2])); }, {x, w, c});
  check_recompute([](const auto& in) { return mul(in[0], in[0]); }, {x});
  check_recompute([](const auto& in) { return mul(in[0], in[1]); }, {x, x});
  check_recompute([](const auto& in) { return in[0]; }, {x});
  check_recompute([](const auto& in) { return square(in[0]); }, {x, w});  // w is not used
  // The mask is a function of its key, so that the second pass drops the same elements.
  check_recompute([](const auto& in) { return tanh(dropout(in[0], 0.5, {1, 2})); }, {x});
}

TEST_CASE("recompute nests", "[autograd][memory]") {
  const Variable x(random({5, 7}, 1), true);
  const Function inner = [](const std::vector<Variable>& in) { return tanh(square(in[0])); };
  const Function outer = [inner](const std::vector<Variable>& in) {
    return mul(recompute(inner, in), in[0]);
  };
  check_recompute(outer, {x});
}

TEST_CASE("recompute keeps fewer tensors", "[autograd][memory]") {
  const Variable x(random({kElements}, 1), true);
  const Function f = [](const std::vector<Variable>& in) { return tower(in[0]); };
  const auto blocks = [&](bool again) {
    return Function([f, again](const std::vector<Variable>& in) {
      Variable y = in[0];
      for (int i = 0; i < 4; ++i) y = again ? recompute(f, {y}) : f({y});
      return y;
    });
  };
  std::int64_t plain = 0, again = 0;
  run(blocks(false), {x}, false, &plain);
  run(blocks(true), {x}, false, &again);
  CHECK(plain >= 80 * kBytes);
  CHECK(again <= 30 * kBytes);  // four values, one tower of twenty, and the gradients in flight
}

TEST_CASE("recompute calls its function once forward and once backward", "[autograd][memory]") {
  const Variable x(random({3}, 1), true);
  int calls = 0;
  const Function f = [&calls](const std::vector<Variable>& in) {
    ++calls;
    return square(in[0]);
  };
  const Variable y = recompute(f, {x});
  CHECK(calls == 1);
  backward(sum(y));
  CHECK(calls == 2);
  const NoGrad no_grad;
  CHECK(!recompute(f, {x}).requires_grad());
  CHECK(calls == 3);
}

TEST_CASE("recompute notices a parameter that was not passed in", "[autograd][memory]") {
  const Variable x(random({3}, 1), true), hidden(random({3}, 2), true);
  const Variable y = recompute([hidden](const auto& in) { return mul(in[0], hidden); }, {x});
  CHECK(error_message([&] { backward(sum(y)); }) ==
        "gradients: the value depends on a leaf [3] that requires a gradient and is not among the inputs; "
        "pass it as "
        "one");
}

TEST_CASE("split costs n log n, not n^2, and its pieces share memory", "[autograd][memory]") {
  const Variable x(random({1024, 64}, 1), true);
  reset_peak_memory();
  const std::int64_t before = memory_stats().live;
  const std::vector<Variable> pieces = split(x, 0, 1);
  REQUIRE(pieces.size() == 1024);
  CHECK(memory_stats().live == before);
  for (const Variable& piece : pieces) CHECK(piece.value().storage() == x.value().storage());
  CHECK(pieces[1023].value().at({0, 63}) == x.value().at({1023, 63}));
  std::vector<Variable> sums;
  for (const Variable& piece : pieces) sums.push_back(unsqueeze(sum(piece), 0));
  backward(sum(concat(sums, 0)));
  CHECK(difference(x.grad(), Tensor::full({1024, 64}, 1, Dtype::f64), 0) == "");
  CHECK(memory_stats().peak - before <= 30 * 1024 * 64 * 8);
  CHECK(error_message([&] { split(x, 0, 0); }) == "split: the size of a piece must be at least 1, got 0");
  CHECK(split(x, 1, 100).size() == 1);
  CHECK(split(x, 0, 1000)[1].dim(0) == 24);
}

}  // namespace
}  // namespace retnet::test
