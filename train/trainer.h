/// @file
/// The training loop.
#pragma once

#include <atomic>
#include <optional>

#include "train/evaluate.h"
#include "train/interrupt.h"
#include "train/run.h"

namespace retnet {

/// How a run ended.
struct RunResult {
  std::int64_t step = 0;     ///< steps done in all
  bool interrupted = false;  ///< `stop` was set before the last step, or the last evaluation, was done
  Evaluation held_out;       ///< over the whole held-out part, at the end
  double seconds = 0;        ///< of training, without evaluation, in this process
  std::int64_t tokens = 0;   ///< trained on in this process
};

/// Trains, and writes `out`/config.json, trainer.json, log.jsonl, loss.svg and checkpoints. Progress goes to
/// stderr. A run that resumes must be the one that was begun: see require_same_run(). A run of which no step
/// is saved begins anew.
/// On a GPU the steps are queued, and their losses and norms read together: when progress is shown, before an
/// evaluation or a checkpoint, and after at most some hundred steps.
/// @param stop  set it to end after the current step, with a checkpoint, or after the current batch of an
/// evaluation
/// @throws Error for bad settings or data; when `out` holds another run, or something else that would be
/// overwritten; and at the first loss or gradient that is not finite, naming the step and the tensor, with
/// the last checkpoint left in place. On a GPU that is when the loss is read; no update was made of such a
/// gradient
RunResult train(const Run& run, const std::atomic<bool>& stop);

/// The same with the program's signals for a flag. They are caught from when there is something to save on:
/// while data and weights are loaded, a signal ends the program at once.
/// @param interrupts  made then
RunResult train(const Run& run, std::optional<Interrupts>& interrupts);

}  // namespace retnet
