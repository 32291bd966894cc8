// The fused layers against their specification, the composed ones: values, states and all gradients, also
// those that flow from a later piece of a sequence through the state into an earlier one.

#include "kernels/parallel.h"
#include "tests/support/close.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// Logits of two pieces of a sequence, the state after them, and the gradient of every parameter.
struct Outcome {
  std::vector<Tensor> values, gradients;
};

Outcome run(RetNet& model, const Tensor& tokens, std::int64_t cut, bool reference, Dtype dtype) {
  ForwardOptions options;
  options.form.reference = reference;
  ModelState state = model.initial_state(tokens.dim(0));
  const std::int64_t n = tokens.dim(1);
  std::vector<Variable> results{model.forward(slice(tokens, 1, 0, cut), state, options)};
  if (cut < n) results.push_back(model.forward(slice(tokens, 1, cut, n), state, options));
  for (const RetentionState& layer : state.layers) results.push_back(layer.S), results.push_back(layer.z);

  Outcome outcome;
  Variable loss;
  unsigned number = 0;
  for (const Variable& y : results) {
    outcome.values.push_back(y.value());
    const Variable part = sum(mul(y, Variable(random(y.shape(), ++number, Layout::dense, dtype))));
    loss = loss.defined() ? add(loss, part) : part;
  }
  for (Parameter& p : model.parameters()) p.variable.zero_grad();
  backward(loss);
  for (const Parameter& p : model.parameters()) outcome.gradients.push_back(clone(p.variable.grad()));
  return outcome;
}

/// All gradients as one: some are zero but for rounding, as that of W_Q is for a sequence of one step, whose
/// output the head norm makes independent of q.
Tensor joined(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> flat;
  for (const Tensor& x : tensors) flat.push_back(reshape(x, {x.size()}));
  return concat(flat, 0);
}

void check_equal(Dtype dtype, unsigned cases, double tolerance) {
  for (unsigned number = 0; number < cases; ++number) {
    RetNet model = random_model(random_choices(number), number + 1, dtype);
    std::mt19937_64 bits(number);
    const std::int64_t sizes[] = {1, 2, 7, 33}, B = sizes[bits() % 3], N = sizes[bits() % 4],
                       cut = 1 + bits() % N;
    const Tensor tokens = random_ids({B, N}, 11, number);
    CAPTURE(number, B, N, cut, to_json(model.config()).dump());
    const Outcome fused = run(model, tokens, cut, false, dtype),
                  composed = run(model, tokens, cut, true, dtype);
    for (std::size_t i = 0; i < fused.values.size(); ++i)
      CHECK(difference(fused.values[i], composed.values[i], tolerance) == "");
    CHECK(difference(joined(fused.gradients), joined(composed.gradients), tolerance) == "");
  }
}

}  // namespace

TEST_CASE("Law 1: fused layers equal composed ones under every choice, with gradients through the state",
          "[law1][eq7][eq8][eq9]") {
  check_equal(Dtype::f64, 60, 1e-12);
}

TEST_CASE("f32 fused layers equal composed ones to rounding", "[eq7][eq8][eq9]") {
  check_equal(Dtype::f32, 20, 2e-5);
}

TEST_CASE("gradients of fused layers do not depend on the number of threads", "[threads]") {
  Config config = small_config();
  config.d_model = 64, config.key_width = 64, config.value_width = 128, config.ffn_width = 128;
  RetNet model = random_model(config, 5, Dtype::f32);
  const Tensor tokens = random_ids({4, 70}, 11, 3);
  const int before = kernels::num_threads();
  kernels::set_num_threads(1);
  const Outcome one = run(model, tokens, 33, false, Dtype::f32);
  for (const int threads : {2, 3, 8}) {
    kernels::set_num_threads(threads);
    const Outcome several = run(model, tokens, 33, false, Dtype::f32);
    for (std::size_t i = 0; i < one.gradients.size(); ++i)
      CHECK(bit_difference(several.gradients[i], one.gradients[i]) == "");
  }
  kernels::set_num_threads(before);
}

}  // namespace retnet::test
