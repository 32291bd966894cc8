/// @file
/// A run so small that a test trains it many times, and what such tests ask of the folders it leaves.
#pragma once

#include <atomic>
#include <fstream>
#include <sstream>
#include <string>

#include "tensor/file.h"
#include "tests/support/temporary_folder.h"
#include "train/checkpoint.h"
#include "train/log.h"
#include "train/run_folder.h"
#include "train/trainer.h"

namespace retnet::test {

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// A few thousand bytes that have something to learn.
inline std::string sample_text() {
  std::string text;
  for (int i = 0; i < 120; ++i) text += "line " + std::to_string(i * i) + ": the quick brown fox\n";
  return text;
}

/// Two layers with dropout and two forward passes per step: everything that a resumed run must draw again.
inline Run tiny_run(const TemporaryFolder& folder, const std::string& name, std::int64_t steps = 12) {
  const std::string data = folder / "data.txt";
  write_text(data, sample_text());
  Run run;
  run.config.d_model = run.config.key_width = 8, run.config.value_width = run.config.ffn_width = 16;
  run.config.heads = 2, run.config.layers = 2, run.config.chunk = 4;
  TrainSettings& s = run.settings;
  s.steps = steps, s.batch = 2, s.window = 10, s.accumulate = 2, s.warmup = 3, s.dropout = 0.1;
  s.eval_every = 2, s.eval_windows = 3, s.save_every = 4;
  run.data = {data}, run.out = folder / name, run.quiet = true;
  return run;
}

inline RunResult train_to_end(const Run& run) {
  const std::atomic<bool> stop{false};
  return train(run, stop);
}

/// The message of the error that ends a run, or "no error".
inline std::string problem(const Run& run) {
  return error_message([&] { train_to_end(run); });
}

/// The log without its times: one text per line.
inline std::string log_without_times(const std::string& run) {
  std::ostringstream text;
  text.precision(17);
  const LogRecords log = read_log(run + "/log.jsonl");
  for (const LogStep& r : log.steps)
    text << r.step << ' ' << r.loss << ' ' << r.learning_rate << ' ' << r.gradient_norm << ' ' << r.tokens
         << '\n';
  for (const LogEvaluation& r : log.evaluations)
    text << r.step << ' ' << r.held_out.nats << ' ' << r.held_out.bytes << '\n';
  return text.str();
}

/// Weights and moments of a run's checkpoint after `step`, as bytes.
inline std::string checkpoint_bytes(const std::string& run, std::int64_t step) {
  const std::string folder = checkpoint_folder(run, step);
  return read_file(folder + "/model.safetensors") + read_file(folder + "/optimizer.safetensors");
}

}  // namespace retnet::test
