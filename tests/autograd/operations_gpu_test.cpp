// Every entry of the operation table on the GPU: the same values and gradients as on the CPU, to rounding,
// and the same bits in two runs. Each is a section, which `-c softmax` runs alone.

#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/gradcheck.h"
#include "tests/support/op_runs.h"

namespace retnet::test {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 2, 7, 33, 63, 1000};

/// Allowed normalised mean square error.
double allowed(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return 1e-20;
    case Dtype::f32:
      return 1e-7;
    default:
      return 1e-3;  // the CPU rounds the gradient of an embedding after every addition, the GPU once
  }
}

std::vector<Tensor> all_on_gpu(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> moved;
  for (const Tensor& input : inputs) moved.push_back(on_gpu(input));
  return moved;
}

/// Calls `body(inputs, size)` for every case and layout of every size in every dtype.
template <class Body>
void for_all_inputs(const Operation& op, Body&& body) {
  for (const std::int64_t n : kSizes) {
    if (n < op.smallest) continue;
    for (const Case& shapes : op.cases(n))
      for (const Layout layout : kLayouts) {
        if (n == 1000 && layout != Layout::dense && layout != Layout::transposed) continue;
        const std::vector<Tensor> exact = inputs_of(op, shapes, layout);
        for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
          INFO(op.name << ", size " << n << ", layout " << static_cast<int>(layout) << ", " << name(dtype));
          body(all_in_dtype(exact, dtype), n, dtype);
        }
      }
  }
}

TEST_CASE("values on the GPU equal those on the CPU", "[gpu][operations]") {
  RETNET_NEEDS_GPU();
  set_poison(true);
  for (const Operation& op : operations()) {
    DYNAMIC_SECTION(op.name) {
      for_all_inputs(op, [&](const std::vector<Tensor>& inputs, std::int64_t, Dtype dtype) {
        CHECK(normalized_square_error(op.value(all_on_gpu(inputs)), op.value(inputs)) <= allowed(dtype));
      });
    }
  }
}

TEST_CASE("gradients on the GPU equal those on the CPU", "[gpu][operations]") {
  RETNET_NEEDS_GPU();
  set_poison(true);
  for (const Operation& op : operations()) {
    DYNAMIC_SECTION(op.name) {
      for_all_inputs(op, [&](const std::vector<Tensor>& inputs, std::int64_t, Dtype dtype) {
        if (!op.function || dtype == Dtype::bf16) return;
        Tensor cotangent;
        const std::vector<Tensor> expected = everything(op, inputs, cotangent);
        cotangent = cotangent.to(Device::hip);
        const std::vector<Tensor> result = everything(op, all_on_gpu(inputs), cotangent);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          REQUIRE(result[i].defined() == expected[i].defined());
          if (expected[i].defined()) CHECK(normalized_square_error(result[i], expected[i]) <= allowed(dtype));
        }
      });
    }
  }
}

TEST_CASE("operations on many elements on the GPU equal those on the CPU, twice in the same bits",
          "[gpu][operations]") {
  RETNET_NEEDS_GPU();
  for (const Operation& op : operations()) {
    DYNAMIC_SECTION(op.name) {
      for (const Case& shapes : op.cases(op.large)) {
        const std::vector<Tensor> inputs = all_in_dtype(inputs_of(op, shapes, Layout::dense), Dtype::f32);
        Tensor cotangent;
        const std::vector<Tensor> expected = everything(op, inputs, cotangent);
        if (cotangent.defined()) cotangent = cotangent.to(Device::hip);
        const std::vector<Tensor> result = everything(op, all_on_gpu(inputs), cotangent);
        const std::vector<Tensor> again = everything(op, all_on_gpu(inputs), cotangent);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          if (!expected[i].defined()) continue;
          CHECK(normalized_square_error(result[i], expected[i]) <= allowed(Dtype::f32));
          CHECK(bit_difference(result[i], again[i]) == "");
        }
      }
    }
  }
}

TEST_CASE("Law 4 on the GPU: gradient rules agree with central differences",
          "[gpu][operations][gradient][law4]") {
  RETNET_NEEDS_GPU();
  for (const Operation& op : operations()) {
    DYNAMIC_SECTION(op.name) {
      for (const std::int64_t n : {std::int64_t{2}, std::int64_t{7}}) {
        if (!op.function || !op.smooth || n < op.smallest) continue;
        for (const Case& shapes : op.cases(n)) {
          INFO(op.name << ", size " << n);
          GradcheckOptions options;
          options.most_elements = 40;
          const std::string problem =
              gradient_problem(op.function, all_on_gpu(inputs_of(op, shapes, Layout::dense)), options);
          const bool expected = n < op.informative && problem.find("can prove nothing") != std::string::npos;
          CHECK((expected ? "" : problem) == "");
        }
      }
    }
  }
}

}  // namespace
}  // namespace retnet::test
