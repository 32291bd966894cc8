/// @file
/// Training settings that suit the presets of sizes.
#pragma once

#include "tensor/dtype.h"
#include "train/settings.h"

namespace retnet {

/// Settings for preset() of the same name: windows, batches, steps and learning rates that its size wants.
/// @throws Error for another name, offering the nearest
TrainSettings preset_settings(const std::string& name, Device device = Device::cpu);

/// The micro_batch of a batch and window for which nobody gave one. On the CPU as many windows as have 512
/// tokens together, or a quarter of the batch if that is less: more do not stay in a core's cache, fewer make
/// products so small that cutting and packing them shows, and threads want a pass each. On a GPU the whole
/// batch.
std::int64_t usual_micro_batch(const TrainSettings& settings, Device device);

/// The warm-up of a run of so many steps for which nobody gave one: the same share of them as the preset's.
std::int64_t usual_warmup(const TrainSettings& preset, std::int64_t steps);

}  // namespace retnet
