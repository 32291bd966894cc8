/// @file
/// The loss curve of a run as a picture.
#pragma once

#include <string>

#include "train/losses.h"

namespace retnet {

/// A self-contained SVG of the training and held-out loss over the steps, readable on light and dark screens.
/// The same losses give the same text, of at most 64 KiB, in time that does not grow with the run.
std::string loss_curve(const LossHistory& losses);

}  // namespace retnet
