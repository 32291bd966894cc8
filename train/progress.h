/// @file
/// What a person sees while a network trains.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "train/evaluate.h"
#include "train/terminal_line.h"

namespace retnet {

/// Seconds since some fixed moment.
using SecondsClock = std::function<double()>;
double steady_seconds();  ///< of the clock that is never put back

/// A line like "step 120/1000  loss 2.412  held out 2.497  16,304 tokens/s  41 s left". On a terminal it is
/// written over and over; elsewhere there is one line per interval. Evaluations always leave a line. What
/// does not fit into the terminal is left out, whole numbers at a time.
class Progress {
 public:
  /// @param out    where to write; nullptr stays silent
  /// @param terminal  descriptor of the terminal that `out` writes to, or -1 for none
  /// @param done   steps done before
  /// @param steps  steps in all
  Progress(std::ostream* out, int terminal, std::int64_t done, std::int64_t steps,
           SecondsClock clock = steady_seconds);
  ~Progress() = default;
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
  struct Field {
    std::string text;
    int rank;  ///< what does not fit goes, the highest first
  };
  std::vector<Field> fields(bool evaluated) const;
  void show(bool evaluated);

  std::ostream* out_;
  std::optional<TerminalLine> line_;
  std::int64_t done_before_, done_, steps_, seen_ = 0;
  double loss_ = 0, rate_ = 0;  ///< means over about the last ten steps
  std::optional<double> held_out_;
  SecondsClock clock_;
  double begin_, shown_;  ///< by the clock
};

/// "5 s", "2 min 05 s" or "3 h 20 min". @param seconds  at least 0
std::string duration(double seconds);

}  // namespace retnet
