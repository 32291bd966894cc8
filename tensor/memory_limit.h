/// @file
/// How much memory this process can still get. The system gives more than there is and ends a program that
/// uses it, so what is large is held against this first.
#pragma once

#include <cstdint>

namespace retnet {

/// The tightest of the limits on this process.
struct MemoryLeft {
  std::int64_t bytes;  ///< that can still be had; INT64_MAX where no limit is known
  const char* limit;   ///< which one it is, for messages: "are free on this machine"
};

/// The least of what the machine has free or can free (MemAvailable and unused swap), what the process's
/// control groups leave (versions 1 and 2, those above it too), and what `ulimit -v` and `ulimit -d` leave.
/// Takes no memory itself, and some 100 microseconds. What cannot be read, as outside of Linux, is no limit.
/// @param root  the folder that has proc and sys, "" for the system's own; what belongs to the process is
/// asked there too
MemoryLeft memory_left(const char* root = "");

}  // namespace retnet
