/// @file
/// Checkpoints: `RUN/step-000500/{config.json, model.safetensors, optimizer.safetensors, trainer.json}`.
#pragma once

#include <optional>
#include <string>

#include "retnet/model.h"
#include "train/optimizer.h"

namespace retnet {

/// Everything about a run besides the tensors.
struct TrainerState {
  TrainSettings settings;
  std::int64_t step = 0;             ///< steps done
  std::vector<std::string> data;     ///< the files, as given
  std::uint64_t data_hash = 0;
  std::int64_t data_size = 0;
};

/// Writes a checkpoint under a temporary name, fsyncs it and renames it, so that `step-NNNNNN` is whole or absent; then
/// removes all but the newest `keep`.
void save_checkpoint(const std::string& run, RetNet& model, Optimizer& optimizer, const TrainerState& state,
                     int keep = 2);

/// Folder of the newest checkpoint of a run that loads, or nothing. Leftovers of interrupted writes are ignored.
std::optional<std::string> newest_checkpoint(const std::string& run);

/// The folder to load a model from: `path` itself if it holds config.json and model.safetensors, else its newest
/// checkpoint. @throws Error when there is neither
std::string model_folder(const std::string& path);

/// Reads back what save_checkpoint() wrote besides the model. @throws Error naming the file and what does not fit
TrainerState load_trainer_state(const std::string& folder);
void load_optimizer(const std::string& folder, Optimizer& optimizer);

}  // namespace retnet
