/// @file
/// What the machine at hand can do at most, measured: the roof that every other number is compared with.
#pragma once

#include <string>
#include <vector>

namespace retnet {

/// Memory that is so far away, in bytes per second over all threads.
struct MemoryLevel {
  std::string name;     ///< "L2", "L3" or "memory"; on a GPU the last alone
  double capacity = 0;  ///< bytes that fit, over all threads
  double read = 0;      ///< reading only, as decoding reads weights
  double triad = 0;     ///< a = b + c x: two reads and a write
  double copy = 0;      ///< a = b, the read and the write counted: on a GPU, instead of the others
};

/// The least time that something can take, and what sets it.
struct Limit {
  double seconds = 0;  ///< 0: nothing to compare with
  std::string name;    ///< "the FMA peak" or "L3 reads"
};

/// Rates of this machine with the threads that are in use.
struct Machine {
  std::string name;  ///< processor, threads and instruction set
  int threads = 1;   ///< over which the rates below are; 0 on a GPU
  double flops = 0;  ///< f32 operations per second in fused multiply-adds; 0: not measured
  std::vector<MemoryLevel> levels;

  /// The roofline: the time of the arithmetic, or of reading the bytes from the nearest level that holds
  /// them, whichever is longer. With fewer threads than were measured, their share of the rates counts.
  Limit limit(double flop, double bytes) const;
};

/// Measures for about `budget` seconds. Peaks are the best of many samples: something else that runs makes
/// them smaller, and nothing makes them larger.
Machine measure_machine(double budget);

/// The same for a GPU.
Machine measure_gpu(double budget);

}  // namespace retnet
