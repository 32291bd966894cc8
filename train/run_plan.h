/// @file
/// What a command line asks of a run, and the run that this means.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/checkpoint.h"
#include "train/command_line.h"

namespace retnet {

/// What was given to `retnet train`.
struct RunRequest {
  std::string preset, config_file, init_from, out;  ///< each "" when it was not given
  std::vector<std::string> data;
  std::vector<Override> config, settings;  ///< flags for fields of the model, and of the training
  Device device = Device::cpu;
  bool resume = false, extend = false, overwrite = false, quiet = false, graphs = true;

  std::string base() const { return preset.empty() ? "tiny" : preset; }
  std::string folder() const { return out.empty() ? "runs/" + base() : out; }
};

/// The run that a request means.
///
/// The preset comes first, then the file, then the flags; widths nobody gave follow d_model, micro_batch and
/// warmup what else was given. Where a run goes on, or weights are begun from, every field that was not given
/// is the run's own, or the weights'; a preset gives every field of the model, and none of the training.
///
/// @param begun  the run to go on with, if there is one. One of which no step is saved, and which the request
/// disagrees with, is not gone on with
/// @throws UsageError when what was asked for makes no sense, Error when a file does not, or when it is not
/// `begun`'s run or not the weights' model
Run plan_run(const RunRequest& request, const std::optional<BegunRun>& begun);

/// Reads a file of fields of the model and of the training, or a stream (see read_input()), into a run. They
/// stand side by side, or in two objects "config" and "settings". @returns their names
/// @throws Error naming the file for an unknown name, offering the nearest, or for a value that does not fit
std::vector<std::string> read_config_file(const std::string& path, Run& run);

}  // namespace retnet
