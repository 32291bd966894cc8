/// @file
/// Signals as a flag.
#pragma once

#include <atomic>

namespace retnet {

/// While it lives, the first SIGINT or SIGTERM sets a flag instead of ending the program; the second one ends
/// it.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

  const std::atomic<bool>& value() const;
};

}  // namespace retnet
