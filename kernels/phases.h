/// @file
/// Work in phases of microseconds, each of which needs all of the one before: the layers of a decoder.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernels/parallel.h"

namespace retnet::kernels {

/// Phases 0 .. phases - 1 of a piece of work, each cut into one share for each thread. All threads go through
/// all phases, and a phase is over when its shares are done, whoever has done them: the share of a thread
/// that is late, or has left, another one takes. So a thread without a processor holds up the others only by
/// a share that it has begun.
class Phases {
 public:
  /// @param shares  of each phase, 1 .. kMostShares
  explicit Phases(int shares) : count_(shares) {}
  static constexpr int kMostShares = 64;

  /// Calls `body(phase, share, rank)` for every phase and share, on the threads of run_together().
  /// @throws what a call has thrown, when all are over
  template <class Body>
  void run(int phases, Body&& body);

 private:
  static constexpr int kRounds = 64;  ///< some two microseconds, more than shares differ by
  struct Share {
    alignas(64) std::atomic<int> begun{0};         ///< phases in which somebody has begun it
    alignas(64) std::atomic<bool> present{false};  ///< whether its thread comes for it
  };

  bool over(int phase) const { return done_.load(std::memory_order_acquire) >= (phase + 1) * count_; }
  template <class Call>
  void take(int phase, int share, Call& call);
  template <class Call>
  void take_others(int phase, int rank, bool absent_only, Call& call);
  bool wait(int phase, int rank);

  int count_;
  Share shares_[kMostShares];
  alignas(64) std::atomic<int> done_{0};  ///< shares, of all phases
};

/// Calls `call(share)` unless somebody has begun the share.
template <class Call>
void Phases::take(int phase, int share, Call& call) {
  std::atomic<int>& begun = shares_[share].begun;
  // Looked at first: who only reads leaves the line with the thread whose share it is.
  if (int expected = begun.load(std::memory_order_relaxed);
      expected != phase || !begun.compare_exchange_strong(expected, phase + 1, std::memory_order_relaxed))
    return;
  call(share);
  if ((done_.fetch_add(1, std::memory_order_acq_rel) + 1) % count_ == 0) detail::wake_all(done_);
}

template <class Call>
void Phases::take_others(int phase, int rank, bool absent_only, Call& call) {
  for (int i = 1; i < count_; ++i) {
    const int share = (rank + i) % count_;
    if (absent_only && shares_[share].present.load(std::memory_order_relaxed)) continue;
    if (shares_[share].begun.load(std::memory_order_relaxed) == phase)
      shares_[share].present.store(false, std::memory_order_relaxed);
    take(phase, share, call);
  }
}

/// Until the phase is over. @returns false when the thread is to leave instead
inline bool Phases::wait(int phase, int rank) {
  const auto ready = [&] { return over(phase); };
  if (wait_awake(ready, [&] { return detail::in_the_way(rank); })) return true;
  if (rank > 0) return over(phase);
  while (true) {
    const int now = done_.load(std::memory_order_acquire);
    if (now >= (phase + 1) * count_) return true;
    detail::sleep_while(done_, now);
  }
}

template <class Body>
void Phases::run(int phases, Body&& body) {
  for (int i = 0; i < count_; ++i) {
    shares_[i].begun.store(0, std::memory_order_relaxed);
    shares_[i].present.store(false, std::memory_order_relaxed);
  }
  done_.store(0, std::memory_order_relaxed);
  FirstError error;
  run_together(count_, [&](int rank) {
    std::atomic<bool>& present = shares_[rank].present;
    for (int phase = 0; (phase = done_.load(std::memory_order_acquire) / count_) < phases;) {
      const auto call = [&](int share) { error.run([&] { body(phase, share, rank); }); };
      if (!present.load(std::memory_order_relaxed)) present.store(true, std::memory_order_relaxed);
      take(phase, rank, call);
      take_others(phase, rank, true, call);
      bool is_over = over(phase);
      for (int i = 0; i < kRounds && !is_over; ++i) relax(), is_over = over(phase);
      if (is_over) continue;
      take_others(phase, rank, false, call);
      if (!wait(phase, rank)) break;
    }
    present.store(false, std::memory_order_relaxed);
  });
  error.rethrow();
}

}  // namespace retnet::kernels
