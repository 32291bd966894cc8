/// @file
/// Text, one token at a time.
#pragma once

#include <functional>

#include "retnet/model.h"

namespace retnet {

/// How the next token is drawn from the logits.
struct SamplingOptions {
  double temperature = 1;  ///< divides the logits; 0 takes the most likely token
  std::int64_t top_k = 0;  ///< only the k most likely tokens; 0: all
  double top_p = 1;        ///< only the most likely tokens that together have this probability, in (0, 1]
  std::uint64_t seed = 1;  ///< number i of the text is a function of the logits, the seed and i

  void validate() const;  ///< @throws Error naming the option and its range
};

/// Draws a token. @param logits  [V], f32 or f64;  @param index  position in the generated text
std::int32_t sample(const Tensor& logits, const SamplingOptions& options, std::int64_t index);

/// Reads a prompt in the chunkwise form, then draws tokens in the recurrent form: the cost of a token does
/// not depend on how many came before it, and neither does the memory.
/// @param prompt  at least one token
/// @param count   tokens to draw
/// @param emit    called with each token as soon as it is drawn; returns false to stop
void generate(const RetNet& model, const std::vector<std::int32_t>& prompt, std::int64_t count,
              const SamplingOptions& options, const std::function<bool(std::int32_t)>& emit);

}  // namespace retnet
