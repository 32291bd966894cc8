#include "train/evaluate.h"

#include <algorithm>
#include <cmath>

namespace retnet {
namespace {

/// Numbers of `count` of `total` windows, evenly spread.
std::vector<std::int64_t> spread(std::int64_t total, std::int64_t count) {
  std::vector<std::int64_t> windows;
  for (std::int64_t i = 0; i < count; ++i)
    windows.push_back(i * (total / count) + i * (total % count) / count);
  return windows;
}

/// Cross-entropy of every byte of a batch, added one by one to `nats`: the sum does not depend on the batch
/// size.
void add_losses(const RetNet& model, const Batch& batch, const FormOptions& form, double& nats) {
  const Variable logits = model.forward(batch.tokens, {.form = form, .dropout = {}, .recompute = false});
  const Variable losses = cross_entropy(logits, batch.targets);
  for (const double loss : losses.value().to_vector<double>()) nats += loss;
}

}  // namespace

double Evaluation::bits() const { return nats / std::log(2.0); }
double Evaluation::perplexity() const { return std::exp(nats); }

Evaluation evaluate(const RetNet& model, const Dataset& data, std::int64_t window, std::int64_t batch,
                    const FormOptions& form, std::int64_t windows) {
  const std::int64_t total = data.held_out_windows(window);
  require(batch >= 1 && window >= 1 && windows >= 0, "evaluate",
          "needs a batch and a window of at least 1, got ", batch, " and ", window);
  require(total > 0, "evaluate", "needs at least 2 bytes of text, got ", data.held_out_size());
  const NoGrad no_grad;
  const std::vector<std::int64_t> chosen = spread(total, windows == 0 ? total : std::min(windows, total));
  Evaluation result;
  double nats = 0;
  for (std::size_t begin = 0; begin < chosen.size();) {
    // A batch holds windows of one length; only the last window of the text may be shorter.
    const std::int64_t length = data.held_out_length(chosen[begin], window);
    std::vector<std::int64_t> some;
    while (begin < chosen.size() && static_cast<std::int64_t>(some.size()) < batch &&
           data.held_out_length(chosen[begin], window) == length)
      some.push_back(chosen[begin++]);
    add_losses(model, data.held_out_batch(some, window), form, nats);
    result.bytes += length * static_cast<std::int64_t>(some.size());
  }
  result.nats = nats / static_cast<double>(result.bytes);
  return result;
}

}  // namespace retnet
