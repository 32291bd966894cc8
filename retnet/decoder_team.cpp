#include "retnet/decoder_team.h"

#include <algorithm>

namespace retnet::detail {

void Meeting::wait(int count) {
  constexpr int kPatience = 40000;  // some 50 microseconds
  const unsigned round = round_.load(std::memory_order_acquire);
  if (here_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    here_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    round_.notify_all();
    return;
  }
  for (int i = 0; round_.load(std::memory_order_acquire) == round; ++i)
    if (i >= kPatience) {
      slept_.store(true, std::memory_order_relaxed);
      round_.wait(round, std::memory_order_acquire);
    }
}

void Member::wait() const {
  if (count > 1) meeting->wait(count);
}

void Pace::report(double seconds, bool held_up) {
  (together_ ? team_ : alone_).add(seconds);
  if (left_ > 0) {
    // A team that has taken longer than the trial's steps take one thread has lost before they are over.
    if (together_ && team_.sum > kTrial * alone_.value()) left_ = 1;
    if (--left_ == 0) decide();
    return;
  }
  if (held_up && watched_ >= 0 && ++held_up_ == kHoldUps) return try_out(false, kTrial);
  if (++watched_ == kAmong) watched_ = held_up_ = 0;
}

void Pace::try_out(bool together, int steps) {
  together_ = together, left_ = steps, watched_ = held_up_ = 0;
  (together ? team_ : alone_) = Mean{};
}

/// The steps that were to be tried are done.
void Pace::decide() {
  if (!together_) return try_out(true, kTrial);
  const bool better_alone = alone_.value() < team_.value();
  rest_ = better_alone == better_alone_ ? std::min(2 * rest_, kLongestRest) : kFirstRest;
  better_alone_ = better_alone;
  if (better_alone)
    try_out(false, rest_);
  else
    watched_ = -rest_;  // hold-ups do not count for so long
}

}  // namespace retnet::detail
