// Sizes of 0: every operation of the table, with every extent of every input set to 0 in turn, gives the
// result that its reference defines, or one clear error; forward, backward and on every device.

#include "kernels/exec.h"
#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/gradcheck.h"
#include "tests/support/op_runs.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// What an operation does with inputs: its value, or the error that it refuses them with.
struct Answer {
  Tensor value;
  std::string error;
};

template <class Compute>
Answer answer_of(Compute&& compute) {
  try {
    return {compute(), ""};
  } catch (const Error& error) {
    return {Tensor(), error.what()};
  }
}

bool is_one_line(const std::string& text) { return !text.empty() && text.find('\n') == std::string::npos; }

/// Calls `body(inputs)` for every empty case of an operation, in f64.
template <class Body>
void for_all_empty_inputs(const Operation& op, Body&& body) {
  for (const Case& shapes : empty_cases(op))
    for (const Layout layout : {Layout::dense, Layout::transposed, Layout::stepped}) {
      std::ostringstream text;
      for (const Input& input : shapes) text << ' ' << input.shape;
      INFO(op.name << text.str() << ", layout " << static_cast<int>(layout));
      body(inputs_of(op, shapes, layout));
    }
}

TEST_CASE("operations on nothing equal their references or refuse it", "[operations][empty]") {
  set_poison(true);
  for (const Operation& op : operations()) {
    std::int64_t results = 0;
    for_all_empty_inputs(op, [&](const std::vector<Tensor>& exact) {
      for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
        const std::vector<Tensor> inputs = all_in_dtype(exact, dtype);
        const Answer answer = answer_of([&] { return op.value(inputs); });
        if (!answer.value.defined()) {
          CHECK(is_one_line(answer.error));
          continue;
        }
        ++results;
        CHECK(difference(answer.value, op.reference(arrays_of(inputs)), dtype == Dtype::bf16 ? 2e-2 : 1e-5) ==
              "");
      }
    });
    INFO(op.name);
    // The mean of no numbers is none, and the table's slice has bounds of its own.
    CHECK((results > 0 || op.name == "mean" || op.name == "slice"));
  }
}

TEST_CASE("gradients of operations on nothing are zeros, or agree with central differences",
          "[operations][gradient][empty]") {
  set_poison(true);
  for (const Operation& op : operations()) {
    if (!op.function) continue;
    for_all_empty_inputs(op, [&](const std::vector<Tensor>& inputs) {
      const std::vector<Variable> leaves = leaves_of(inputs);
      Variable y;
      const Answer answer = answer_of([&] { return (y = op.function(leaves)).value(); });
      CHECK(answer.value.defined() == answer_of([&] { return op.value(inputs); }).value.defined());
      if (!answer.value.defined()) return;
      if (y.size() > 0) {
        const std::string problem = op.smooth ? gradient_problem(op.function, inputs) : "";
        // What depends on none of its inputs' elements has gradients of 0.
        CHECK((problem.find("can prove nothing") == std::string::npos ? problem : "") == "");
      }
      const Tensor dy = random(y.shape(), 3, Layout::dense, y.dtype());
      const std::vector<Tensor> gradient = gradients(y, dy, leaves);
      for (std::size_t i = 0; i < leaves.size(); ++i) {
        if (!gradient[i].defined()) continue;
        CHECK(gradient[i].shape() == leaves[i].shape());
        if (y.size() == 0)
          for (const double value : array_of(gradient[i]).values) CHECK(value == 0);
      }
    });
  }
}

TEST_CASE("operations on nothing on the GPU do what they do on the CPU", "[gpu][operations][empty]") {
  RETNET_NEEDS_GPU();
  set_poison(true);
  const auto moved = [](const std::vector<Tensor>& inputs) {
    std::vector<Tensor> there;
    for (const Tensor& input : inputs) there.push_back(on_gpu(input));
    return there;
  };
  for (const Operation& op : operations()) {
    DYNAMIC_SECTION(op.name) {
      for_all_empty_inputs(op, [&](const std::vector<Tensor>& exact) {
        for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
          const std::vector<Tensor> inputs = all_in_dtype(exact, dtype);
          const Answer here = answer_of([&] { return op.value(inputs); });
          const Answer there = answer_of([&] { return op.value(moved(inputs)); });
          // Ids that are on the GPU are not checked: none is in a range of 0, and they give NaN.
          if (here.error.find("must be in 0 .. ") != std::string::npos) continue;
          CHECK(there.error == here.error);
          if (here.value.defined()) CHECK(normalized_square_error(there.value, here.value) <= 1e-3);
          if (!here.value.defined() || !op.function || dtype == Dtype::bf16) continue;
          Tensor cotangent;
          const std::vector<Tensor> expected = everything(op, inputs, cotangent);
          cotangent = cotangent.to(Device::hip);
          const std::vector<Tensor> result = everything(op, moved(inputs), cotangent);
          for (std::size_t i = 0; i < expected.size(); ++i) {
            REQUIRE(result[i].defined() == expected[i].defined());
            if (expected[i].defined()) CHECK(normalized_square_error(result[i], expected[i]) <= 1e-7);
          }
        }
      });
    }
  }
}

}  // namespace
}  // namespace retnet::test
