#include "retnet/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/functions.h"

namespace retnet {
namespace {

// The stream of random numbers that draws tokens; it differs from those of weights, windows and dropout.
constexpr std::uint64_t kSamplingStream = 0x73616d706c65;  // "sample"

// Tokens of a prompt that are read at once: the memory for a long prompt is that of this many.
constexpr std::int64_t kPromptPiece = 1024;

// A token and its probability up to a common factor.
struct Candidate {
  std::int32_t token;
  double weight;
};

// The largest logit's index, the first of equals.
std::size_t largest(const std::vector<double>& logits) {
  for (std::size_t i = 0; i < logits.size(); ++i)
    require(logits[i] < std::numeric_limits<double>::infinity(), "sample", "the logit of token ", i, " is ",
            logits[i], "; the model's weights or its input have gone wrong");
  const auto best = std::max_element(logits.begin(), logits.end());
  require(std::isfinite(*best), "sample", "all logits are ", *best);
  return static_cast<std::size_t>(best - logits.begin());
}

// Keeps the k heaviest, then the heaviest that together reach the fraction p of those. Of equals the first
// stay.
void keep_likely(std::vector<Candidate>& candidates, std::int64_t k, double p) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.weight > b.weight; });
  if (k > 0 && k < static_cast<std::int64_t>(candidates.size()))
    candidates.resize(static_cast<std::size_t>(k));
  if (p >= 1) return;
  double total = 0, kept = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  std::size_t count = 0;
  while (count < candidates.size() && kept < p * total) kept += candidates[count++].weight;
  candidates.resize(std::max<std::size_t>(1, count));
}

// A real in [0, 1) with 53 random bits.
double uniform(std::uint64_t seed, std::int64_t index) {
  const RandomKey key{seed, kSamplingStream};
  const auto number = 2 * static_cast<std::uint64_t>(index);
  const std::uint64_t high = kernels::random_bits(key, number), low = kernels::random_bits(key, number + 1);
  return static_cast<double>((high << 21) ^ (low >> 11)) * 0x1p-53;
}

// Logits after the last token of a piece, [V]. The state moves on behind it.
Tensor last_logits(const RetNet& model, const std::int32_t* tokens, std::int64_t count, ModelState& state,
                   Form form) {
  const Tensor piece = Tensor::from(std::vector<std::int32_t>(tokens, tokens + count), {1, count});
  ForwardOptions options;
  options.form.form = form;
  return select(select(model.forward(piece, state, options).value(), 0, 0), 0, count - 1);
}

}  // namespace

void SamplingOptions::validate() const {
  require(temperature >= 0 && std::isfinite(temperature), "sample",
          "the temperature must be at least 0, got ", temperature);
  require(top_k >= 0, "sample", "top_k must be at least 0, got ", top_k);
  require(top_p > 0 && top_p <= 1, "sample", "top_p must be in (0, 1], got ", top_p);
}

std::int32_t sample(const Tensor& logits, const SamplingOptions& options, std::int64_t index) {
  options.validate();
  require(logits.rank() == 1 && logits.size() >= 1, "sample", "needs logits [V], got ", logits.shape());
  require(index >= 0, "sample", "the index must be at least 0, got ", index);
  const std::vector<double> values = logits.to_vector<double>();
  const std::size_t best = largest(values);
  if (options.temperature == 0) return static_cast<std::int32_t>(best);

  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < values.size(); ++i)
    candidates.push_back(
        {static_cast<std::int32_t>(i), std::exp((values[i] - values[best]) / options.temperature)});
  if (options.top_k > 0 || options.top_p < 1) keep_likely(candidates, options.top_k, options.top_p);

  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  double left = uniform(options.seed, index) * total;
  std::int32_t chosen = static_cast<std::int32_t>(best);  // stays when rounding leaves nothing to choose
  for (const Candidate& candidate : candidates) {
    if (candidate.weight == 0) continue;
    chosen = candidate.token;
    if (left < candidate.weight) break;
    left -= candidate.weight;
  }
  return chosen;
}

void generate(const RetNet& model, const std::vector<std::int32_t>& prompt, std::int64_t count,
              const SamplingOptions& options, const std::function<bool(std::int32_t)>& emit) {
  options.validate();
  require(!prompt.empty(), "generate", "the prompt must have at least one token");
  require(count >= 0, "generate", "the number of tokens must be at least 0, got ", count);
  const NoGrad no_grad;
  ModelState state = model.initial_state(1);

  Tensor logits;
  const auto length = static_cast<std::int64_t>(prompt.size());
  for (std::int64_t begin = 0; begin < length; begin += kPromptPiece)
    logits = last_logits(model, prompt.data() + begin, std::min(kPromptPiece, length - begin), state,
                         Form::chunkwise);

  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t token = sample(logits, options, i);
    if (!emit(token) || i + 1 == count) return;
    logits = last_logits(model, &token, 1, state, Form::recurrent);
  }
}

}  // namespace retnet
