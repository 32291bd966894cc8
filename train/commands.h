/// @file
/// The commands of the program, each in a file of its name: command_train.cpp, ...
#pragma once

#include "train/command_line.h"

namespace retnet {

Command train_command();      ///< learns a model from the bytes of files
Command eval_command();       ///< loss of a model on a text
Command generate_command();   ///< continues a prompt
Command forms_command();      ///< shows that the three forms agree
Command info_command();       ///< describes this build, or a model
Command bench_command();      ///< measures speed
Command gradcheck_command();  ///< compares gradients with finite differences

}  // namespace retnet
