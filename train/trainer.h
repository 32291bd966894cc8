/// @file
/// The training loop.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/evaluate.h"

namespace retnet {

/// A run: what to train, on what, and where its files go.
struct Run {
  Config config;
  TrainSettings settings;
  std::vector<std::string> data;  ///< files; "bundled" is the text inside the program
  std::string out;                ///< run directory, created if need be
  bool resume = false;            ///< continue from the newest checkpoint in `out`
  bool quiet = false;             ///< no progress on stderr
  Device device = Device::cpu;    ///< where to compute; a run may go on on another one
};

/// How a run ended.
struct RunResult {
  std::int64_t step = 0;     ///< steps done in all
  bool interrupted = false;  ///< true iff `stop` was set before the last step
  Evaluation held_out;       ///< over the whole held-out part, at the end
  double seconds = 0;        ///< of training, without evaluation, in this process
  std::int64_t tokens = 0;   ///< trained on in this process
};

/// Trains, and writes `out`/config.json, trainer.json, log.jsonl, loss.svg and checkpoints. Progress goes to
/// stderr. A run that resumes must have the config, the data and the settings that it was begun with, but for
/// save_every, eval_every, eval_windows and recompute, which change no weight, and for steps where the
/// learning rate has no decay.
/// @param stop  set it (from a signal handler, say) to end after the current step, with a checkpoint
/// On a GPU the steps are queued, and their losses and norms read together: when progress is shown, before an
/// evaluation or a checkpoint, and after at most some hundred steps.
/// @throws Error for bad settings or data; when `out` holds another run; and at the first loss or gradient
/// that is not
///         finite, naming the step and the tensor, with the last checkpoint left in place. On a GPU that is
///         when the loss is read; no update was made of such a gradient
RunResult train(const Run& run, const std::atomic<bool>& stop);

}  // namespace retnet
