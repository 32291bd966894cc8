// Drawing tokens, and text one token at a time.
#include "retnet/generate.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "kernels/parallel.h"
#include "tests/support/allocations.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

using Tokens = std::vector<std::int32_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor logits_of(const std::vector<double>& probabilities) {
  std::vector<double> logits;
  for (const double p : probabilities) logits.push_back(std::log(p) + 3);  // any constant may be added
  return Tensor::from(logits, {static_cast<std::int64_t>(logits.size())});
}

// How often each token is drawn.
std::map<std::int32_t, int> histogram(const Tensor& logits, const SamplingOptions& options, int draws) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sample(logits, options, i)];
  return counts;
}

std::set<std::int32_t> drawn(const Tensor& logits, const SamplingOptions& options) {
  std::set<std::int32_t> tokens;
  for (const auto& [token, count] : histogram(logits, options, 2000)) tokens.insert(token);
  return tokens;
}

// Decays small enough that early tokens matter little after some hundred, widths that differ, chunks of 5.
Config small_config() {
  Config config;
  config.vocab = 13, config.d_model = 16, config.layers = 2, config.heads = 2, config.chunk = 5;
  config.key_width = 8, config.value_width = 12, config.ffn_width = 24;
  return config;
}

Tokens some_prompt(std::int64_t length) {
  Tokens tokens;
  for (std::int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<std::int32_t>((i * i + 3 * i) % 13));
  return tokens;
}

Tokens text(const RetNet& model, const Tokens& prompt, std::int64_t count,
            const SamplingOptions& options = {}) {
  Tokens tokens;
  generate(model, prompt, count, options, [&](std::int32_t token) {
    tokens.push_back(token);
    return true;
  });
  return tokens;
}

Tensor as_tensor(const Tokens& tokens) {
  return Tensor::from(tokens, {1, static_cast<std::int64_t>(tokens.size())});
}

// generate() written out, with the prompt read in one piece in a given form.
Tokens text_after_prompt_in(Form form, const RetNet& model, const Tokens& prompt, std::int64_t count,
                            const SamplingOptions& options) {
  const NoGrad no_grad;
  ModelState state = model.initial_state(1);
  ForwardOptions read, decode;
  read.form.form = form, decode.form.form = Form::recurrent;
  Variable logits = model.forward(as_tensor(prompt), state, read);
  Tokens tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(sample(select(select(logits.value(), 0, 0), 0, logits.dim(1) - 1), options, i));
    logits = model.forward(as_tensor({tokens.back()}), state, decode);
  }
  return tokens;
}

}  // namespace

TEST_CASE("temperature 0 and top_k 1 take the largest logit, the first of equals", "[generate][sample]") {
  const Tensor logits = Tensor::from(std::vector<double>{0.5, 2, -1, 2, 1.9}, {5});
  SamplingOptions greedy, one;
  greedy.temperature = 0, one.top_k = 1;
  for (const std::int64_t index : {0, 1, 2, 1000}) {
    CHECK(sample(logits, greedy, index) == 1);
    CHECK(sample(logits, one, index) == 1);
  }
}

TEST_CASE("Tokens are drawn as often as their probabilities say", "[generate][sample]") {
  const std::vector<double> p{0.5, 0.3, 0.15, 0.05};
  constexpr int kDraws = 40000;
  for (const std::uint64_t seed : {1u, 2u, 77u}) {
    SamplingOptions options;
    options.seed = seed;
    std::map<std::int32_t, int> counts = histogram(logits_of(p), options, kDraws);
    for (std::size_t i = 0; i < p.size(); ++i) {
      // Five standard deviations of a binomial count: a fair draw leaves them once in a million.
      const double mean = kDraws * p[i], deviation = std::sqrt(kDraws * p[i] * (1 - p[i]));
      CAPTURE(seed, i, counts[static_cast<std::int32_t>(i)], mean);
      CHECK(std::abs(counts[static_cast<std::int32_t>(i)] - mean) < 5 * deviation);
    }
  }
}

TEST_CASE("Temperature raises probabilities to the power 1/T", "[generate][sample]") {
  SamplingOptions options;
  options.temperature = 0.5;  // 0.5 : 0.3 : 0.2 becomes 25 : 9 : 4
  std::map<std::int32_t, int> counts = histogram(logits_of({0.5, 0.3, 0.2}), options, 38000);
  CHECK(std::abs(counts[0] - 25000) < 500);
  CHECK(std::abs(counts[1] - 9000) < 420);
  CHECK(std::abs(counts[2] - 4000) < 310);
}

TEST_CASE("Top-k and top-p keep the right tokens", "[generate][sample]") {
  const Tensor logits = logits_of({0.1, 0.4, 0.05, 0.3, 0.15});  // in order: 1, 3, 4, 0, 2
  const auto kept = [&](std::int64_t k, double p) {
    SamplingOptions options;
    options.top_k = k, options.top_p = p;
    return drawn(logits, options);
  };
  CHECK(kept(0, 1) == std::set<std::int32_t>{0, 1, 2, 3, 4});
  CHECK(kept(2, 1) == std::set<std::int32_t>{1, 3});
  CHECK(kept(99, 1) == std::set<std::int32_t>{0, 1, 2, 3, 4});
  CHECK(kept(0, 0.39) == std::set<std::int32_t>{1});        // 0.4 reaches it
  CHECK(kept(0, 0.41) == std::set<std::int32_t>{1, 3});     // 0.4 does not, 0.7 does
  CHECK(kept(0, 0.84) == std::set<std::int32_t>{1, 3, 4});  // 0.85 does
  CHECK(kept(0, 0.86) == std::set<std::int32_t>{0, 1, 3, 4});
  CHECK(kept(0, 1e-9) == std::set<std::int32_t>{1});
  CHECK(kept(3, 0.82) == std::set<std::int32_t>{1, 3});     // of 0.4 + 0.3 + 0.15, two are 0.823...
  CHECK(kept(3, 0.83) == std::set<std::int32_t>{1, 3, 4});  // ... and that is short of 0.83
}

TEST_CASE("Where tokens are equally likely the first ones stay", "[generate][sample]") {
  const Tensor logits = Tensor::zeros({8}, Dtype::f64);
  SamplingOptions options;
  options.top_k = 3;
  CHECK(drawn(logits, options) == std::set<std::int32_t>{0, 1, 2});
  options.top_k = 0, options.top_p = 0.6;  // five of eight
  CHECK(drawn(logits, options) == std::set<std::int32_t>{0, 1, 2, 3, 4});
}

TEST_CASE("A draw is a function of logits, seed and index alone", "[generate][sample]") {
  const Tensor logits = Tensor::zeros({256}, Dtype::f64);
  SamplingOptions options, other;
  other.seed = 2;
  Tokens forwards, backwards, others;
  for (int i = 0; i < 200; ++i) forwards.push_back(sample(logits, options, i));
  for (int i = 199; i >= 0; --i) backwards.insert(backwards.begin(), sample(logits, options, i));
  for (int i = 0; i < 200; ++i) others.push_back(sample(logits, other, i));
  CHECK(forwards == backwards);
  CHECK(forwards != others);
  CHECK(std::set<std::int32_t>(forwards.begin(), forwards.end()).size() >
        100);  // and indices differ from each other
}

TEST_CASE("Extreme logits and temperatures do no harm", "[generate][sample]") {
  const Tensor masked = Tensor::from(std::vector<double>{-kInfinity, 1e300, -1e300, -kInfinity}, {4});
  SamplingOptions options;
  CHECK(drawn(masked, options) == std::set<std::int32_t>{1});
  options.temperature = 1e-300;
  CHECK(drawn(logits_of({0.3, 0.4, 0.3}), options) == std::set<std::int32_t>{1});
  options.temperature = 1e300;
  CHECK(drawn(logits_of({0.9, 0.05, 0.05}), options) == std::set<std::int32_t>{0, 1, 2});
}

TEST_CASE("Logits and options that make no sense are errors", "[generate][sample]") {
  const auto problem = [](const std::vector<double>& logits, const SamplingOptions& options) {
    return error_message(
        [&] { sample(Tensor::from(logits, {static_cast<std::int64_t>(logits.size())}), options, 0); });
  };
  const auto contains = [](const std::string& text, const char* part) {
    return text.find(part) != text.npos;
  };
  SamplingOptions greedy;
  greedy.temperature = 0;
  for (const SamplingOptions& options : {SamplingOptions(), greedy}) {
    CHECK(contains(problem({0, std::nan(""), 1}, options), "token 1 is nan"));
    CHECK(contains(problem({0, kInfinity}, options), "token 1 is inf"));
    CHECK(contains(problem({-kInfinity, -kInfinity}, options), "all logits are -inf"));
  }
  for (const double t : {-0.1, std::nan(""), kInfinity}) {
    SamplingOptions options;
    options.temperature = t;
    CHECK(contains(problem({0, 1}, options), "temperature must be at least 0"));
  }
  for (const double p : {0.0, -1.0, 1.1, std::nan("")}) {
    SamplingOptions options;
    options.top_p = p;
    CHECK(contains(problem({0, 1}, options), "top_p must be in (0, 1]"));
  }
  SamplingOptions options;
  options.top_k = -1;
  CHECK(contains(problem({0, 1}, options), "top_k must be at least 0"));
  CHECK(contains(error_message([] { sample(Tensor::zeros({2, 3}), {}, 0); }), "needs logits [V]"));
}

TEST_CASE("Greedy text equals a full parallel pass at every step", "[generate][eq5][eq6]") {
  RetNet model(small_config(), 3, Dtype::f64);
  SamplingOptions greedy;
  greedy.temperature = 0;
  const Tokens prompt = some_prompt(11), written = text(model, prompt, 30, greedy);
  const NoGrad no_grad;
  ForwardOptions parallel;
  parallel.form.form = Form::parallel;
  Tokens all = prompt;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const Tensor logits = model.forward(as_tensor(all), parallel).value();
    const Tensor last = select(select(logits, 0, 0), 0, logits.dim(1) - 1);
    CAPTURE(i);
    REQUIRE(written[i] == sample(last, greedy, static_cast<std::int64_t>(i)));
    all.push_back(written[i]);
  }
  CHECK(std::set<std::int32_t>(written.begin(), written.end()).size() > 1);
}

TEST_CASE("The text is the same on any number of threads, and for a prompt read in any form",
          "[generate][threads]") {
  const RetNet model(small_config(), 4, Dtype::f64);
  const Tokens prompt = some_prompt(23);
  SamplingOptions options;
  options.seed = 5, options.top_p = 0.9;
  const Tokens written = text(model, prompt, 60, options);
  const int threads = kernels::num_threads();
  for (const int count : {1, 2, 3, 8}) {
    kernels::set_num_threads(count);
    CHECK(text(model, prompt, 60, options) == written);
  }
  kernels::set_num_threads(threads);
  for (const Form form : {Form::parallel, Form::recurrent, Form::chunkwise})
    CHECK(text_after_prompt_in(form, model, prompt, 60, options) == written);
}

TEST_CASE("bf16 weights write another text, the same on any number of threads", "[generate][bf16][threads]") {
  const RetNet model(small_config(), 4);
  const auto written = [&](const DecoderOptions& options) {
    Tokens tokens;
    const auto emit = [&](std::int32_t token) {
      tokens.push_back(token);
      return true;
    };
    generate(model, some_prompt(9), 300, {}, emit, options);
    return tokens;
  };
  const Tokens rounded = written({.bf16_weights = true, .threads = 1});
  CHECK(rounded == written({.bf16_weights = true, .threads = 3}));
  CHECK(rounded != written({.bf16_weights = false, .threads = 1}));
  CHECK(rounded[0] == written({})[0]);  // the prompt is read with the model's own weights
}

TEST_CASE("A prompt longer than one piece is read whole", "[generate]") {
  const RetNet model(small_config(), 4, Dtype::f64);
  const Tokens prompt = some_prompt(2500);
  CHECK(text(model, prompt, 20) == text_after_prompt_in(Form::chunkwise, model, prompt, 20, {}));
}

TEST_CASE("Memory does not grow with the length of the text", "[generate][memory]") {
  const RetNet model(small_config(), 6);
  std::int64_t peak_early = 0, live_early = 0, written = 0, allocations_early = 0, allocations_late = 0;
  SamplingOptions options;
  options.top_k = 9, options.top_p = 0.9;
  reset_peak_memory();
  generate(model, {1, 2, 3}, 2000, options, [&](std::int32_t) {
    if (++written == 100) {
      peak_early = memory_stats().peak, live_early = memory_stats().live;
      allocations_early = allocations();
      reset_peak_memory();
    }
    allocations_late = allocations();
    return true;
  });
  CHECK(allocations_late == allocations_early);  // nor by drawing
  CHECK(written == 2000);
  CHECK(peak_early > 0);
  CHECK(memory_stats().peak <= peak_early);
  CHECK(memory_stats().live <= live_early);
}

TEST_CASE("generate() stops when told to, and says what it cannot do", "[generate]") {
  const RetNet model(small_config(), 6);
  std::int64_t calls = 0;
  generate(model, {1}, 100, {}, [&](std::int32_t) { return ++calls < 7; });
  CHECK(calls == 7);
  CHECK(text(model, {1}, 0).empty());
  CHECK(text(model, {1}, 1).size() == 1);
  const auto ignore = [](std::int32_t) { return true; };
  CHECK(error_message([&] { generate(model, {}, 1, {}, ignore); }) ==
        "generate: the prompt must have at least one token");
  CHECK(error_message([&] { generate(model, {1}, -1, {}, ignore); }) ==
        "generate: the number of tokens must be at least 0, got -1");
  CHECK(error_message([&] { generate(model, {13}, 1, {}, ignore); }) != "no error");
}
