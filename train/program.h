/// @file
/// The program `retnet`.
#pragma once

#include <string>
#include <vector>

namespace retnet {

/// Exit codes.
enum ExitCode {
  kSuccess = 0,
  kFailure = 1,   ///< one line on standard error says what failed
  kUsage = 2,     ///< wrong usage; one line says what, and the nearest name
  kSignal = 128,  ///< and the number of the signal that stopped it, with everything saved: 130 for Ctrl-C
};

/// Runs the command that the arguments (without the program's own name) ask for. Never throws.
int run_program(const std::vector<std::string>& arguments);

/// main().
int run_main(int count, char** arguments);

}  // namespace retnet
