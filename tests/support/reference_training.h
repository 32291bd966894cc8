/// @file
/// Training written a second time, in loops over doubles: initial weights, windows, dropout, loss, gradient,
/// clipping, AdamW, the course of the learning rate, and evaluation, each from its sentence in
/// docs/training.md. Of the library it takes the plain structs of settings and of the log, and no function.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/reference_model.h"
#include "tests/support/reference_random.h"
#include "train/log.h"
#include "train/settings.h"

namespace retnet::test {

using ReferenceWeights = ReferenceModel<>::Weights;

/// Weights before the first step. The embedding and the head are normal with variance 1/d; a matrix between
/// `in` and `out` channels is uniform within gain sqrt(6 / (in + out)); norms begin as the identity.
inline ReferenceWeights reference_initial_weights(const Config& c, std::int64_t seed) {
  ReferenceWeights weights;
  const auto normal = [&](const std::string& name, std::uint64_t stream) {
    const ReferenceStream numbers{static_cast<std::uint64_t>(seed), stream};
    for (std::int64_t i = 0; i < c.vocab * c.d_model; ++i)
      weights[name].push_back(numbers.normal(static_cast<std::uint64_t>(i)) /
                              std::sqrt(static_cast<double>(c.d_model)));
  };
  const auto uniform = [&](const std::string& name, std::uint64_t stream, std::int64_t in, std::int64_t out,
                           double gain) {
    const ReferenceStream numbers{static_cast<std::uint64_t>(seed), stream};
    const double bound = gain * std::sqrt(6.0 / static_cast<double>(in + out));
    for (std::int64_t i = 0; i < in * out; ++i)
      weights[name].push_back(bound * (2 * numbers.uniform(static_cast<std::uint64_t>(i)) - 1));
  };
  const auto norm = [&](const std::string& name, NormKind kind, std::int64_t width) {
    weights[name + ".weight"].assign(static_cast<std::size_t>(width), 1);
    if (kind == NormKind::layer) weights[name + ".bias"].assign(static_cast<std::size_t>(width), 0);
  };
  normal("embed.weight", 0);
  if (!c.tie_head) normal("head.weight", 1);
  norm("final_norm", c.block_norm, c.d_model);
  const double gain = std::pow(2.0, -2.5);
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const std::string block = "layers." + std::to_string(l) + ".";
    const std::uint64_t first = 16 + 8 * static_cast<std::uint64_t>(l);
    norm(block + "norm1", c.block_norm, c.d_model), norm(block + "norm2", c.block_norm, c.d_model);
    uniform(block + "q.weight", first, c.d_model, c.key_width, gain);
    uniform(block + "k.weight", first + 1, c.d_model, c.key_width, gain);
    uniform(block + "v.weight", first + 2, c.d_model, c.value_width, gain);
    if (c.gate != Activation::none) uniform(block + "g.weight", first + 3, c.d_model, c.value_width, gain);
    uniform(block + "o.weight", first + 4, c.value_width, c.d_model, 0.5);
    uniform(block + "ffn.act.weight", first + 5, c.d_model, c.ffn_width, 1);
    if (c.ffn == FfnKind::glu) uniform(block + "ffn.lin.weight", first + 6, c.d_model, c.ffn_width, 1);
    uniform(block + "ffn.down.weight", first + 7, c.ffn_width, c.d_model, 1);
    if (c.head_affine == HeadAffine::none) continue;
    norm(block + "head_norm", c.head_norm,
         c.head_affine == HeadAffine::shared ? c.value_width / c.heads : c.value_width);
  }
  return weights;
}

/// A run, step by step.
class ReferenceTraining {
 public:
  ReferenceTraining(const Config& config, const TrainSettings& settings, std::string text)
      : config_(config),
        settings_(settings),
        text_(std::move(text)),
        weights_(reference_initial_weights(config, settings.seed)) {
    const auto size = static_cast<double>(text_.size());
    train_size_ = static_cast<std::int64_t>(size - std::floor(size * settings.held_out));
    for (const auto& [name, values] : weights_)
      mean_[name].assign(values.size(), 0), square_[name].assign(values.size(), 0);
  }

  /// One step: what it leaves in the log, without the time it took.
  LogStep step() {
    ++step_;
    Tape tape;
    ReferenceModel<Real>::Weights variables;
    for (const auto& [name, values] : weights_)
      for (const double w : values) variables[name].push_back(Real(w, tape));
    const ReferenceModel<Real> model(config_, variables);
    const TrainSettings& s = settings_;
    Real sum = 0;
    for (std::int64_t part = 0; part < s.accumulate; ++part)
      for (std::int64_t row = 0; row < s.batch; ++row) {
        const std::int64_t begin = reference_window(s.seed, step_, part, row, train_size_ - s.window);
        const Real nats = losses(model, begin, s.window, keep(part, row));
        sum += nats;
      }
    const Real loss = sum / Real(static_cast<double>(s.accumulate * s.batch * s.window));
    const std::vector<double> slopes = tape.gradient(loss.at);
    double squares = 0;
    for (const auto& [name, list] : variables)
      for (const Real& w : list) squares += slope(slopes, w) * slope(slopes, w);
    const double norm = std::sqrt(squares), scale = s.clip > 0 && norm > s.clip ? s.clip / norm : 1;
    const double rate = learning_rate();
    for (const auto& [name, list] : variables)
      for (std::size_t i = 0; i < list.size(); ++i) update(name, i, scale * slope(slopes, list[i]), rate);
    return {step_, loss.value, rate, norm, step_ * s.accumulate * s.batch * s.window, 0};
  }

  /// The mean loss of `count` windows of the held-out text, evenly spread; 0 takes all.
  LogEvaluation evaluate(std::int64_t count) const {
    const auto size = static_cast<std::int64_t>(text_.size());
    const std::int64_t last = size - 1;  // which has no byte after it
    const std::int64_t total = (last - train_size_ + settings_.window - 1) / settings_.window;
    if (count == 0 || count > total) count = total;
    const ReferenceModel<> model(config_, weights_);
    LogEvaluation result{step_, {}};
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t begin = train_size_ + i * total / count * settings_.window;
      const std::int64_t length = std::min(settings_.window, last - begin);
      result.held_out.nats += losses(model, begin, length, {});
      result.held_out.bytes += length;
    }
    result.held_out.nats /= static_cast<double>(result.held_out.bytes);
    return result;
  }

  const ReferenceWeights& weights() const { return weights_; }

 private:
  static double slope(const std::vector<double>& slopes, const Real& w) {
    return slopes[static_cast<std::size_t>(w.at)];
  }

  /// Sum of the cross-entropies of `length` bytes, each predicted from those since `begin`.
  template <class T>
  T losses(const ReferenceModel<T>& model, std::int64_t begin, std::int64_t length,
           const typename ReferenceModel<T>::Keep& keep) const {
    using std::exp, std::log;
    std::vector<std::int32_t> bytes;
    for (std::int64_t i = begin; i <= begin + length; ++i)
      bytes.push_back(static_cast<unsigned char>(text_[static_cast<std::size_t>(i)]));
    const auto logits = model.logits({bytes.begin(), bytes.end() - 1}, keep);
    T sum = 0;
    for (std::size_t n = 0; n < logits.size(); ++n) {
      T total = 0;
      for (const T& logit : logits[n]) total += exp(logit);
      sum += log(total) - logits[n][static_cast<std::size_t>(bytes[n + 1])];
    }
    return sum;
  }

  /// The masks of a row of a batch: they belong to the pass that it is in.
  ReferenceModel<Real>::Keep keep(std::int64_t part, std::int64_t row) const {
    const TrainSettings& s = settings_;
    if (s.dropout == 0) return {};
    const std::int64_t passes = (s.batch + s.micro_batch - 1) / s.micro_batch;  // of a part
    const std::int64_t pass = part * passes + row / s.micro_batch, within = row % s.micro_batch;
    return [=, this](std::int64_t layer, std::size_t n, std::size_t i) {
      const std::int64_t token = within * s.window + static_cast<std::int64_t>(n);
      return reference_keep(s.dropout, s.seed, step_, pass, layer,
                            token * config_.d_model + static_cast<std::int64_t>(i));
    };
  }

  double learning_rate() const {
    const TrainSettings& s = settings_;
    const auto t = static_cast<double>(step_), warmup = static_cast<double>(s.warmup);
    if (step_ <= s.warmup) return s.learning_rate * t / warmup;
    const double p = (t - warmup) / (static_cast<double>(s.steps) - warmup);
    const double r = s.decay == Decay::constant ? 1
                     : s.decay == Decay::linear ? 1 - p
                                                : (1 + std::cos(3.14159265358979323846 * p)) / 2;
    return s.learning_rate * (s.final_lr + (1 - s.final_lr) * r);
  }

  void update(const std::string& name, std::size_t i, double g, double rate) {
    const TrainSettings& s = settings_;
    double &w = weights_[name][i], &m = mean_[name][i], &v = square_[name][i];
    const bool matrix = name.find("norm") == std::string::npos;  // all others are weights and biases of norms
    const auto t = static_cast<double>(step_);
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(s.beta1, t)), v_hat = v / (1 - std::pow(s.beta2, t));
    w = (1 - rate * (matrix ? s.weight_decay : 0)) * w - rate * m_hat / (std::sqrt(v_hat) + 1e-8);
  }

  Config config_;
  TrainSettings settings_;
  std::string text_;
  ReferenceWeights weights_, mean_, square_;
  std::int64_t train_size_ = 0, step_ = 0;
};

/// A whole run.
struct ReferenceRun {
  LogRecords log;
  ReferenceWeights weights;
};

inline ReferenceRun reference_run(const Config& config, const TrainSettings& s, const std::string& text) {
  ReferenceTraining training(config, s, text);
  ReferenceRun run;
  for (std::int64_t step = 1; step <= s.steps; ++step) {
    run.log.steps.push_back(training.step());
    const bool last = step == s.steps;
    if (s.held_out > 0 && (last || (s.eval_every > 0 && step % s.eval_every == 0)))
      run.log.evaluations.push_back(training.evaluate(last ? 0 : s.eval_windows));
  }
  run.weights = training.weights();
  return run;
}

}  // namespace retnet::test
