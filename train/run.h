/// @file
/// What to train: a run before it has a folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "retnet/config.h"
#include "tensor/dtype.h"
#include "tensor/json.h"
#include "train/settings.h"

namespace retnet {

/// The weights that a run began from.
struct InitialWeights {
  std::string path;         ///< as given, absolute: a run or a checkpoint
  std::string folder;       ///< the checkpoint that this was, absolute
  std::string model_crc32;  ///< checksum of its model.safetensors
};

/// A change of plan: members of the settings and the data that were others up to a step.
struct PlanChange {
  std::int64_t step = 0;  ///< the last one before the change
  Json changed;           ///< {"steps": [before, after], ..}
};

/// A run: what to train, on what, and where its files go.
struct Run {
  Config config;
  TrainSettings settings;
  std::vector<std::string> data;  ///< as Corpus takes it; empty with `resume`: the text of the run in `out`
  std::string out;                ///< run directory, created if need be
  bool resume = false;            ///< continue from the newest checkpoint in `out`, if there is one
  bool quiet = false;             ///< no progress on stderr
  Device device = Device::cpu;    ///< where to compute; a run may go on on another one
  bool graphs = true;             ///< on a GPU: steps are recorded and launched as one graph
  bool extend = false;            ///< a run that goes on may have other settings and data from there on
  bool overwrite = false;         ///< a run of this program in `out` is removed
  std::optional<InitialWeights> init_from{};  ///< where weights come from; nothing: they are drawn
};

}  // namespace retnet
