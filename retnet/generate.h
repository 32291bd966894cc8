/// @file
/// Text, one token at a time.
#pragma once

#include <functional>

#include "retnet/decoder.h"

namespace retnet {

/// How the next token is drawn from the logits: first the temperature, then top_k, then top_p of what is
/// left. Of equally likely tokens the smaller one counts as the likelier.
struct SamplingOptions {
  double temperature = 1;  ///< divides the logits; 0 takes the most likely token
  std::int64_t top_k = 0;  ///< only the k most likely tokens; 0: all
  double top_p = 1;        ///< only the fewest of the most likely that together reach this share, in (0, 1]
  std::uint64_t seed = 1;  ///< number i of the text is a function of the logits, the seed and i

  void validate() const;  ///< @throws Error naming the option and its range
};

/// A token and its probability up to a common factor.
struct Candidate {
  std::int32_t token;
  double weight;
};

/// Draws tokens from logits, with buffers of its own: a draw does not allocate.
class Sampler {
 public:
  /// @param vocab  V, the number of logits
  Sampler(const SamplingOptions& options, std::int64_t vocab);

  /// @param logits  [V], of any floating dtype;  @param index  position in the generated text
  std::int32_t draw(const Tensor& logits, std::int64_t index);

 private:
  SamplingOptions options_;
  std::vector<double> logits_;
  std::vector<Candidate> candidates_;
};

/// One draw of a Sampler.
std::int32_t sample(const Tensor& logits, const SamplingOptions& options, std::int64_t index);

/// Reads a prompt in the chunkwise form, then draws tokens in the recurrent form: the cost of a token does
/// not depend on how many came before it, and neither does the memory.
/// @param prompt   at least one token
/// @param count    tokens to draw
/// @param emit     called with each token as soon as it is drawn; returns false to stop
/// @param decoder  how the tokens after the prompt are computed by a model on the CPU
void generate(const RetNet& model, const std::vector<std::int32_t>& prompt, std::int64_t count,
              const SamplingOptions& options, const std::function<bool(std::int32_t)>& emit,
              const DecoderOptions& decoder = {});

}  // namespace retnet
