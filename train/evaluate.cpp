#include "train/evaluate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/parallel.h"

namespace retnet {
namespace {

/// Some held-out windows, evenly spread, in batches of one length: only the last window of a text may be
/// shorter. They are worked out when they are asked for, as a large text has more windows than memory holds.
class WindowBatches {
 public:
  /// @param count  how many windows, 1 .. all;  @param batch  how many together at the most
  WindowBatches(const Dataset& data, std::int64_t window, std::int64_t batch, std::int64_t count)
      : total_(data.held_out_windows(window)), batch_(batch), count_(count) {
    whole_ = data.held_out_length(number(count - 1), window) < window ? count - 1 : count;
  }

  std::int64_t size() const { return (whole_ + batch_ - 1) / batch_ + (count_ - whole_); }

  std::vector<std::int64_t> operator[](std::int64_t i) const {
    const std::int64_t first = std::min(i * batch_, whole_);
    const std::int64_t end = first == whole_ ? count_ : std::min(first + batch_, whole_);
    std::vector<std::int64_t> windows;
    for (std::int64_t at = first; at < end; ++at) windows.push_back(number(at));
    return windows;
  }

 private:
  std::int64_t number(std::int64_t at) const {
    return at * (total_ / count_) + at * (total_ % count_) / count_;
  }

  std::int64_t total_, batch_, count_, whole_;
};

/// Cross-entropy of every byte of a batch.
std::vector<double> losses(const RetNet& model, const Batch& batch, const FormOptions& form) {
  const NoGrad no_grad;
  const Variable logits = model.forward(batch.tokens, {.form = form, .dropout = {}, .recompute = false});
  return cross_entropy(logits, batch.targets).value().to_vector<double>();
}

}  // namespace

double Evaluation::bits() const { return nats / std::log(2.0); }
double Evaluation::perplexity() const { return std::exp(nats); }

Evaluation evaluate(const RetNet& model, const Dataset& data, std::int64_t window, std::int64_t batch,
                    const FormOptions& form, std::int64_t windows) {
  const std::atomic<bool> never{false};
  return *evaluate_until(never, model, data, window, batch, form, windows);
}

std::optional<Evaluation> evaluate_until(const std::atomic<bool>& stop, const RetNet& model,
                                         const Dataset& data, std::int64_t window, std::int64_t batch,
                                         const FormOptions& form, std::int64_t windows) {
  const std::int64_t total = data.held_out_windows(window);
  require(batch >= 1 && window >= 1 && windows >= 0, "evaluate",
          "needs a batch and a window of at least 1 and at least 0 windows, got ", batch, ", ", window,
          " and ", windows);
  require(total > 0, "evaluate", "needs at least 2 bytes of text, got ", data.held_out_size());
  const WindowBatches batches(data, window, batch, windows == 0 ? total : std::min(windows, total));
  Evaluation result;
  double nats = 0;
  // Batches side by side, and their losses added up byte by byte: the sum does not depend on the batch size.
  constexpr std::int64_t kSideBySide = 64;
  for (std::int64_t first = 0; first < batches.size(); first += kSideBySide) {
    const std::int64_t count = std::min(kSideBySide, batches.size() - first);
    std::vector<std::vector<double>> found(static_cast<std::size_t>(count));
    kernels::parallel_tasks(count, model.device() == Device::cpu, [&](std::int64_t i) {
      if (stop) return;
      found[static_cast<std::size_t>(i)] =
          losses(model, data.held_out_batch(batches[first + i], window), form);
    });
    if (stop) return std::nullopt;
    for (const std::vector<double>& some : found) {
      for (const double loss : some) nats += loss;
      result.bytes += static_cast<std::int64_t>(some.size());
    }
  }
  result.nats = nats / static_cast<double>(result.bytes);
  return result;
}

}  // namespace retnet
