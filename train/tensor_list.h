/// @file
/// What `retnet info` says about a safetensors file.
#pragma once

#include <string>

namespace retnet {

/// Metadata, and a row per tensor in the order of its data: dtype, shape, place, statistics, name. Reads the
/// file once, in a few MiB of memory besides the text.
/// @throws Error in the name of the file when it is no valid safetensors file, or damaged
std::string tensor_list(const std::string& path);

}  // namespace retnet
