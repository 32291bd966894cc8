/// @file
/// Counts what comes from the heap, for the loops that promise to take nothing.
#pragma once

#include <cstdint>

namespace retnet::test {

/// Calls of operator new so far, by all threads of the program. Tensors' storage is counted by
/// memory_stats().
std::int64_t allocations();

/// False under AddressSanitizer, where they are not counted and the number stays 0.
bool allocations_are_counted();

}  // namespace retnet::test
