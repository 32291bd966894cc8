// Memory runs out at any point of a training step: the step fails with std::bad_alloc, nothing ends the
// program, nothing leaks, and the next step is that of a program which never lacked any.

#include "autograd/functions.h"
#include "kernels/parallel.h"
#include "retnet/generate.h"
#include "tests/support/allocations.h"
#include "tests/support/close.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// Calls `work` with memory for 0, 1, 2, .. allocations, in wider steps from some on, until it succeeds.
/// @returns how often it failed
template <class Work>
int fail_everywhere(Work&& work) {
  int failures = 0;
  for (std::int64_t count = 0;; count += 1 + count / 24) try {
      const NoMoreAllocations from_now_on(count);
      work();
      return failures;
    } catch (const std::bad_alloc&) {
      ++failures;
    }
}

TEST_CASE("a training step for which memory runs out fails and leaves nothing behind", "[model][memory]") {
  if (!allocations_are_counted()) return;
  const int threads_before = kernels::num_threads();
  for (const int threads : {1, 2})
    for (const Form form : {Form::parallel, Form::recurrent, Form::chunkwise}) {
      INFO(threads << " threads, form " << static_cast<int>(form));
      kernels::set_num_threads(threads);
      RetNet model = random_model(random_choices(0), 3, Dtype::f32);
      std::vector<Parameter> parameters = model.parameters();
      const Tensor tokens = random_ids({4, 40}, 11, 1), targets = random_ids({4, 40}, 11, 2);
      ForwardOptions options;
      options.form.form = form;
      const auto step = [&] { backward(model.loss(tokens, targets, options), Graph::release); };
      const auto forget = [&] {
        for (Parameter& parameter : parameters) parameter.variable.zero_grad();
      };
      step();
      const Tensor expected = parameters[1].variable.grad();
      forget();
      const std::int64_t live = memory_stats().live;
      CHECK(fail_everywhere([&] {
              forget();
              step();
            }) > 50);
      CHECK(bit_difference(parameters[1].variable.grad(), expected) == "");
      forget();
      CHECK(memory_stats().live == live);
    }
  kernels::set_num_threads(threads_before);
}

TEST_CASE("generating while memory runs out fails and leaves nothing behind", "[generate][memory]") {
  if (!allocations_are_counted()) return;
  const RetNet model = random_model(random_choices(0), 3, Dtype::f32);
  const auto write = [&] { generate(model, {1, 2, 3}, 4, {}, [](std::int32_t) { return true; }); };
  write();  // tables of angles and decays are kept from one call to the next
  const std::int64_t live = memory_stats().live;
  CHECK(fail_everywhere(write) > 50);
  CHECK(memory_stats().live == live);
}

TEST_CASE("taking a graph apart needs no memory, however long it is", "[variable][memory]") {
  if (!allocations_are_counted()) return;
  Variable x(Tensor::zeros({1}), true);
  for (int i = 0; i < 200000; ++i) x = i % 3 == 0 ? mul(x, x) : add(x, 1);
  const NoMoreAllocations from_now_on(0);
  x = Variable();
}

}  // namespace
}  // namespace retnet::test
