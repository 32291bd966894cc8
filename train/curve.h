/// @file
/// The loss curve of a run as a picture.
#pragma once

#include <string>

#include "train/log.h"

namespace retnet {

/// A self-contained SVG of the training and held-out loss over the steps, readable on light and dark screens.
/// The same records give the same text.
std::string loss_curve(const LogRecords& records);

}  // namespace retnet
