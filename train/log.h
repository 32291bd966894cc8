/// @file
/// The log of a run: one line of JSON per step, per evaluation and per change of plan, in `RUN/log.jsonl`.
///
///     {"step":12,"loss":3.1,"learning_rate":0.00072,"gradient_norm":1.4,"tokens":49152,"seconds":2.5}
///     {"step":12,"held_out_nats":3.2,"held_out_bits":4.6,"held_out_bytes":16384}
///     {"step":12,"changed":{"steps":[12,24]}}
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/evaluate.h"
#include "train/losses.h"
#include "train/run.h"

namespace retnet {

/// What a step leaves in the log.
struct LogStep {
  std::int64_t step = 0;
  double loss = 0;  ///< nats per byte, mean over the step's windows, before the update
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  std::int64_t tokens = 0;   ///< trained on since step 1
  double seconds = 0;        ///< of training since step 1, over all processes; the only field that a resumed
                             ///< or repeated run does not reproduce
};

/// What an evaluation after a step leaves in the log.
struct LogEvaluation {
  std::int64_t step = 0;
  Evaluation held_out;
};

/// A log, read.
struct LogRecords {
  std::vector<LogStep> steps;
  std::vector<LogEvaluation> evaluations;
  std::vector<PlanChange> changes;
  std::int64_t bytes = 0;  ///< of the file, that these records take up
};

/// Reads a log up to and with a step. A last line that is not whole, as a crash leaves it, is ignored.
/// @throws Error naming the line that is damaged or longer than 1 MiB; none when there is no such file
LogRecords read_log(const std::string& path, std::int64_t last_step = INT64_MAX);

/// A log being written. It is read once, when it is opened; nothing after that costs more the longer it is.
class Log {
 public:
  /// Cuts the log back to what it was when `step` steps were done, so that a resumed run writes the log of an
  /// uninterrupted one; 0 begins anew. Reads it in one pass, a block at a time.
  Log(const std::string& path, std::int64_t step);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Each appends a line. @throws Error when writing fails; no part of the line is left behind
  void write(const LogStep& record);
  void write(const LogEvaluation& record);
  void write(const PlanChange& record);
  /// Waits until all lines are on the disk.
  void sync();

  double seconds() const { return seconds_; }       ///< of the last step's line
  std::size_t changes() const { return changes_; }  ///< lines of changes
  /// Step of the last evaluation; 0 before the first.
  std::int64_t last_evaluation() const { return losses_.held_out.back().step; }
  /// Of all lines, those from before it was opened too.
  const LossHistory& losses() const { return losses_; }

 private:
  void append(const Json& line);
  void keep(const LogStep& record);
  void keep(const LogEvaluation& record);

  std::string path_;
  int descriptor_ = -1;
  double seconds_ = 0;
  LossHistory losses_;
  std::size_t changes_ = 0;
};

}  // namespace retnet
