// The laws of retention, and whole models, on the GPU.

#include <cmath>

#include "retnet/compare_forms.h"
#include "retnet/generate.h"
#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/retention_cases.h"
#include "tests/support/small_models.h"

namespace retnet::test {
namespace {

constexpr Form kForms[] = {Form::parallel, Form::recurrent, Form::chunkwise};

Tensor tokens_of(const Shape& shape, unsigned seed) { return random_ids(shape, small_config().vocab, seed); }

ForwardOptions in_form(Form form, bool reference) {
  ForwardOptions options;
  options.form.form = form, options.form.reference = reference;
  return options;
}

TEST_CASE("Law 1 on the GPU: the forms and random hand-offs agree", "[gpu][law1]") {
  RETNET_NEEDS_GPU();
  for (const Dtype dtype : {Dtype::f64, Dtype::f32})
    for (const ScoreNorm norm : {ScoreNorm::none, ScoreNorm::paper}) {
      DYNAMIC_SECTION(name(dtype) << (norm == ScoreNorm::paper ? ", scores normalised" : "")) {
        Config config = small_config();
        config.score_norm = norm;
        CompareOptions options;
        options.length = 70, options.chunk = 17, options.device = Device::hip;
        for (const FormDifference& difference : compare_retention(config, dtype, options)) {
          INFO(difference.name << ", " << name(dtype));
          CHECK(difference.worst() <= form_bound(dtype));
        }
        RetNet model = random_model(config, 3, dtype);
        model.to(Device::hip);
        for (const FormDifference& difference : compare_model(model, options)) {
          INFO(difference.name << " of a model, " << name(dtype));
          CHECK(difference.worst() <= form_bound(dtype));
        }
      }
    }
}

/// The same problem with everything on a device.
RetentionCase moved(RetentionCase c, Device device) {
  for (Tensor* x : {&c.q, &c.k, &c.v, &c.S, &c.z, &c.do_, &c.dS, &c.dz}) *x = x->to(device);
  return c;
}

TEST_CASE("retention in large tiles and in strips on the GPU is the CPU's", "[gpu][law1]") {
  RETNET_NEEDS_GPU();
  RetentionCase c;
  c.H = 8, c.N = 300, c.dk = 132, c.dv = 136, c.C = 128;
  c.options.gamma = {0.3, 0.5, 0.9, 0.99, 0.999, 1, 1, 1};  // 0.3^200 is 0 in f32
  c.s.assign(8, 1.5);
  const auto check = [&](std::int64_t batch, Dtype dtype) {
    c.B = batch;
    unsigned seed = 0;
    const auto fill = [&](Tensor& x, const Shape& shape) { x = random(shape, ++seed, Layout::dense, dtype); };
    fill(c.q, {c.B, c.H, c.N, c.dk}), fill(c.k, {c.B, c.H, c.N, c.dk}), fill(c.v, {c.B, c.H, c.N, c.dv});
    fill(c.S, {c.B, c.H, c.dk, c.dv}), fill(c.z, {c.B, c.H, c.dk});
    fill(c.do_, {c.B, c.H, c.N, c.dv}), fill(c.dS, {c.B, c.H, c.dk, c.dv}), fill(c.dz, {c.B, c.H, c.dk});
    for (const Way& way : {kWays[0], kWays[2]}) {
      const RetentionResult expected = run_with_gradients(c, {{way, c.N}}),
                            result = run_with_gradients(moved(c, Device::hip), {{way, c.N}});
      for (std::size_t i = 0; i < expected.tensors.size(); ++i) {
        INFO(way.name << ", " << kResultNames[i] << ", " << name(dtype) << ", batch " << batch);
        CHECK(error(result.tensors[i], expected.tensors[i]) <= form_bound(dtype));
      }
    }
  };
  check(8, Dtype::f32);  // enough heads for walks in the largest tiles
  check(2, Dtype::f32);  // and only for those in between
  check(8, Dtype::f64);
}

TEST_CASE("Law 2 on the GPU: logits do not change, bit for bit, when later tokens do", "[gpu][law2]") {
  RETNET_NEEDS_GPU();
  RetNet model = random_model(small_config(), 1, Dtype::f32);
  model.to(Device::hip);
  const std::int64_t n = 90, kept = 41;
  const Tensor tokens = tokens_of({2, n}, 1), other = clone(tokens);
  copy_into(slice(other, 1, kept, n), tokens_of({2, n - kept}, 2));
  for (const Form form : kForms)
    for (const bool reference : {false, true}) {
      const auto logits = [&](const Tensor& given) {
        return contiguous(slice(model.forward(given, in_form(form, reference)).value(), 1, 0, kept));
      };
      INFO("form " << static_cast<int>(form) << (reference ? ", composed" : ""));
      CHECK(bit_difference(logits(tokens), logits(other)) == "");
    }
}

TEST_CASE("Law 3 on the GPU: a sequence gets the same logits alone or in a batch, at any row",
          "[gpu][law3]") {
  RETNET_NEEDS_GPU();
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    RetNet model = random_model(small_config(), 1, dtype);
    model.to(Device::hip);
    const Tensor tokens = tokens_of({5, 40}, 1);
    for (const Form form : kForms) {
      const Tensor all = model.forward(tokens, in_form(form, false)).value();
      for (std::int64_t row = 0; row < 5; ++row) {
        const Tensor alone = model.forward(slice(tokens, 0, row, row + 1), in_form(form, false)).value();
        // How a product cuts its sums depends on the number of rows, so these are not always the same bits.
        CHECK(error(alone, slice(all, 0, row, row + 1)) <= (dtype == Dtype::f64 ? 1e-13 : 1e-5));
      }
    }
  }
}

TEST_CASE("Law 6 on the GPU: a million steps give what the CPU gives", "[gpu][law6]") {
  RETNET_NEEDS_GPU();
  const std::int64_t n = 1000000;
  RetentionOptions options;
  options.gamma = {1 - std::exp2(-5.0), 1};
  const auto random = [&](std::uint64_t stream) {
    return Variable(rand_normal({1, 2, n, 2}, {1, stream}, 0, 1, Dtype::f64));
  };
  const auto there = [](const Variable& x) { return Variable(x.value().to(Device::hip)); };
  const Variable q = random(1), k = random(2), v = random(3);
  const Retained expected = retention_fused(q, k, v, initial_state(1, 2, 2, 2, Dtype::f64), options, 64);
  const Retained result = retention_fused(there(q), there(k), there(v),
                                          initial_state(1, 2, 2, 2, Dtype::f64, Device::hip), options, 64);
  CHECK(error(result.o.value(), expected.o.value()) <= 1e-9);
  CHECK(error(result.state.S.value(), expected.state.S.value()) <= 1e-9);
  CHECK(error(result.state.z.value(), expected.state.z.value()) <= 1e-9);
}

TEST_CASE("models on the GPU have the CPU's loss and gradients, twice in the same bits", "[gpu][model]") {
  RETNET_NEEDS_GPU();
  for (unsigned number = 0; number < 12; ++number) {
    DYNAMIC_SECTION("choices " << number) {
      for (const Form form : kForms) {
        const Config config = random_choices(number);
        const auto run = [&](Device device) {
          RetNet model = random_model(config, number);
          model.to(device);
          const Variable loss =
              model.loss(tokens_of({3, 13}, number), tokens_of({3, 13}, number + 1), in_form(form, false));
          backward(loss);
          std::vector<Tensor> all{loss.value()};
          for (const Parameter& parameter : model.parameters()) all.push_back(parameter.variable.grad());
          return all;
        };
        const std::vector<Tensor> expected = run(Device::cpu), result = run(Device::hip),
                                  again = run(Device::hip);
        INFO("choices " << number << ", form " << static_cast<int>(form));
        for (std::size_t i = 0; i < expected.size(); ++i) {
          CHECK(error(result[i], expected[i]) <= 1e-9);
          CHECK(bit_difference(result[i], again[i]) == "");
        }
      }
    }
  }
}

TEST_CASE("a decoder on the GPU is the recurrent form, from step to step and after another form",
          "[gpu][decoder]") {
  RETNET_NEEDS_GPU();
  for (unsigned number = 0; number < 12; ++number) {
    RetNet model = random_model(random_choices(number), number);
    const Tensor tokens = tokens_of({2, 12}, number);
    ModelState state = model.initial_state(2);
    const NoGrad no_grad;
    const Tensor expected = model.forward(tokens, state, in_form(Form::recurrent, false)).value();
    model.to(Device::hip);
    Decoder decoder(model, 2);
    const auto steps = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const std::vector<std::int32_t> column = select(tokens, 1, n).to_vector<std::int32_t>();
        INFO("choices " << number << ", step " << n);
        CHECK(error(decoder.step(column), contiguous(select(expected, 1, n))) <= 1e-9);
      }
    };
    steps(0, 12);
    CHECK(error(decoder.store().layers[0].S.value(), state.layers[0].S.value()) <= 1e-9);
    ModelState read = model.initial_state(2);
    model.forward(slice(tokens, 1, 0, 5), read, in_form(Form::chunkwise, false));
    decoder.load(read);
    CHECK(decoder.position() == 5);
    steps(5, 12);
  }
}

TEST_CASE("a token on the GPU takes the same memory at every position", "[gpu][decoder]") {
  RETNET_NEEDS_GPU();
  RetNet model = random_model(small_config(), 5);
  model.to(Device::hip);
  Decoder decoder(model);
  const std::vector<std::int32_t> token{1};
  for (int i = 0; i < 4; ++i) decoder.step(token);
  const MemoryStats early = memory_stats(Device::hip);
  ModelState state = decoder.store();
  for (RetentionState& layer : state.layers) layer.pos = 1000000;
  decoder.load(state);
  state = ModelState();
  for (int i = 0; i < 4; ++i) decoder.step(token);
  CHECK(memory_stats(Device::hip).live == early.live);
}

TEST_CASE("a model on the GPU writes the CPU's text", "[gpu][generate]") {
  RETNET_NEEDS_GPU();
  RetNet model = random_model(small_config(), 5);
  const auto written = [&] {
    std::vector<std::int32_t> text;
    SamplingOptions sampling;
    sampling.seed = 4;
    generate(model, {1, 2, 3}, 30, sampling, [&](std::int32_t token) { return text.push_back(token), true; });
    return text;
  };
  const std::vector<std::int32_t> expected = written();
  model.to(Device::hip);
  CHECK(written() == expected);
}

}  // namespace
}  // namespace retnet::test
