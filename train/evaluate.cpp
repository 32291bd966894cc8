#include "train/evaluate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/parallel.h"

namespace retnet {
namespace {

/// Numbers of `count` of `total` windows, evenly spread.
std::vector<std::int64_t> spread(std::int64_t total, std::int64_t count) {
  std::vector<std::int64_t> windows;
  for (std::int64_t i = 0; i < count; ++i)
    windows.push_back(i * (total / count) + i * (total % count) / count);
  return windows;
}

/// Windows of one length, `batch` of them at the most: only the last window of a text may be shorter.
std::vector<std::vector<std::int64_t>> in_batches(const Dataset& data,
                                                  const std::vector<std::int64_t>& windows,
                                                  std::int64_t window, std::int64_t batch) {
  std::vector<std::vector<std::int64_t>> batches;
  std::int64_t length = 0;
  for (const std::int64_t i : windows) {
    const std::int64_t before = std::exchange(length, data.held_out_length(i, window));
    if (batches.empty() || length != before || static_cast<std::int64_t>(batches.back().size()) == batch)
      batches.emplace_back();
    batches.back().push_back(i);
  }
  return batches;
}

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
          "needs a batch and a window of at least 1, got ", batch, " and ", window);
  require(total > 0, "evaluate", "needs at least 2 bytes of text, got ", data.held_out_size());
  const auto batches =
      in_batches(data, spread(total, windows == 0 ? total : std::min(windows, total)), window, batch);
  Evaluation result;
  double nats = 0;
  // Batches side by side, and their losses added up byte by byte: the sum does not depend on the batch size.
  constexpr std::size_t kSideBySide = 64;
  for (std::size_t first = 0; first < batches.size(); first += kSideBySide) {
    std::vector<std::vector<double>> found(std::min(kSideBySide, batches.size() - first));
    const auto count = static_cast<std::int64_t>(found.size());
    kernels::parallel_tasks(count, model.device() == Device::cpu, [&](std::int64_t at) {
      const auto i = static_cast<std::size_t>(at);
      if (stop) return;
      found[i] = losses(model, data.held_out_batch(batches[first + i], window), form);
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
