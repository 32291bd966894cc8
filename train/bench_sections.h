/// @file
/// The sections of `retnet bench`, each of which runs alone with `--only NAME`.
#pragma once

#include "train/bench_report.h"
#include "train/ways.h"

namespace retnet {

/// What to measure, and how long.
struct BenchOptions {
  std::vector<std::string> presets = {"tiny"};
  std::vector<std::string> forms;     ///< names of kWays; none: all
  std::vector<std::int64_t> lengths;  ///< of the texts that are read; none: the section's own
  bool quick = false;
  Device device = Device::cpu;
  double budget = 1;  ///< seconds per case, about
};

/// True iff the options ask for this way to compute retention.
bool wanted(const BenchOptions& options, const Way& way);

/// Steps back that a token looks in a form: the argument of forward_flops().
std::int64_t reach(const Config& config, Form form, std::int64_t length);

/// @name Sections
/// Each reports its cases as they are measured.
/// @{

/// The most memory that training and reading a text take, of the whole process: each case in a process of its
/// own. Must come first, while the program is still small and has not begun to use threads.
void bench_memory(Report& report, const BenchOptions& options);
/// Matrix products in the shapes that occur: squares, layers and their gradients, retention, decoding.
void bench_matmul(Report& report, const BenchOptions& options);
/// The matrix product step by step, from naive loops to the library's. For retention, bench_retention() is
/// that.
void bench_steps(Report& report, const BenchOptions& options);
/// Retention alone, forward and with its gradient, in each form.
void bench_retention(Report& report, const BenchOptions& options);
/// Whole training steps in each form.
void bench_training(Report& report, const BenchOptions& options);
/// Forward passes of one sequence, by its length, in each form.
void bench_forward(Report& report, const BenchOptions& options);
/// A token for every sequence of a batch: by batch, dtype of the weights, and position.
void bench_decoding(Report& report, const BenchOptions& options);
/// Mean rates of training and decoding over all of the time, where the others report medians: what is left of
/// them beside other programs. Only when asked for.
void bench_rates(Report& report, const BenchOptions& options);
/// @}

}  // namespace retnet
