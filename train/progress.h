/// @file
/// What a person sees while a network trains.
#pragma once

#include <chrono>
#include <optional>
#include <ostream>
#include <string>

#include "train/evaluate.h"

namespace retnet {

/// A line like "step 120/1000  loss 2.412  held out 2.497  16,304 tokens/s  41 s left". On a terminal it is
/// written over and over; elsewhere there is one line per interval. Evaluations always leave a line.
class Progress {
 public:
  /// @param out    where to write; nullptr stays silent
  /// @param terminal  whether `out` is one
  /// @param done   steps done before
  /// @param steps  steps in all
  Progress(std::ostream* out, bool terminal, std::int64_t done, std::int64_t steps);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// @param loss  of the step;  @param tokens, seconds  that it took
  void step(std::int64_t step, double loss, std::int64_t tokens, double seconds);
  /// True iff the next step would be shown.
  bool due() const;
  void evaluation(const Evaluation& held_out);
  /// A message on a line of its own.
  void say(const std::string& message);

 private:
  using Clock = std::chrono::steady_clock;

  std::string line() const;
  void show(bool stay);
  double elapsed(Clock::time_point since) const;

  std::ostream* out_;
  bool terminal_;
  std::int64_t done_before_, done_, steps_, seen_ = 0;
  double loss_ = 0, rate_ = 0;  ///< means over about the last ten steps
  std::optional<double> held_out_;
  Clock::time_point begin_ = Clock::now(), shown_ = begin_;
  std::size_t width_ = 0;  ///< of the line that the cursor stands on
};

/// "5 s", "2 min 05 s" or "3 h 20 min". @param seconds  at least 0
std::string duration(double seconds);

}  // namespace retnet
