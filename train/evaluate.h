/// @file
/// Loss on held-out text.
#pragma once

#include <atomic>
#include <optional>

#include "retnet/model.h"
#include "train/dataset.h"

namespace retnet {

/// Mean loss per byte.
struct Evaluation {
  double nats = 0;         ///< mean cross-entropy in nats
  std::int64_t bytes = 0;  ///< bytes predicted
  double bits() const;     ///< per byte: nats / ln 2
  double perplexity() const;
};

/// Predicts the held-out part window by window, each window from the zero state.
/// @param windows  how many, spread evenly; 0 takes all
Evaluation evaluate(const RetNet& model, const Dataset& data, std::int64_t window, std::int64_t batch,
                    const FormOptions& form, std::int64_t windows = 0);

/// The same, or nothing when `stop` is set before the last batch is begun; returns with the batches at hand.
std::optional<Evaluation> evaluate_until(const std::atomic<bool>& stop, const RetNet& model,
                                         const Dataset& data, std::int64_t window, std::int64_t batch,
                                         const FormOptions& form, std::int64_t windows = 0);

}  // namespace retnet
