/// @file
/// Counts what comes from the heap, for the loops that promise to take nothing; and lets it run out.
#pragma once

#include <cstdint>

namespace retnet::test {

/// Calls of operator new so far, by all threads of the program. Tensors' storage is counted by
/// memory_stats().
std::int64_t allocations();

/// Bytes that operator new has given out, at most at one time since reset_peak_heap(), which begins with
/// those of now; 0 where the system does not say how large a block is.
std::int64_t peak_heap();
std::int64_t reset_peak_heap();  ///< returns how many there are now

/// While it lives, all calls of operator new but the next `count` fail, on every thread: as where memory has
/// run out. Or so many of those that come then, as where only something large cannot be had.
class NoMoreAllocations {
 public:
  explicit NoMoreAllocations(std::int64_t count, std::int64_t failures = INT64_MAX);
  ~NoMoreAllocations();
  NoMoreAllocations(const NoMoreAllocations&) = delete;
  NoMoreAllocations& operator=(const NoMoreAllocations&) = delete;
};

/// False under AddressSanitizer, where they are not counted, the number stays 0, and none fails.
bool allocations_are_counted();

}  // namespace retnet::test
