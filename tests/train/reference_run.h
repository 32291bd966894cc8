/// @file
/// A run so small that the tests' own training can follow it, and how far the library's is from that.
#pragma once

#include <cmath>
#include <sstream>
#include <string>

#include "tests/support/close.h"
#include "tests/support/reference_training.h"
#include "tests/train/tiny_run.h"
#include "train/training_step.h"

namespace retnet::test {

/// Sizes that are small and all different.
inline Config minute_config() {
  Config c;
  c.vocab = 11, c.d_model = 6, c.layers = 2, c.heads = 2, c.key_width = 8, c.value_width = 12,
  c.ffn_width = 10;
  c.chunk = 3;
  return c;
}

/// No setting at its default, but for `form`, `reference` and `recompute`, which change no value. A batch is
/// cut into passes of 2 and of 1 windows, steps warm up and come down, and most but not all of them are
/// clipped.
inline TrainSettings minute_settings() {
  TrainSettings s;
  s.steps = 6, s.batch = 3, s.micro_batch = 2, s.window = 5, s.accumulate = 2, s.seed = 5000000007;
  s.learning_rate = 0.03, s.decay = Decay::cosine, s.warmup = 2, s.final_lr = 0.3;
  s.beta1 = 0.8, s.beta2 = 0.95, s.weight_decay = 0.4, s.clip = 1.2, s.dropout = 0.2;
  s.held_out = 0.23, s.eval_every = 2, s.eval_windows = 4, s.save_every = 2;
  return s;
}

/// 201 bytes below 11, in an order that has something to learn.
inline std::string minute_text() {
  std::string text;
  for (int i = 0; i < 201; ++i) text += static_cast<char>((i * i * 7 + i / 5) % 11);
  return text;
}

/// The library's steps in f64, with what train() would log of them.
inline ReferenceRun library_run(const Config& config, const TrainSettings& s, const std::string& file) {
  RetNet model(config, static_cast<std::uint64_t>(s.seed), Dtype::f64);
  Optimizer optimizer(model.parameters());
  TrainingStep training(model, optimizer, s, false);
  const Dataset data({file}, s.held_out);
  ReferenceRun run;
  for (std::int64_t step = 1; step <= s.steps; ++step) {
    std::vector<Batch> batches;
    for (std::int64_t part = 0; part < s.accumulate; ++part)
      batches.push_back(data.train_batch(s.batch, s.window, s.seed, step, part));
    const StepResult result = training.run(step, batches);
    run.log.steps.push_back({step, result.loss.item(), learning_rate(s, step), result.norm.item(),
                             step * s.accumulate * s.batch * s.window, 0});
    const bool last = step == s.steps;
    if (s.held_out > 0 && (last || (s.eval_every > 0 && step % s.eval_every == 0)))
      run.log.evaluations.push_back({step, evaluate(model, data, s.window, s.micro_batch,
                                                    {s.form, 0, s.reference}, last ? 0 : s.eval_windows)});
  }
  for (const Parameter& p : model.parameters()) run.weights[p.name] = p.variable.value().to_vector<double>();
  return run;
}

/// |a - b| / |b|; 0 for equal numbers, also for two zeros.
inline double relative(double a, double b) { return a == b ? 0 : std::abs(a - b) / std::abs(b); }

/// "" or the first number of a log that is farther from the expected one than `tolerance`, relative to it.
inline std::string log_difference(const LogRecords& log, const LogRecords& expected, double tolerance) {
  std::ostringstream text;
  text.precision(12);
  const auto check = [&](const char* what, std::int64_t step, double value, double wanted, double allowed) {
    if (text.tellp() == 0 && !(relative(value, wanted) <= allowed))
      text << what << " of step " << step << ": " << value << " instead of " << wanted;
  };
  if (log.steps.size() != expected.steps.size() || log.evaluations.size() != expected.evaluations.size()) {
    text << log.steps.size() << " steps and " << log.evaluations.size() << " evaluations instead of "
         << expected.steps.size() << " and " << expected.evaluations.size();
    return text.str();
  }
  for (std::size_t i = 0; i < expected.steps.size(); ++i) {
    const LogStep &is = log.steps[i], &wanted = expected.steps[i];
    check("number", wanted.step, static_cast<double>(is.step), static_cast<double>(wanted.step), 0);
    check("learning rate", is.step, is.learning_rate, wanted.learning_rate, 1e-14);
    check("tokens", is.step, static_cast<double>(is.tokens), static_cast<double>(wanted.tokens), 0);
    check("loss", is.step, is.loss, wanted.loss, tolerance);
    check("gradient norm", is.step, is.gradient_norm, wanted.gradient_norm, 10 * tolerance);
  }
  for (std::size_t i = 0; i < expected.evaluations.size(); ++i) {
    const LogEvaluation &is = log.evaluations[i], &wanted = expected.evaluations[i];
    check("evaluation", wanted.step, static_cast<double>(is.step), static_cast<double>(wanted.step), 0);
    check("bytes evaluated", is.step, static_cast<double>(is.held_out.bytes),
          static_cast<double>(wanted.held_out.bytes), 0);
    check("held-out loss", is.step, is.held_out.nats, wanted.held_out.nats, tolerance);
  }
  return text.str();
}

/// "" or the weight that is farthest from the expected one, if by more than `tolerance` times the largest of
/// its tensor.
inline std::string weight_difference(const ReferenceWeights& weights, const ReferenceWeights& expected,
                                     double tolerance) {
  std::ostringstream text;
  if (weights.size() != expected.size()) return "another number of tensors";
  for (const auto& [name, values] : expected) {
    const auto found = weights.find(name);
    if (found == weights.end() || found->second.size() != values.size()) return name + ": another shape";
    const Worst worst = worst_difference(found->second, values);
    if (!(worst.error <= tolerance))
      text << name << " element " << worst.at << ": " << found->second[worst.at] << " instead of "
           << values[worst.at] << "; ";
  }
  return text.str();
}

/// Weights of a run's checkpoint after a step.
inline ReferenceWeights checkpoint_weights(const std::string& run, std::int64_t step) {
  RetNet model = load_model(checkpoint_folder(run, step));
  ReferenceWeights weights;
  for (const Parameter& p : model.parameters()) weights[p.name] = p.variable.value().to_vector<double>();
  return weights;
}

}  // namespace retnet::test
