// The tests that the operation table (tests/support/op_table.h) generates: each runs over every entry, every
// size, memory layout and dtype.

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "kernels/parallel.h"
#include "tests/support/close.h"
#include "tests/support/gradcheck.h"
#include "tests/support/op_runs.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 2, 7, 33};
const char* const kHeaders[] = {"autograd/functions.h", "tensor/ops.h", "tensor/views.h"};

/// Allowed max |value - reference| / max |reference|; the largest over the table is measured beside it.
double value_tolerance(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return 1e-12;  // 8.7e-16, mean of 33 rows
    case Dtype::f32:
      return 2e-6;  // 4.7e-7, a product of inner size 33
    default:
      return 1.5e-2;  // 7.1e-3, a sum over one axis after the other, rounded after each
  }
}

std::string text_of(const std::string& path) {
  std::ifstream file(std::string(RETNET_SOURCE_DIR) + "/" + path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Calls `body(inputs)` for every size that the operation takes, every case and layout.
template <class Body>
void for_all_inputs(const Operation& op, Body&& body) {
  for (const std::int64_t n : kSizes) {
    if (n < op.smallest) continue;
    std::size_t number = 0;
    for (const Case& shapes : op.cases(n)) {
      for (const Layout layout : kLayouts) {
        INFO(op.name << ", size " << n << ", case " << number << ", layout " << static_cast<int>(layout));
        body(n, inputs_of(op, shapes, layout));
      }
      ++number;
    }
  }
}

TEST_CASE("declarations are found in a header", "[operations]") {
  const std::string text = R"(
    Variable neg(const Variable& x);  ///< not(this);
    /// Nor (this).
    struct Saved { Tensor y; };
    std::vector<Variable> split(const Variable& x, int axis = -1,
                                std::int64_t size = 2);
    double total(const kernels::AdamW& s, const std::function<Variable(const std::vector<int>&)>& f);
    void nothing();)";
  CHECK(declarations_in(text) == std::vector<std::string>{"neg(Variable)", "split(Variable, int, int64_t)",
                                                          "total(AdamW, function<Variable(vector<int>)>)",
                                                          "nothing()"});
}

TEST_CASE("every declared operation has an entry in the table, and every entry is declared", "[operations]") {
  set_poison(true);
  std::set<std::string> declared, covered;
  for (const char* header : kHeaders)
    for (const std::string& declaration : declarations_in(text_of(header))) declared.insert(declaration);
  REQUIRE(declared.size() >= 100);  // else the headers were not understood
  for (const Operation& op : operations()) covered.insert(op.declared.begin(), op.declared.end());
  for (const std::string& declaration : declared) {
    INFO(declaration << " needs an entry in tests/support/op_table_*.cpp");
    CHECK(covered.count(declaration) == 1);
  }
  for (const std::string& entry : covered) {
    INFO(entry << " is in the operation table, but no header declares it");
    CHECK(declared.count(entry) == 1);
  }
}

TEST_CASE("operations equal their references in every dtype and layout", "[operations][value]") {
  set_poison(true);
  for (const Operation& op : operations())
    for_all_inputs(op, [&](std::int64_t, const std::vector<Tensor>& exact) {
      for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
        const std::vector<Tensor> inputs = all_in_dtype(exact, dtype);
        CHECK(difference(op.value(inputs), op.reference(arrays_of(inputs)), value_tolerance(dtype)) == "");
      }
    });
}

TEST_CASE("operations on many elements equal their references", "[operations][value]") {
  set_poison(true);
  for (const Operation& op : operations())
    for (const Case& shapes : op.cases(op.large)) {
      const std::vector<Tensor> inputs = all_in_dtype(inputs_of(op, shapes, Layout::transposed), Dtype::f32);
      INFO(op.name);
      CHECK(difference(op.value(inputs), op.reference(arrays_of(inputs)), value_tolerance(Dtype::f32)) == "");
    }
}

TEST_CASE("operations leave their inputs alone", "[operations][value]") {
  for (const Operation& op : operations())
    for_all_inputs(op, [&](std::int64_t, const std::vector<Tensor>& inputs) {
      const std::vector<Array> before = arrays_of(inputs);
      Tensor cotangent;
      everything(op, inputs, cotangent);
      for (std::size_t i = 0; i < inputs.size(); ++i) CHECK(array_of(inputs[i]).values == before[i].values);
    });
}

TEST_CASE("differentiable functions give the bits of their value-level operations", "[operations][value]") {
  for (const Operation& op : operations())
    for_all_inputs(op, [&](std::int64_t, const std::vector<Tensor>& inputs) {
      if (!op.function) return;
      CHECK(bit_difference(op.function(leaves_of(inputs)).value(), op.value(inputs)) == "");
    });
}

TEST_CASE("gradient rules agree with central differences in every layout", "[operations][gradient]") {
  set_poison(true);
  for (const Operation& op : operations())
    for_all_inputs(op, [&](std::int64_t n, const std::vector<Tensor>& inputs) {
      if (!op.function || !op.smooth) return;
      GradcheckOptions options;
      options.most_elements = 40;
      const std::string problem = gradient_problem(op.function, inputs, options);
      const bool expected = n < op.informative && problem.find("can prove nothing") != std::string::npos;
      CHECK((expected ? "" : problem) == "");
    });
}

TEST_CASE("gradients of a variable that is both operands are the sum of both", "[operations][gradient]") {
  for (const Operation& op : operations()) {
    // x - x and x / x are constant, and their gradients exactly 0: asked for elsewhere.
    if (!op.function || op.name == "sub" || op.name == "div") continue;
    for_all_inputs(op, [&](std::int64_t, const std::vector<Tensor>& inputs) {
      if (inputs.size() < 2 || inputs[1].dtype() == Dtype::i32) return;
      for (const Tensor& input : inputs)
        if (!(input.shape() == inputs[0].shape())) return;
      const auto shared = [&](const std::vector<Variable>& x) {
        return op.function(std::vector<Variable>(inputs.size(), x[0]));
      };
      GradcheckOptions options;
      options.most_elements = 20;
      CHECK(gradient_problem(shared, {inputs[0]}, options) == "");
    });
  }
  const Variable x(random({33}, 1, Layout::dense, Dtype::f64, Domain::off_zero), true);
  const Tensor w = random({33}, 2);
  CHECK(difference(gradients(sub(x, x), w, {x})[0], Tensor::zeros({33}, Dtype::f64), 0) == "");
  CHECK(error(add(gradients(div(x, x), w, {x})[0], 1), Tensor::full({33}, 1, Dtype::f64)) <= 1e-15);
}

TEST_CASE("gradients in f32 are near those in f64", "[operations][gradient]") {
  for (const Operation& op : operations())
    for_all_inputs(op, [&](std::int64_t, const std::vector<Tensor>& exact) {
      if (!op.function) return;
      const std::vector<Tensor> single = all_in_dtype(exact, Dtype::f32),
                                twice = all_in_dtype(single, Dtype::f64);
      const std::vector<Variable> x = leaves_of(single), x64 = leaves_of(twice);
      const Variable y = op.function(x), y64 = op.function(x64);
      const Tensor w = random(y.shape(), 5, Layout::dense, Dtype::f32);
      const std::vector<Tensor> dx = gradients(y, w, x), dx64 = gradients(y64, in_dtype(w, Dtype::f64), x64);
      for (std::size_t i = 0; i < x.size(); ++i) {
        REQUIRE(dx[i].defined() == dx64[i].defined());
        if (dx[i].defined()) CHECK(difference(dx[i], dx64[i], 1e-5) == "");  // measured 1.1e-6, of a quotient
      }
    });
}

TEST_CASE("values and gradients have the same bits with any number of threads", "[operations][threads]") {
  const int before = kernels::num_threads();
  Layout layout = Layout::stepped;  // takes turns
  for (const Operation& op : operations())
    for (const Case& shapes : op.cases(op.large)) {
      layout = layout == Layout::dense ? Layout::stepped : Layout::dense;
      const std::vector<Tensor> inputs = all_in_dtype(inputs_of(op, shapes, layout), Dtype::f32);
      Tensor cotangent;
      kernels::set_num_threads(1);
      const std::vector<Tensor> expected = everything(op, inputs, cotangent);
      for (const int threads : {2, 3, 8}) {
        kernels::set_num_threads(threads);
        const std::vector<Tensor> result = everything(op, inputs, cotangent);
        INFO(op.name << " on " << threads << " threads");
        for (std::size_t i = 0; i < result.size(); ++i)
          if (expected[i].defined()) CHECK(bit_difference(result[i], expected[i]) == "");
      }
    }
  kernels::set_num_threads(before);
}

}  // namespace
}  // namespace retnet::test
