/// @file
/// Training settings that suit the presets of sizes.
#pragma once

#include "tensor/dtype.h"
#include "train/settings.h"

namespace retnet {

/// Settings for preset() of the same name: windows, batches, steps and learning rates that its size wants.
/// On the CPU, micro_batch is chosen for its caches; on a GPU it is the whole batch.
/// @throws Error for another name, offering the nearest
TrainSettings preset_settings(const std::string& name, Device device = Device::cpu);

}  // namespace retnet
