/// @file
/// How fast a model decodes: for batches of several sizes, with f32 and bf16 weights, early and late in a
/// text.
#pragma once

#include <functional>

#include "retnet/config.h"
#include "tensor/dtype.h"

namespace retnet {

/// One case and its median time.
struct DecodeTiming {
  std::int64_t batch = 1;
  bool bf16_weights = false;
  std::int64_t position = 0;     ///< of the first token that is timed
  double seconds = 0;            ///< of a step: one token for every sequence
  double tokens_per_second = 0;  ///< of all sequences together
  double weight_bytes_per_second = 0;
};

/// Times the steps of a freshly initialised model: batches of 1, 4 and 16 with either kind of weights, and
/// one sequence after 10^2, 10^4 and 10^6 tokens.
/// On a GPU there is a batch of 64 as well, the weights are f32, and steps are queued without a look at their
/// logits.
/// @param budget  seconds for each case, about
/// @param report  called with each case as soon as it is measured
void bench_decode(const Config& config, Device device, double budget,
                  const std::function<void(const DecodeTiming&)>& report);

}  // namespace retnet
