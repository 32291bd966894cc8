/// @file
/// What people type who come from other programs, and what it is called here. A hint is the end of a
/// message, as "; did you mean --steps?", or "" where nothing is known.
#pragma once

#include <string>
#include <vector>

namespace retnet {

/// @param flag  as it was typed: "--max_iters", "-lr";  @param ours  flags of the command that was given
std::string flag_hint(const std::string& flag, const std::vector<std::string>& ours);

/// Our flag whose letters are nearest, whatever dashes and underscores were typed; "" where none is near.
/// @param flag  as it was typed: "-stepz"
std::string nearest_flag(const std::string& flag, const std::vector<std::string>& ours);

/// @param command  as it was typed: "sample"
std::string command_hint(const std::string& command);

/// @param device  as it was typed: "cuda:0"
std::string device_hint(const std::string& device);

/// The flag that an argument without one should have had, judged by what is there under its name.
/// @param ours  flags of the command that was given
std::string bare_hint(const std::string& argument, const std::vector<std::string>& ours);

}  // namespace retnet
