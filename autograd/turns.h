/// @file
/// Passes over one network that run side by side and add to the same gradients, in an order of their own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace retnet {

/// Who may add to a gradient. The value of a sum depends on its order, so at every leaf pass 0 adds first,
/// then pass 1, and so on, wherever their threads are: the sum is that of one thread. Passes of one network
/// come to its leaves in the same order, so the one behind follows the one before and seldom waits.
class Turns {
 public:
  explicit Turns(std::int64_t passes) : over_(static_cast<std::size_t>(passes)) {}

 private:
  friend class Turn;
  std::int64_t next(const void* leaf);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<const void*, std::int64_t> added_;  ///< by leaf: passes before this one have added
  std::vector<bool> over_;                               ///< by pass
};

/// One pass, as long as it lives: later ones wait for it where they must. So it begins before the pass does
/// anything, and ends with it also when the pass fails. Passes must begin in the order of their numbers.
class Turn {
 public:
  Turn(Turns& turns, std::int64_t pass) : turns_(turns), pass_(pass) {}
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// Calls `add` once all passes before this one have added to the leaf, or are over.
  void take(const void* leaf, const std::function<void()>& add);

 private:
  Turns& turns_;
  const std::int64_t pass_;
};

}  // namespace retnet
