/// @file
/// How this program was built.
#pragma once

#include <string>

namespace retnet {

std::string compiler();         ///< name and version
std::string instruction_set();  ///< the widest vector instructions that the compiler was allowed to use
bool has_openmp();

}  // namespace retnet
