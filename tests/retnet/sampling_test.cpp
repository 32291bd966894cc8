// The rules of drawing a token, one by one and together: temperature, then the k most likely, then the most
// likely that reach p of those, then number i of the seed's stream.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>

#include "kernels/parallel.h"
#include "kernels/random.h"
#include "retnet/generate.h"
#include "tests/support/gpu.h"
#include "tests/support/random.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

using Tokens = std::vector<std::int32_t>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor tensor_of(const std::vector<double>& logits) {
  return Tensor::from(logits, {static_cast<std::int64_t>(logits.size())});
}

SamplingOptions options_of(double temperature, std::int64_t k, double p, std::uint64_t seed = 1) {
  SamplingOptions options;
  options.temperature = temperature, options.top_k = k, options.top_p = p, options.seed = seed;
  return options;
}

/// Number i of a text's stream, 53 bits of Philox: 32 of word 2i above 21 of word 2i + 1.
double number_of(std::uint64_t seed, std::int64_t i) {
  const kernels::RandomKey key{seed, 0x73616d706c65};
  const std::uint64_t high = kernels::random_bits(key, 2 * static_cast<std::uint64_t>(i)),
                      low = kernels::random_bits(key, 2 * static_cast<std::uint64_t>(i) + 1);
  return static_cast<double>(high * 2097152 + low / 2048) / 9007199254740992.0;
}

/// The tokens that may be drawn with their probabilities, in the order in which they are drawn, by the
/// documented rules and nothing else.
std::vector<std::pair<int, double>> distribution(const std::vector<double>& logits,
                                                 const SamplingOptions& options) {
  std::vector<std::pair<int, double>> all;
  const double top = *std::max_element(logits.begin(), logits.end());
  for (std::size_t i = 0; i < logits.size(); ++i)
    all.emplace_back(static_cast<int>(i), std::exp((logits[i] - top) / options.temperature));
  if (options.top_k == 0 && options.top_p == 1) return all;
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.second > b.second; });
  if (options.top_k > 0)
    all.resize(std::min(all.size(), static_cast<std::size_t>(options.top_k)));  // ties: the smaller tokens
  double total = 0, kept = 0;
  for (const auto& [token, weight] : all) total += weight;
  std::size_t count = 0;
  while (options.top_p < 1 && count < all.size() && kept < options.top_p * total) kept += all[count++].second;
  if (options.top_p < 1) all.resize(count);  // the one that reaches p is the last that stays
  return all;
}

int expected_token(const std::vector<double>& logits, const SamplingOptions& options, std::int64_t i) {
  double total = 0, below = 0;
  const auto tokens = distribution(logits, options);
  for (const auto& [token, weight] : tokens) total += weight;
  const double number = number_of(options.seed, i) * total;
  for (const auto& [token, weight] : tokens)
    if (number < (below += weight)) return token;
  return -1;
}

std::set<int> drawn(const std::vector<double>& logits, const SamplingOptions& options, int draws = 600) {
  std::set<int> tokens;
  Sampler sampler(options, static_cast<std::int64_t>(logits.size()));
  for (int i = 0; i < draws; ++i) tokens.insert(sampler.draw(tensor_of(logits), i));
  return tokens;
}

Tokens text_of(const RetNet& model, const Tokens& prompt, std::int64_t count, const SamplingOptions& options,
               const DecoderOptions& decoder = {}) {
  Tokens tokens;
  generate(
      model, prompt, count, options, [&](std::int32_t token) { return tokens.push_back(token), true; },
      decoder);
  return tokens;
}

TEST_CASE("a draw is the one that the rules give, for any temperature, k, p, seed and index together",
          "[sample][rules]") {
  std::mt19937_64 bits(5);
  const auto pick = [&](std::initializer_list<double> values) {
    return values.begin()[bits() % values.size()];
  };
  for (int number = 0; number < 3000; ++number) {
    std::vector<double> logits(1 + bits() % 40);
    const double steps = pick({1, 2, 1000});  // few steps: many ties
    for (double& x : logits) x = std::round(steps * 3 * normal(bits)) / steps;
    const SamplingOptions options =
        options_of(pick({0.2, 0.5, 1, 1.7, 4}), static_cast<std::int64_t>(pick({0, 0, 1, 2, 5, 39, 40, 41})),
                   pick({1, 1, 0.95, 0.5, 0.1, 1e-9}), bits() % 100);
    const auto i = static_cast<std::int64_t>(bits() % 1000);
    CAPTURE(number, logits.size(), options.temperature, options.top_k, options.top_p, options.seed, i);
    CHECK(sample(tensor_of(logits), options, i) == expected_token(logits, options, i));
  }
}

TEST_CASE("temperature comes before top-k, and top-k before top-p", "[sample][rules]") {
  const std::vector<double> logits{std::log(0.5), std::log(0.3), std::log(0.15), std::log(0.05)};
  // Squared, 0.5 and 0.3 become 0.68 and 0.25: one reaches 0.6 now. Their roots are 0.37 and 0.29: two do.
  CHECK(drawn(logits, options_of(0.5, 0, 0.6)) == std::set<int>{0});
  CHECK(drawn(logits, options_of(1, 0, 0.6)) == std::set<int>{0, 1});
  CHECK(drawn(logits, options_of(2, 0, 0.6)) == std::set<int>{0, 1});
  CHECK(drawn(logits, options_of(4, 0, 0.6)) == std::set<int>{0, 1, 2});
  // Of all four, 0.6 needs two; of the best two alone, the first has 0.625.
  CHECK(drawn(logits, options_of(1, 2, 0.6)) == std::set<int>{0});
  CHECK(drawn(logits, options_of(1, 2, 0.63)) == std::set<int>{0, 1});
}

TEST_CASE("where p is reached exactly nothing more is kept, and the token that reaches it is",
          "[sample][rules]") {
  const std::vector<double> equal(8, 0.25);  // each an eighth: sums without rounding
  for (int n = 1; n <= 8; ++n) {
    std::set<int> first, next;
    for (int i = 0; i < n; ++i) first.insert(i);
    next = first, next.insert(std::min(n, 7));
    CHECK(drawn(equal, options_of(1, 0, n / 8.0)) == first);
    CHECK(drawn(equal, options_of(1, 0, std::min(1.0, n / 8.0 + 1e-12))) == next);
    CHECK(drawn(equal, options_of(1, n, 1)) == first);
  }
}

TEST_CASE("k = 0, k at or above the vocabulary and p = 1 keep everything", "[sample][rules]") {
  const std::vector<double> logits{0, -5, 1, 0.5, -6};
  for (const std::int64_t k : {0, 5, 6, 1 << 30})
    CHECK(drawn(logits, options_of(1, k, 1), 20000) == std::set<int>{0, 1, 2, 3, 4});
  CHECK(drawn(logits, options_of(1, 4, 1), 20000) == std::set<int>{0, 1, 2, 3});
  CHECK(drawn(logits, options_of(1, 0, 1 - 1e-16), 20000) == std::set<int>{0, 1, 2, 3, 4});
}

TEST_CASE("of tokens that tie at the k-th place the first stay, wherever the others are", "[sample][rules]") {
  const std::vector<double> logits{1, 2, 1, 3, 1, 2};
  const std::set<int> best[] = {{3}, {1, 3}, {1, 3, 5}, {0, 1, 3, 5}, {0, 1, 2, 3, 5}, {0, 1, 2, 3, 4, 5}};
  for (std::int64_t k = 1; k <= 6; ++k) CHECK(drawn(logits, options_of(3, k, 1)) == best[k - 1]);
  for (const auto& [list, first] :
       {std::pair<std::vector<double>, int>{{2, 2, 2}, 0}, {{1, 2, 2}, 1}, {{1, 0, 2}, 2}}) {
    CHECK(drawn(list, options_of(0, 0, 1), 20) == std::set<int>{first});
    CHECK(drawn(list, options_of(0, 3, 0.5), 20) == std::set<int>{first});
    CHECK(drawn(list, options_of(1, 1, 1), 20) == std::set<int>{first});
  }
}

TEST_CASE("temperatures and logits of any size neither overflow nor vanish", "[sample][rules]") {
  constexpr double kLargest = std::numeric_limits<double>::max(), kLeast = 5e-324;
  const std::vector<double> far{-kLargest / 2, 0, kLargest / 2}, near{0, 1e-300, -kInfinity};
  CHECK(drawn(far, options_of(1, 0, 1)) == std::set<int>{2});
  CHECK(drawn(far, options_of(kLargest, 0, 1), 3000) == std::set<int>{0, 1, 2});
  CHECK(drawn(near, options_of(1, 0, 1)) == std::set<int>{0, 1});
  CHECK(drawn(near, options_of(kLeast, 0, 1)) == std::set<int>{1});
  CHECK(drawn({3, 3, 2}, options_of(kLeast, 0, 1)) == std::set<int>{0, 1});
  CHECK(drawn({3, 3, -kInfinity}, options_of(kLargest, 0, 1)) == std::set<int>{0, 1});
  CHECK(drawn({1000, 1001, 0}, options_of(1, 2, 0.5)) == std::set<int>{1});
  CHECK(drawn({7}, options_of(1, 0, 1)) == std::set<int>{0});  // a vocabulary of one
}

TEST_CASE("a logit that is not a number is named by its token, whatever the options", "[sample][rules]") {
  for (const SamplingOptions& options : {options_of(1, 0, 1), options_of(0, 0, 1), options_of(1, 1, 0.1)})
    for (const std::size_t bad : {0, 1, 2})
      for (const double value : {std::nan(""), kInfinity}) {
        std::vector<double> logits{0.5, 2, -1};
        logits[bad] = value;
        const std::string start = "sample: the logit of token " + std::to_string(bad) + " is ";
        CHECK(error_message([&] { sample(tensor_of(logits), options, 0); }).starts_with(start));
      }
  CHECK(sample(tensor_of({-kInfinity, -3, -kInfinity}), options_of(0, 0, 1), 0) == 1);
  CHECK(error_message([] {
          sample(tensor_of({1, 2}), {}, -1);
        }) == "sample: the index must be at least 0, got -1");
  CHECK(error_message([] {
          Sampler({}, 3).draw(tensor_of({1, 2}), 0);
        }) == "sample: needs logits [V], got [2]");
}

TEST_CASE("number i of a seed's stream decides, to its last bits", "[sample][rules]") {
  for (const std::uint64_t seed : {1ull, 2ull, 1ull << 40})
    for (const std::int64_t i : {0, 1, 2, 3, 1000, 1 << 30}) {
      double low = 0, high = 1;
      for (int halving = 0; halving < 52; ++halving) {
        const double middle = (low + high) / 2;
        (sample(tensor_of({std::log(middle), std::log1p(-middle)}), options_of(1, 0, 1, seed), i) == 0
             ? high
             : low) = middle;
      }
      CHECK(std::abs(low - number_of(seed, i)) < 1e-15);
    }
  // What these numbers were when the first text was written: no later program may draw another one.
  Tokens tokens;
  for (int i = 0; i < 8; ++i) tokens.push_back(sample(Tensor::zeros({1000}), {}, i));
  CHECK(tokens == Tokens{8, 291, 811, 143, 319, 11, 962, 440});
}

TEST_CASE("a sampler that has drawn before draws as a new one, from logits of any dtype and layout",
          "[sample][rules]") {
  Sampler used(options_of(0.8, 7, 0.9), 12);
  for (unsigned number = 0; number < 60; ++number) {
    const Tensor table = random({12, 3}, number);
    for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
      const Tensor column = select(astype(table, dtype), 1, 1);
      const std::int32_t token = used.draw(column, number);
      CHECK(token == sample(contiguous(column), options_of(0.8, 7, 0.9), number));
      CHECK(token == expected_token(astype(contiguous(column), Dtype::f64).to_vector<double>(),
                                    options_of(0.8, 7, 0.9), number));
    }
  }
}

TEST_CASE("frequencies are the softmax of the logits over the temperature, among those that are kept",
          "[sample][rules]") {
  constexpr int kDraws = 20000;
  const std::vector<double> logits{0.3, 1.1, -0.4, 0.9, 1.1, -2};
  for (const SamplingOptions& options :
       {options_of(1, 0, 1), options_of(0.6, 4, 1), options_of(1.5, 0, 0.9, 8)}) {
    std::vector<double> counts(logits.size()), wanted(logits.size());
    double total = 0;
    for (const auto& [token, weight] : distribution(logits, options)) total += weight;
    for (const auto& [token, weight] : distribution(logits, options))
      wanted[static_cast<std::size_t>(token)] = weight / total;
    for (int i = 0; i < kDraws; ++i)
      ++counts[static_cast<std::size_t>(sample(tensor_of(logits), options, i))];
    for (std::size_t i = 0; i < logits.size(); ++i) {
      CAPTURE(i, counts[i], wanted[i]);
      CHECK(std::abs(counts[i] / kDraws - wanted[i]) <= 5 * std::sqrt(wanted[i] * (1 - wanted[i]) / kDraws));
    }
  }
}

TEST_CASE("a text is drawn by its numbers from 0, behind a prompt of any length", "[sample][generate]") {
  Config config = small_config();
  config.chunk = 64;
  const RetNet model = random_model(config, 5);
  const SamplingOptions options = options_of(1.3, 6, 0.95, 9);
  for (const std::int64_t length : {1, 2, 1023, 1024, 1025, 2049}) {  // it is read 1024 at a time
    Tokens prompt;
    for (std::int64_t i = 0; i < length; ++i) prompt.push_back(static_cast<std::int32_t>((i * i + 3) % 11));
    const Tokens text = text_of(model, prompt, 12, options);
    REQUIRE(text.size() == 12);
    const NoGrad no_grad;
    ModelState state = model.initial_state(1);
    Tensor next = Tensor::from(prompt, {1, length});
    for (std::int64_t i = 0; i < 12; ++i) {
      const Tensor all = model.forward(next, state).value();
      const std::vector<double> logits = select(select(all, 0, 0), 0, next.dim(1) - 1).to_vector<double>();
      const std::int32_t token = text[static_cast<std::size_t>(i)];
      CAPTURE(length, i);
      REQUIRE(expected_token(logits, options, i) == token);
      for (std::uint64_t seed = 0; i == 0 && seed < 12; ++seed) {
        const SamplingOptions other = options_of(0.7, 0, 1, seed);
        REQUIRE(text_of(model, prompt, 1, other).at(0) == expected_token(logits, other, 0));
      }
      next = Tensor::from(Tokens{token}, {1, 1});
    }
    CHECK(text_of(model, prompt, 0, options).empty());
    CHECK(text_of(model, prompt, 5, options) == Tokens(text.begin(), text.begin() + 5));
  }
}

TEST_CASE("every row of a batch is drawn as it is alone, with all weights of a decoder",
          "[sample][decoder]") {
  const RetNet model = random_model(small_config(), 6, Dtype::f32);
  for (const bool bf16_weights : {false, true}) {
    Decoder batch(model, 3, {.bf16_weights = bf16_weights, .threads = 1});
    Decoder alone(model, 1, {.bf16_weights = bf16_weights, .threads = 1});
    Tokens tokens{4, 4, 4};
    for (std::int64_t i = 0; i < 20; ++i) {
      const Tensor rows = batch.step(tokens), row = alone.step({tokens.data(), 1});
      const SamplingOptions options = options_of(1.2, 7, 0.9, 3);
      const std::int32_t token = sample(select(row, 0, 0), options, i);
      for (const std::int64_t b : {0, 1, 2}) REQUIRE(sample(select(rows, 0, b), options, i) == token);
      tokens.assign(3, token);
    }
  }
}

TEST_CASE("logits on the GPU are drawn from as those on the CPU", "[gpu][sample]") {
  RETNET_NEEDS_GPU();
  for (unsigned number = 0; number < 20; ++number)
    for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
      const Tensor table = astype(random({12, 3}, number), dtype);
      const SamplingOptions options = options_of(0.8, 7, 0.9);
      CHECK(sample(select(table.to(Device::hip), 1, 2), options, number) ==
            sample(select(table, 1, 2), options, number));
    }
  const Tensor tied = Tensor::zeros({5}, Dtype::f32, Device::hip);
  CHECK(sample(tied, options_of(0, 0, 1), 3) == 0);
}

}  // namespace
}  // namespace retnet::test
