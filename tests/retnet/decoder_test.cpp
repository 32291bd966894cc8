// The decoder against the recurrent form of RetNet::forward(), which is its specification.
#include "retnet/decoder.h"

#include "tests/support/allocations.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

using Tokens = std::vector<std::int32_t>;

Tokens tokens_at(std::int64_t n, std::int64_t batch, std::int64_t vocab) {
  Tokens tokens;
  for (std::int64_t b = 0; b < batch; ++b)
    tokens.push_back(static_cast<std::int32_t>((n * n + 5 * n + 3 * b + n * b) % vocab));
  return tokens;
}

Tensor forward(const RetNet& model, const Tokens& tokens, ModelState& state) {
  const NoGrad no_grad;
  ForwardOptions recurrent;
  recurrent.form.form = Form::recurrent;
  const auto batch = static_cast<std::int64_t>(tokens.size());
  return select(model.forward(Tensor::from(tokens, {batch, 1}), state, recurrent).value(), 1, 0);
}

/// A state as some earlier text may have left it, at a position.
ModelState some_state(const RetNet& model, std::int64_t batch, std::int64_t pos) {
  ModelState state = model.initial_state(batch);
  unsigned seed = 900;
  for (RetentionState& layer : state.layers) {
    layer.S.set_value(random(layer.S.shape(), ++seed, Layout::dense, model.dtype()));
    layer.z.set_value(random(layer.z.shape(), ++seed, Layout::dense, model.dtype()));
    for (double& s : layer.s) s = 3.5;
    layer.pos = pos;
  }
  return state;
}

std::string state_difference(const ModelState& a, const ModelState& b, double tolerance) {
  std::string text;
  for (std::size_t l = 0; l < b.layers.size(); ++l) {
    const RetentionState &x = a.layers[l], &y = b.layers[l];
    text += difference(x.S.value(), y.S.value(), tolerance) + difference(x.z.value(), y.z.value(), tolerance);
    if (x.s != y.s || x.pos != y.pos) text += " another s or position in layer " + std::to_string(l);
  }
  return text;
}

/// Largest difference from forward() over some steps after a state at `pos`.
void check_against_forward(const RetNet& model, std::int64_t batch, std::int64_t pos, double tolerance) {
  ModelState state = some_state(model, batch, pos);
  Decoder decoder(model, batch, {.bf16_weights = false, .threads = 1});
  decoder.load(state);
  for (std::int64_t n = 0; n < 5; ++n) {
    const Tokens tokens = tokens_at(n, batch, model.config().vocab);
    const Tensor expected = forward(model, tokens, state);
    REQUIRE(difference(decoder.step(tokens), expected, tolerance) == "");
  }
  CHECK(decoder.position() == pos + 5);
  CHECK(state_difference(decoder.store(), state, tolerance) == "");
}

/// The logits of some steps, copied.
std::vector<Tensor> logits_of(Decoder& decoder, std::int64_t vocab, std::int64_t steps = 4) {
  std::vector<Tensor> logits;
  for (std::int64_t n = 0; n < steps; ++n)
    logits.push_back(clone(decoder.step(tokens_at(n, decoder.batch(), vocab))));
  return logits;
}

/// Widths that fill tiles, and enough of everything for threads to share.
Config wide_config() {
  Config c;
  c.vocab = 40, c.d_model = 48, c.layers = 2, c.heads = 3, c.key_width = 96, c.value_width = 144,
  c.ffn_width = 80;
  return c;
}

}  // namespace

TEST_CASE("A step equals the recurrent form, with every choice and in every batch", "[decoder][eq6][eqR4]") {
  for (unsigned number = 0; number < 40; ++number)
    for (const std::int64_t batch : {1, 2, 7, 16, 33}) {
      if (batch > 7 && number % 8) continue;
      CAPTURE(number, batch);
      const Config config = random_choices(number);
      check_against_forward(random_model(config, number + 1), batch, 0, 1e-12);
      check_against_forward(random_model(config, number + 1, Dtype::f32), batch, 100, 2e-5);
    }
}

TEST_CASE("A step equals the recurrent form at any position", "[decoder][law6]") {
  for (const std::int64_t pos :
       {std::int64_t{1}, std::int64_t{100}, std::int64_t{10000}, std::int64_t{1000000}}) {
    CAPTURE(pos);
    for (const unsigned number : {0u, 3u}) {
      check_against_forward(random_model(random_choices(number), 5), 2, pos, 1e-12);
      check_against_forward(random_model(random_choices(number), 5, Dtype::f32), 2, pos, 2e-5);
    }
    check_against_forward(random_model(wide_config(), 5), 3, pos, 1e-12);
    check_against_forward(random_model(wide_config(), 5, Dtype::f32), 3, pos, 2e-5);
  }
}

TEST_CASE("bf16 weights are the model's weights rounded, and nothing else", "[decoder][bf16]") {
  for (const unsigned number : {0u, 1u, 2u, 3u}) {
    CAPTURE(number);
    RetNet model = random_model(number < 3 ? random_choices(number) : wide_config(), 7, Dtype::f32);
    Decoder rounded(model, 3, {.bf16_weights = true, .threads = 1});
    const std::vector<Tensor> logits = logits_of(rounded, model.config().vocab);
    const Tensor embedding = clone(model.parameters()[0].variable.value());
    for (Parameter& p : model.parameters())
      if (p.variable.rank() == 2)
        p.variable.set_value(astype(astype(p.variable.value(), Dtype::bf16), Dtype::f32));
    // The embedding is looked up and not multiplied with: it is rounded only as the output's matrix.
    if (!model.config().tie_head) model.parameters()[0].variable.set_value(embedding);
    Decoder exact(model, 3, {.bf16_weights = false, .threads = 1});
    if (!model.config().tie_head) {
      const std::vector<Tensor> expected = logits_of(exact, model.config().vocab);
      for (std::size_t n = 0; n < expected.size(); ++n) CHECK(bit_difference(logits[n], expected[n]) == "");
    }
    if (number == 3) CHECK(2 * rounded.weight_bytes() == exact.weight_bytes());
  }
}

TEST_CASE("Logits have the same bits on any number of threads", "[decoder][threads]") {
  for (const bool bf16_weights : {false, true})
    for (const std::int64_t batch : {1, 2, 7, 16, 33}) {
      const RetNet model = random_model(wide_config(), 9, Dtype::f32);
      Decoder alone(model, batch, {bf16_weights, 1});
      const std::vector<Tensor> expected = logits_of(alone, 40);
      for (const int threads : {2, 3, 8, 70}) {
        CAPTURE(bf16_weights, batch, threads);
        Decoder team(model, batch, {bf16_weights, threads});
        const std::vector<Tensor> logits = logits_of(team, 40);
        for (std::size_t n = 0; n < logits.size(); ++n) CHECK(bit_difference(logits[n], expected[n]) == "");
        CHECK(state_difference(team.store(), alone.store(), 0) == "");
      }
    }
}

TEST_CASE("A sequence gets the same bits alone and in any batch", "[decoder][law3]") {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64})
    for (const unsigned number : {0u, 2u, 99u}) {
      const Config config = number == 99 ? wide_config() : random_choices(number);
      const RetNet model = random_model(config, 11, dtype);
      for (const bool bf16_weights : {false, true}) {
        if (bf16_weights && dtype == Dtype::f64) continue;
        Decoder together(model, 33, {bf16_weights, 1});
        const std::vector<Tensor> expected = logits_of(together, config.vocab);
        for (const std::int64_t batch : {1, 2, 7, 16})
          for (const std::int64_t row : {0, 5, 32}) {
            Decoder fewer(model, batch, {bf16_weights, 1});
            for (std::int64_t n = 0; n < 4; ++n) {
              const Tokens tokens(static_cast<std::size_t>(batch),
                                  tokens_at(n, 33, config.vocab)[static_cast<std::size_t>(row)]);
              const Tensor alone = select(fewer.step(tokens), 0, batch - 1);
              CAPTURE(batch, row, n);
              REQUIRE(bit_difference(alone, select(expected[static_cast<std::size_t>(n)], 0, row)) == "");
            }
          }
      }
    }
}

TEST_CASE("A prompt read in any form hands its state over, and takes it back", "[decoder][law1]") {
  const RetNet model = random_model(random_choices(0), 13);
  const Tensor prompt = Tensor::from(Tokens{1, 5, 2, 8, 10, 3, 3}, {1, 7});
  for (const Form form : {Form::parallel, Form::recurrent, Form::chunkwise}) {
    const NoGrad no_grad;
    ModelState state = model.initial_state(1);
    ForwardOptions options;
    options.form.form = form;
    model.forward(prompt, state, options);
    Decoder decoder(model, 2);
    decoder.load(state);  // one sequence, for both rows
    const Tensor expected = forward(model, {4}, state), logits = decoder.step(Tokens{4, 4});
    for (const std::int64_t row : {0, 1})
      CHECK(difference(select(logits, 0, row), select(expected, 0, 0), 1e-12) == "");
    ModelState back = decoder.store(), twice = decoder.store();
    Decoder other(model, 2);
    other.load(back);
    CHECK(bit_difference(clone(other.step(Tokens{9, 0})), clone(decoder.step(Tokens{9, 0}))) == "");
    CHECK(difference(forward(model, {9, 0}, twice), decoder.step(Tokens{9, 0}), 1) == "");
  }
}

TEST_CASE("A step allocates nothing", "[decoder][memory]") {
  const RetNet model = random_model(wide_config(), 15, Dtype::f32);
  for (const int threads : {1, 2})
    for (const std::int64_t batch : {1, 9}) {
      Decoder decoder(model, batch, {false, threads});
      const Tokens tokens = tokens_at(1, batch, 40);
      for (int i = 0; i < 3; ++i) decoder.step(tokens);  // the threads start
      reset_peak_memory();
      const std::int64_t live = memory_stats().live;
      const std::int64_t before = allocations();
      for (int i = 0; i < 50; ++i) decoder.step(tokens);
      CHECK(allocations() == before);
      if (allocations_are_counted()) CHECK(before > 0);
      CHECK(memory_stats().peak == live);
    }
}

TEST_CASE("A decoder keeps its weights when the model changes", "[decoder]") {
  RetNet model = random_model(random_choices(0), 17);
  Decoder decoder(model), before(model);
  for (Parameter& p : model.parameters()) fill(p.variable.value(), 0);
  CHECK(bit_difference(clone(decoder.step(Tokens{3})), clone(before.step(Tokens{3}))) == "");
  CHECK(sum_squares(clone(decoder.step(Tokens{3}))) > 0);
}

TEST_CASE("What a decoder cannot do is an error that says so", "[decoder]") {
  const RetNet model = random_model(small_config(), 19),
               narrow = random_model(random_choices(0), 19, Dtype::f32);
  CHECK(error_message([&] { Decoder(model, 0); }) == "decode: the batch must be at least 1, got 0");
  CHECK(error_message([&] {
          Decoder(model, 1, {false, -1});
        }) == "decode: the number of threads must be at least 0, got -1");
  CHECK(error_message([&] {
          Decoder(model, 1, {true, 1});
        }) == "decode: bf16 weights are for f32 models, this one is f64; decode it with its own weights");
  Decoder decoder(model, 2);
  CHECK(error_message([&] { decoder.step(Tokens{1}); }) ==
        "decode: needs one token for each of 2 sequences, got 1");
  CHECK(error_message([&] { decoder.step(Tokens{1, 11}); }) == "decode: a token must be in 0 .. 10, got 11");
  CHECK(error_message([&] { decoder.step(Tokens{-1, 1}); }) == "decode: a token must be in 0 .. 10, got -1");
  CHECK(decoder.position() == 0);
  CHECK(error_message([&] { decoder.load(model.initial_state(3)); }) ==
        "decode: the state must be of 2 sequences, or of one for all of them, got S [3, 2, 4, 6]");
  CHECK(error_message([&] { decoder.load(narrow.initial_state(2)); }) ==
        "decode: the state must be f64, as the model is, got f32");
  CHECK(error_message([&] { decoder.load({}); }) == "decode: the state is of 0 layers, the model has 2");
  ModelState torn = model.initial_state(2);
  torn.layers[1].pos = 4;
  CHECK(error_message([&] { decoder.load(torn); }) ==
        "decode: the layers of a state must be at one position, got 0 and 4");
}

}  // namespace retnet::test
