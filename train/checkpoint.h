/// @file
/// Checkpoints: `RUN/step-000500/{config.json, model.safetensors, optimizer.safetensors, trainer.json}`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "retnet/model.h"
#include "train/optimizer.h"

namespace retnet {

/// Everything about a run besides the tensors.
struct TrainerState {
  TrainSettings settings;
  std::int64_t step = 0;          ///< steps done
  std::vector<std::string> data;  ///< the files, as given
  std::uint64_t data_hash = 0;
  std::int64_t data_size = 0;
};

/// Writes a checkpoint under a temporary name, fsyncs it and renames it, so that `step-NNNNNN` is whole or
/// absent; then removes all but the newest `keep`, and those of later steps, which belong to a course that
/// was given up.
/// @throws Error when writing fails; the checkpoints before it are then untouched
void save_checkpoint(const std::string& run, RetNet& model, Optimizer& optimizer, const TrainerState& state,
                     int keep = 2);

/// Folder of the newest checkpoint of a run that loads, or nothing when there is no checkpoint at all. Unless
/// `quiet`, says on stderr which newer one does not load, and why. Costs a load.
/// @throws Error when there are checkpoints and none of them loads
std::optional<std::string> newest_checkpoint(const std::string& run, bool quiet = false);

/// The folder that says how a run continues, in config.json and trainer.json: its newest checkpoint, or
/// before the first one the run itself. Nothing when no run has begun there.
std::optional<std::string> resume_folder(const std::string& run, bool quiet = false);

/// The folder to load a model from: `path` itself if it holds config.json and model.safetensors, else its
/// newest checkpoint. @throws Error when there is neither, or when the files beside a trainer.json are not
/// those that it was written with
std::string model_folder(const std::string& path);

/// Writes trainer.json: the state, and a checksum of each of the other files that are in the folder already.
void save_trainer_state(const std::string& folder, const TrainerState& state);

/// Reads what save_trainer_state() wrote, and compares the checksums, so that files of two checkpoints do not
/// mix.
/// @throws Error naming the file that is missing, damaged or not of this checkpoint
TrainerState load_trainer_state(const std::string& folder);

/// Sets the moments to those of a checkpoint. @throws Error naming the file and what does not fit
void load_optimizer(const std::string& folder, Optimizer& optimizer);

}  // namespace retnet
