/// @file
/// Training settings that suit the presets of sizes.
#pragma once

#include "train/settings.h"

namespace retnet {

/// Settings for preset() of the same name: windows, batches, steps and learning rates that its size wants.
/// @throws Error for another name, offering the nearest
TrainSettings preset_settings(const std::string& name);

}  // namespace retnet
