/// @file
/// Threads of the library in tests: how many, which one helps, and one that gets no processor.
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "kernels/parallel.h"
#include "tests/support/test.h"

namespace retnet::test {

/// While it lives, this many threads.
struct Threads {
  explicit Threads(int n) { kernels::set_num_threads(n); }
  ~Threads() { kernels::set_num_threads(before); }
  int before = kernels::num_threads();
};

/// Whether `condition` holds within 20 seconds, asleep in between.
template <class Condition>
bool comes_true(Condition&& condition) {
  for (int i = 0; i < 20'000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return condition();
}

/// Runs a loop until a helper has been in it, and returns that thread.
inline pthread_t helper() {
  std::atomic<bool> here{false};
  pthread_t thread{};
  const std::thread::id caller = std::this_thread::get_id();
  kernels::parallel_in_order(2, [&](std::int64_t) {
    if (std::this_thread::get_id() != caller) thread = pthread_self(), here = true;
    comes_true([&] { return here.load(); });
  });
  REQUIRE(here);
  return thread;
}

/// A helper that gets no processor, as far as the others can tell, as long as this lives: in a signal
/// handler.
class Held {
 public:
  explicit Held(pthread_t thread) : before_(std::signal(SIGUSR2, hold)) {
    sem_init(&let_go_, 0, 0);
    state_ = State::called;
    pthread_kill(thread, SIGUSR2);
    while (state_ == State::called) std::this_thread::yield();
  }
  ~Held() {
    sem_post(&let_go_);
    while (state_ == State::held) std::this_thread::yield();
    std::signal(SIGUSR2, before_);
    sem_destroy(&let_go_);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  enum class State { called, held, gone };
  static void hold(int) {
    state_ = State::held;
    while (sem_wait(&let_go_) != 0) continue;
    state_ = State::gone;
  }
  static inline sem_t let_go_;
  static inline std::atomic<State> state_{State::gone};
  void (*before_)(int);
};

}  // namespace retnet::test
