#include "retnet/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/functions.h"
#include "tensor/dispatch.h"

namespace retnet {
namespace {

// The stream of random numbers that draws tokens; it differs from those of weights, windows and dropout.
constexpr std::uint64_t kSamplingStream = 0x73616d706c65;  // "sample"

// Tokens of a prompt that are read at once: the memory for a long prompt is that of this many.
constexpr std::int64_t kPromptPiece = 1024;

// The largest logit's index, the first of equals.
std::size_t largest(const std::vector<double>& logits) {
  for (std::size_t i = 0; i < logits.size(); ++i)
    require(logits[i] < std::numeric_limits<double>::infinity(), "sample", "the logit of token ", i, " is ",
            logits[i], "; the model's weights or its input have gone wrong");
  const auto best = std::max_element(logits.begin(), logits.end());
  require(std::isfinite(*best), "sample", "all logits are ", *best);
  return static_cast<std::size_t>(best - logits.begin());
}

// The heavier first; of equals the one with the smaller token.
bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

// Keeps the k heaviest, then the heaviest that together reach the fraction p of those.
void keep_likely(std::vector<Candidate>& candidates, std::int64_t k, double p) {
  const auto all = static_cast<std::int64_t>(candidates.size());
  const std::int64_t count = k > 0 ? std::min(k, all) : all;
  std::partial_sort(candidates.begin(), candidates.begin() + count, candidates.end(), heavier);
  candidates.resize(static_cast<std::size_t>(count));
  if (p >= 1) return;
  double total = 0, kept = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  std::size_t enough = 0;
  while (enough < candidates.size() && kept < p * total) kept += candidates[enough++].weight;
  candidates.resize(std::max<std::size_t>(1, enough));
}

// A real in [0, 1) with 53 random bits.
double uniform(std::uint64_t seed, std::int64_t index) {
  const RandomKey key{seed, kSamplingStream};
  const auto number = 2 * static_cast<std::uint64_t>(index);
  const std::uint64_t high = kernels::random_bits(key, number), low = kernels::random_bits(key, number + 1);
  return static_cast<double>((high << 21) ^ (low >> 11)) * 0x1p-53;
}

// Reads a prompt in the chunkwise form, in pieces. Returns the logits after its last token, [V], and moves
// the state behind it.
Tensor read_prompt(const RetNet& model, const std::vector<std::int32_t>& prompt, ModelState& state) {
  const NoGrad no_grad;
  const auto length = static_cast<std::int64_t>(prompt.size());
  Tensor logits;
  for (std::int64_t begin = 0; begin < length; begin += kPromptPiece) {
    const std::int64_t end = std::min(length, begin + kPromptPiece);
    const Tensor piece = Tensor::from(std::vector<std::int32_t>(prompt.begin() + begin, prompt.begin() + end),
                                      {1, end - begin});
    ForwardOptions options;
    options.form.form = Form::chunkwise;
    logits = select(select(model.forward(piece, state, options).value(), 0, 0), 0, end - begin - 1);
  }
  return logits;
}

}  // namespace

void SamplingOptions::validate() const {
  require(temperature >= 0 && std::isfinite(temperature), "sample",
          "the temperature must be at least 0 and finite, got ", temperature);
  require(top_k >= 0, "sample", "top_k must be at least 0, got ", top_k);
  require(top_p > 0 && top_p <= 1, "sample", "top_p must be in (0, 1], got ", top_p);
}

Sampler::Sampler(const SamplingOptions& options, std::int64_t vocab) : options_(options) {
  options.validate();
  logits_.resize(static_cast<std::size_t>(vocab));
  candidates_.reserve(logits_.size());
}

std::int32_t Sampler::draw(const Tensor& given, std::int64_t index) {
  const Tensor logits = given.to(Device::cpu);
  require(
      logits.rank() == 1 && logits.size() >= 1 && logits.dim(0) == static_cast<std::int64_t>(logits_.size()),
      "sample", "needs logits [V], got ", logits.shape());
  require(index >= 0, "sample", "the index must be at least 0, got ", index);
  with_type("sample", logits.dtype(), [&]<class T>(Type<T>) {
    for (std::size_t i = 0; i < logits_.size(); ++i)
      logits_[i] = static_cast<double>(logits.data<T>()[static_cast<std::int64_t>(i) * logits.strides()[0]]);
  });
  const std::size_t best = largest(logits_);
  if (options_.temperature == 0) return static_cast<std::int32_t>(best);

  candidates_.clear();
  for (std::size_t i = 0; i < logits_.size(); ++i)
    candidates_.push_back(
        {static_cast<std::int32_t>(i), std::exp((logits_[i] - logits_[best]) / options_.temperature)});
  if (options_.top_k > 0 || options_.top_p < 1) keep_likely(candidates_, options_.top_k, options_.top_p);

  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double left = uniform(options_.seed, index) * total;
  std::int32_t chosen = static_cast<std::int32_t>(best);  // stays when rounding leaves nothing to choose
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    chosen = candidate.token;
    if (left < candidate.weight) break;
    left -= candidate.weight;
  }
  return chosen;
}

std::int32_t sample(const Tensor& logits, const SamplingOptions& options, std::int64_t index) {
  options.validate();
  require(logits.rank() == 1 && logits.size() >= 1, "sample", "needs logits [V], got ", logits.shape());
  return Sampler(options, logits.size()).draw(logits, index);
}

namespace {

/// Calls `next(token)`, which gives the logits after it, for every token that is drawn but the last.
template <class Next>
void draw_tokens(Tensor logits, std::int64_t count, Sampler& sampler,
                 const std::function<bool(std::int32_t)>& emit, Next&& next) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t token = sampler.draw(logits, i);
    if (!emit(token) || i + 1 == count) return;
    logits = next(token);
  }
}

/// The logits after one more token, from the model itself on its device: the decoder's packed weights are for
/// the CPU. A chunk of one token is a step of the recurrent form, and runs fused.
Tensor recurrent_step(const RetNet& model, std::int32_t token, ModelState& state) {
  const NoGrad no_grad;
  ForwardOptions options;
  options.form.form = Form::chunkwise;
  const Tensor tokens = Tensor::from(std::vector<std::int32_t>{token}, {1, 1});
  return reshape(model.forward(tokens, state, options).value(), {model.config().vocab});
}

}  // namespace

void generate(const RetNet& model, const std::vector<std::int32_t>& prompt, std::int64_t count,
              const SamplingOptions& options, const std::function<bool(std::int32_t)>& emit,
              const DecoderOptions& decoder_options) {
  options.validate();
  require(!prompt.empty(), "generate", "the prompt must have at least one token");
  require(count >= 0, "generate", "the number of tokens must be at least 0, got ", count);
  Sampler sampler(options, model.config().vocab);
  ModelState state = model.initial_state(1);
  if (model.device() != Device::cpu) {
    require(!decoder_options.bf16_weights, "generate",
            "bf16 weights are for the device cpu, the model is on ", model.device());
    const Tensor logits = read_prompt(model, prompt, state);
    draw_tokens(logits, count, sampler, emit,
                [&](std::int32_t token) { return recurrent_step(model, token, state); });
    return;
  }
  Decoder decoder(model, 1, decoder_options);
  const Tensor logits = read_prompt(model, prompt, state);
  decoder.load(state);
  draw_tokens(logits, count, sampler, emit, [&](std::int32_t token) {
    return select(decoder.step({&token, 1}), 0, 0);
  });
}

}  // namespace retnet
