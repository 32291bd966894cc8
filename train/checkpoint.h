/// @file
/// Checkpoints: `RUN/step-000500/{config.json, model.safetensors, optimizer.safetensors, trainer.json}`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "retnet/model.h"
#include "train/optimizer.h"
#include "train/run.h"

namespace retnet {

/// Everything about a run besides the tensors.
struct TrainerState {
  TrainSettings settings;
  std::int64_t step = 0;          ///< steps done
  std::vector<std::string> data;  ///< the files, as given
  std::uint64_t data_hash = 0;
  std::int64_t data_size = 0;
  std::vector<PlanChange> changes{};          ///< in order
  std::optional<InitialWeights> init_from{};  ///< nothing: weights were drawn
};

/// A run as it stands in its folder.
struct BegunRun {
  std::string folder;  ///< of the newest checkpoint; before the first one the run itself
  Config config;
  TrainerState state;
};

/// A model, where it lies, and how it was trained if its folder says so.
struct TrainedModel {
  std::string folder;
  RetNet model;
  std::optional<TrainerState> state;
};

/// Writes a checkpoint under a temporary name, fsyncs it and renames it, so that `step-NNNNNN` is whole or
/// absent; then removes all but the newest `keep`, and those of later steps, which belong to a course that
/// was given up. Files in them that this program did not write stay where they are.
/// @throws Error when writing fails; the checkpoints before it are then untouched
void save_checkpoint(const std::string& run, RetNet& model, Optimizer& optimizer, const TrainerState& state,
                     int keep = 2);

/// Folder of the newest checkpoint of a run that loads, or nothing when there is no checkpoint at all. Unless
/// `quiet`, says on stderr which newer one does not load, and why. Costs a load.
/// @throws Error when there are checkpoints and none of them loads
std::optional<std::string> newest_checkpoint(const std::string& run, bool quiet = false);

/// What config.json and trainer.json in the folder of a run or a checkpoint say. @throws Error as
/// load_trainer_state() does
BegunRun load_begun(const std::string& folder);

/// How a run continues: what its newest checkpoint says whose files have their checksums, or before the first
/// one the run itself. Nothing when no run has begun there. @throws Error as newest_checkpoint() does
std::optional<BegunRun> begun_run(const std::string& run);

/// Loads the model in `path` itself if that holds config.json and model.safetensors, else the newest
/// checkpoint of the run that it is, also while that run goes on and removes old ones.
/// @throws Error when there is neither, or when the files beside a trainer.json are not those that it was
/// written with
TrainedModel load_trained(const std::string& path);

/// The folder that load_trained() loads from. Costs a load.
std::string model_folder(const std::string& path);

/// What a run records that begins from the weights in `path`. @throws Error as load_trained() does
InitialWeights initial_weights(const std::string& path);

/// True iff `path` names the same place as when a run was begun from there, or the same weights.
bool is_of(const InitialWeights& weights, const std::string& path);

/// Checksum of a checkpoint's weights, as the program writes it.
std::string weights_checksum(const std::string& folder);

/// The files of a run's data, as trainer.json lists them.
Json data_to_json(const std::vector<std::string>& data);

/// Writes trainer.json: the state, and a checksum of each of the other files that are in the folder already.
void save_trainer_state(const std::string& folder, const TrainerState& state);

/// Reads what save_trainer_state() wrote, and compares the checksums, so that files of two checkpoints do not
/// mix.
/// @throws Error naming the file that is missing, damaged or not of this checkpoint
TrainerState load_trainer_state(const std::string& folder);

/// True iff the file is a trainer.json that this program wrote, damaged or not by its checksums.
bool is_trainer_state(const std::string& path);

/// Sets the moments to those of a checkpoint. @throws Error naming the file and what does not fit
void load_optimizer(const std::string& folder, Optimizer& optimizer);

}  // namespace retnet
