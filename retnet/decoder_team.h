/// @file
/// How threads share the steps of a decoder: where they meet, what is whose, and whether it pays.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace retnet::detail {

/// Where the threads of a team wait for each other. A thread that waits longer than a phase should take
/// sleeps: with fewer free processors than threads, the one waited for may need this very processor.
class Meeting {
 public:
  void wait(int count);  ///< until `count` threads are here

  /// Whether a thread has slept here since this was asked last.
  bool take_slept() { return slept_.exchange(false, std::memory_order_relaxed); }

 private:
  std::atomic<int> here_{0};
  std::atomic<unsigned> round_{0};
  std::atomic<bool> slept_{false};
};

/// One thread's part of a team, and its share of work that is cut by the problem.
struct Member {
  int index = 0, count = 1;
  Meeting* meeting = nullptr;

  /// The pieces first .. last - 1 of n that are this thread's.
  std::pair<std::int64_t, std::int64_t> share(std::int64_t n) const {
    return {n * index / count, n * (index + 1) / count};
  }
  void wait() const;  ///< until all threads of the team are here
};

/// Whether a step is quicker with the team or with one thread alone, found out while it decodes. On a machine
/// that other programs keep busy, a thread that waits for a processor holds up the others at each meeting,
/// four times a layer. So where threads had to sleep, one thread tries alone, and the team again after a
/// while; whoever was quicker goes on. The result of a step does not depend on it.
class Pace {
 public:
  bool together() const { return together_; }

  /// @param seconds  that the step took
  /// @param held_up  whether a thread slept meanwhile
  void report(double seconds, bool held_up);

 private:
  /// Steps of a trial; those for which its result stands, at first and, if it repeats, at most; hold-ups that
  /// make a trial, among so many steps.
  static constexpr int kTrial = 16, kFirstRest = 256, kLongestRest = 8192, kHoldUps = 4, kAmong = 64;

  struct Mean {
    double sum = 0;
    int count = 0;
    void add(double x) { sum += x, ++count; }
    double value() const { return sum / count; }
  };
  void try_out(bool together, int steps);
  void decide();

  bool together_ = true, better_alone_ = false;
  int left_ = 0;  ///< steps until it is decided again; 0: the team goes on until it is held up
  int rest_ = kFirstRest, held_up_ = 0, watched_ = 0;
  Mean alone_, team_;
};

}  // namespace retnet::detail
