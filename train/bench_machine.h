/// @file
/// What the machine at hand can do at most, measured: the roof that every other number is compared with.
#pragma once

#include <chrono>
#include <memory>
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

/// Measures the CPU's rates, again and again between other measurements. Each is the best of all samples:
/// something else that runs makes them smaller, and nothing makes them larger, but it may run during one
/// measurement.
class MachineMeter {
 public:
  MachineMeter();
  ~MachineMeter();

  /// Takes short samples for about `budget` seconds: of every rate, or of the one that is a Limit of this
  /// name.
  void sample(double budget, const std::string& limit = "");
  const Machine& machine() const { return machine_; }

 private:
  struct Probe;
  void add_level(double bytes);

  Machine machine_;
  std::vector<std::unique_ptr<float[]>> memory_;  // what the probes of each level read and write
  std::vector<Probe> probes_;
};

/// Measures a GPU for about `budget` seconds.
Machine measure_gpu(double budget);

/// How busy the machine is with other things while this lives.
class LoadWatch {
 public:
  /// @param root  the folder that has proc, "" for the system's own
  explicit LoadWatch(std::string root = "");

  /// Of the time since then, the share in which some thread waited for a processor, this program's or
  /// another's; less than 0 where the system does not say (/proc/pressure/cpu).
  double waiting() const;

 private:
  double total() const;  ///< seconds of such waiting since the system began; less than 0: unknown

  std::string root_;
  std::chrono::steady_clock::time_point begin_;
  double total_;
};

}  // namespace retnet
