// No sequences, and sequences of no tokens: retention in every form, and whole models.

#include "autograd/functions.h"
#include "retnet/generate.h"
#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_folder.h"

namespace retnet::test {
namespace {

struct Way {
  Form form;
  bool reference;
};
constexpr Way kAllWays[] = {{Form::parallel, true},
                            {Form::parallel, false},
                            {Form::recurrent, false},
                            {Form::chunkwise, true},
                            {Form::chunkwise, false}};
constexpr std::int64_t kH = 2, kDk = 4, kDv = 3;

RetentionState some_state(std::int64_t batch, Device device) {
  const auto leaf = [&](const Shape& shape, unsigned seed) {
    return Variable(random(shape, seed, Layout::dense, Dtype::f64).to(device), true);
  };
  return {leaf({batch, kH, kDk, kDv}, 5), leaf({batch, kH, kDk}, 6), {1.25, 2.5}, 7};
}

void check_retention_of_nothing(Device device) {
  RetentionOptions options;
  options.gamma = {0.75, 0.5};
  for (const auto& [batch, steps] : {std::pair<std::int64_t, std::int64_t>{2, 0}, {0, 5}, {0, 0}})
    for (const ScoreNorm norm : {ScoreNorm::none, ScoreNorm::paper})
      for (const Way& way : kAllWays) {
        INFO("batch " << batch << ", steps " << steps << ", form " << static_cast<int>(way.form)
                      << ", reference " << way.reference);
        options.score_norm = norm, options.reference = way.reference;
        const auto leaf = [&](std::int64_t width) {
          return Variable(Tensor::zeros({batch, kH, steps, width}, Dtype::f64, device), true);
        };
        const Variable q = leaf(kDk), k = leaf(kDk), v = leaf(kDv);
        const RetentionState before = some_state(batch, device);
        const Retained after = retention(way.form, q, k, v, before, options, 3);
        CHECK(after.o.shape() == Shape{batch, kH, steps, kDv});
        CHECK(bit_difference(after.state.S.value(), before.S.value()) == "");
        CHECK(bit_difference(after.state.z.value(), before.z.value()) == "");
        CHECK(after.state.pos == before.pos + steps);
        REQUIRE(after.state.s.size() == before.s.size());
        if (steps == 0) CHECK(after.state.s == before.s);
        // The state passes its gradient on, and no output has one.
        const Tensor dS = random(before.S.shape(), 8).to(device);
        backward(after.state.S, dS);
        CHECK(bit_difference(before.S.grad(), dS) == "");
        backward(after.o, Tensor::zeros(after.o.shape(), Dtype::f64, device));
        CHECK(bit_difference(before.S.grad(), dS) == "");
      }
}

TEST_CASE("retention of no steps leaves the state as it was, in every form", "[retention][empty]") {
  set_poison(true);
  check_retention_of_nothing(Device::cpu);
}

TEST_CASE("retention of no steps leaves the state as it was, in every form, on the GPU",
          "[gpu][retention][empty]") {
  RETNET_NEEDS_GPU();
  set_poison(true);
  check_retention_of_nothing(Device::hip);
}

TEST_CASE("retention without heads or channels is refused", "[retention][empty]") {
  RetentionOptions options;
  for (const auto& [H, dk, dv] :
       {std::tuple<std::int64_t, std::int64_t, std::int64_t>{0, 4, 3}, {2, 0, 3}, {2, 4, 0}})
    for (const Way& way : kAllWays) {
      options.gamma.assign(static_cast<std::size_t>(H), 0.5), options.reference = way.reference;
      const Variable q(Tensor::zeros({2, H, 5, dk})), v(Tensor::zeros({2, H, 5, dv}));
      const std::string message =
          error_message([&] { retention(way.form, q, q, v, initial_state(2, H, dk, dv), options, 3); });
      CHECK(message.find("needs at least one head of at least one channel, got q ") != std::string::npos);
    }
}

void check_model_of_nothing(const Config& config, Device device) {
  RetNet model = random_model(config, 3, Dtype::f32);
  model.to(device);
  for (const Shape& shape : {Shape{1, 0}, Shape{0, 5}, Shape{0, 0}})
    for (const Way& way : kAllWays)
      for (const bool recompute : {false, true}) {
        INFO("tokens " << shape << ", form " << static_cast<int>(way.form) << ", reference " << way.reference
                       << ", recompute " << recompute);
        const Tensor tokens = Tensor::zeros(shape, Dtype::i32);
        ForwardOptions options;
        options.form.form = way.form, options.form.reference = way.reference;
        options.recompute = recompute, options.dropout.p = 0.25;
        const Variable logits = model.forward(tokens, options);
        CHECK(logits.shape() == Shape{shape[0], shape[1], config.vocab});
        backward(sum(logits));
        for (Parameter& parameter : model.parameters()) {
          INFO(parameter.name);
          const Tensor gradient = parameter.variable.grad();
          if (gradient.defined()) CHECK(difference(gradient, Tensor::zeros(gradient.shape()), 0) == "");
          parameter.variable.zero_grad();
        }
        CHECK(error_message([&] {
                model.loss(tokens, tokens, options);
              }).find("loss: needs at least one token to predict, got tokens [") == 0);
      }
  ModelState state = model.initial_state(1);
  model.forward(Tensor::from<std::int32_t>({1, 2, 3}, {1, 3}), state);
  const Tensor before = state.layers[1].S.value();
  model.forward(Tensor::zeros({1, 0}, Dtype::i32), state);
  CHECK(bit_difference(state.layers[1].S.value(), before) == "");
  CHECK(state.layers[1].pos == 3);
}

TEST_CASE("a model of no tokens has no logits, gradients of zero and no loss", "[model][empty]") {
  set_poison(true);
  for (const unsigned choice : {0u, 1u, 2u, 3u}) check_model_of_nothing(random_choices(choice), Device::cpu);
}

TEST_CASE("a model of no tokens on the GPU has no logits, gradients of zero and no loss",
          "[gpu][model][empty]") {
  RETNET_NEEDS_GPU();
  set_poison(true);
  check_model_of_nothing(small_config(), Device::hip);
}

TEST_CASE("decoding and generating nothing", "[generate][empty]") {
  const RetNet model = random_model(small_config(), 3, Dtype::f32);
  CHECK(error_message([&] { Decoder(model, 0); }) == "decode: the batch must be at least 1, got 0");
  const auto never = [](std::int32_t) -> bool { throw Error("a token came"); };
  CHECK(error_message([&] { generate(model, {}, 3, {}, never); }) ==
        "generate: the prompt must have at least one token");
  generate(model, {1, 2}, 0, {}, never);
  Decoder decoder(model, 1);
  CHECK(error_message([&] { decoder.step({}); }) == "decode: needs one token for each of 1 sequences, got 0");
}

}  // namespace
}  // namespace retnet::test
