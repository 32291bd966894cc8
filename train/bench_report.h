/// @file
/// What the parts of `retnet bench` share: how a case is timed, compared with the machine, and reported.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "retnet/config.h"
#include "tensor/file.h"
#include "tensor/tensor.h"
#include "train/bench_machine.h"

namespace retnet {

/// One number: what was measured, in which case, and what it is made of.
struct Measurement {
  std::string what, which, unit;
  double value = 0;
  double seconds = 0;  ///< median time of one call; 0: this is not a time
  double flops = 0;    ///< of matrix products in a call, a multiply-add counting 2
  double bytes = 0;    ///< the least that a call must move, each operand once; 0: not counted
};

/// Reports each number as it comes: a line of JSON, or a row of a table.
class Report {
 public:
  /// @param file    where the lines of JSON go as well, when all is measured; "": nowhere
  /// @param device  what is measured
  /// @throws Error when it cannot be written, or is there and holds something else than such lines
  Report(bool json, const std::string& file, Device device);

  /// From now on cases are compared with this machine, which is reported first.
  void set_machine(const Machine& machine);
  /// The same, with more samples of its limits before each case is reported.
  void set_machine(std::unique_ptr<MachineMeter> meter);

  /// A line above the rows of a table.
  void heading(const std::string& text) const;

  /// With the share of the machine's limit that was reached, if the case has operations to count.
  /// A share above kMostShare is unknown: the limit was not seen at its best.
  void add(const Measurement& m);
  static constexpr double kMostShare = 1.05;

  /// The last line, for how long threads waited for a processor meanwhile, with a warning if that was long.
  /// Then the file has its name, durably; without this call one that was there before stays what it was.
  /// @throws Error when it cannot be written
  void finish();

 private:
  bool json_;
  Device device_;
  std::optional<AtomicFile> file_;
  Machine machine_;
  std::unique_ptr<MachineMeter> meter_;  // of machine_, if it is this CPU
  LoadWatch load_;
};

/// Median time of one call in seconds, after one call that is not counted. Calls that take microseconds are
/// timed several at once, and what they queue on the device is waited for. Measures for about `budget`
/// seconds, one call at least.
double median_seconds(double budget, Device device, const std::function<void()>& body);

/// Operations of a forward pass in matrix products, per token: projections, retention in the given form, and
/// the output. Of the scores only those that are not masked count.
/// @param reach  the window in the parallel form, the chunk in the chunkwise one, 0 in the recurrent one
double forward_flops(const Config& config, std::int64_t reach);

/// The part of it that is retention, for one layer.
double retention_flops(const Config& config, std::int64_t reach);

/// Tokens drawn at random, i32 [batch, length].
Tensor random_tokens(const Config& config, std::int64_t batch, std::int64_t length, std::uint64_t stream);

}  // namespace retnet
