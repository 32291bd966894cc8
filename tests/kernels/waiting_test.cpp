// How threads wait for each other: not for one that has not begun, and asleep where waiting awake is in the
// way.

#include <sched.h>

#include <ctime>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "kernels/phases.h"
#include "tests/support/threads.h"

namespace retnet::kernels {
using namespace std::chrono_literals;

TEST_CASE("a wait ends when it is over, at once in the way of another, and else when patience ends",
          "[threads]") {
  const auto never = [] { return false; };
  int looks = 0;
  CHECK(wait_awake([&] { return ++looks == 1000; }, never));
  looks = 0;
  CHECK(!wait_awake(never, [&] { return ++looks > 0; }));
  CHECK(looks == 1);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(!wait_awake(never, never));
  CHECK(std::chrono::steady_clock::now() - begin > kPatience);
}

#if defined(_OPENMP)

namespace {

/// Seconds of a processor that a thread has had.
double seconds_of(pthread_t thread) {
  clockid_t clock{};
  timespec time{};
  REQUIRE((pthread_getcpuclockid(thread, &clock) == 0 && clock_gettime(clock, &time) == 0));
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Confines all threads of the process to one processor.
struct OneProcessor {
  OneProcessor() {
    sched_getaffinity(0, sizeof before, &before);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    set(one);
  }
  ~OneProcessor() { set(before); }
  static void set(const cpu_set_t& processors) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
      sched_setaffinity(std::stoi(task.path().filename()), sizeof processors, &processors);
  }
  cpu_set_t before;
};

/// Seconds of a processor that a thread takes for 20 waits of 5 ms for a helper that sleeps.
double seconds_of_waiting() {
  double seconds = 0;
  for (int i = 0; i < 20; ++i) {
    std::atomic<bool> taken{false};
    const std::thread::id caller = std::this_thread::get_id();
    double begin = 0;
    parallel_in_order(2, [&](std::int64_t) {
      if (std::this_thread::get_id() != caller) {
        taken = true;
        std::this_thread::sleep_for(5ms);
      } else {
        test::comes_true([&] { return taken.load(); });
        begin = seconds_of(pthread_self());
      }
    });
    seconds += seconds_of(pthread_self()) - begin;
  }
  return seconds;
}

}  // namespace

TEST_CASE("who waits long does so asleep, and at once on the processor of the one waited for", "[threads]") {
  const test::Threads set(2);
  test::helper();
  CHECK(seconds_of_waiting() < 20 * 2.5e-3);  // kPatience each, and what it takes to fall asleep
  {
    const OneProcessor one;
    test::helper();
    CHECK(seconds_of_waiting() < 20 * 1e-4);
  }
  // Helpers that nobody calls.
  std::this_thread::sleep_for(5 * kPatience);
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(50ms);
  CHECK(std::clock() - before < CLOCKS_PER_SEC / 100);
}

TEST_CASE("a thread is seen where it was last", "[threads]") {
  Whereabouts nowhere, here;
  CHECK(!nowhere.on_my_processor());
  const OneProcessor one;
  here.here();
  CHECK(here.on_my_processor());
  const int mine = sched_getcpu();
  for (int processor = 0; processor < CPU_SETSIZE; ++processor)
    if (processor != mine && CPU_ISSET(processor, &one.before)) {
      cpu_set_t other;
      CPU_ZERO(&other);
      CPU_SET(processor, &other);
      REQUIRE(sched_setaffinity(0, sizeof other, &other) == 0);
      CHECK(!here.on_my_processor());
      break;
    }
}

TEST_CASE("a thread that loses its processor between two phases holds up none of those that follow",
          "[threads]") {
  const test::Threads set(2);
  const pthread_t thread = test::helper();
  const std::thread::id caller = std::this_thread::get_id();
  int tried = 0;
  for (int i = 0; i < 200 && tried < 20; ++i) {
    std::atomic<bool> helped{false};
    std::optional<test::Held> stalled;
    int alone = 0;
    Phases(2).run(4, [&](int phase, int share, int) {
      if (std::this_thread::get_id() != caller) {
        helped = true;
      } else if (phase == 0 && share == 0) {
        for (int wait = 0; wait < 1'000'000 && !helped; ++wait) relax();
        stalled.emplace(thread);  // which has done its share, and waits for this one
      } else if (stalled) {
        ++alone;
        if (phase == 3) stalled.reset();
      }
    });
    if (alone > 0) ++tried;
    CHECK((alone == 0 || alone >= 5));  // the last share may be the helper's again
  }
  CHECK(tried > 0);
}

#endif

TEST_CASE("a phase begins when all shares of the one before are done", "[threads]") {
  for (const int threads : {1, 2, 3, 8}) {
    const test::Threads set(threads);
    constexpr int kPhaseCount = 50;
    Phases phases(threads);
    for (int run = 0; run < 20; ++run) {
      std::vector<std::atomic<int>> done(kPhaseCount);
      std::atomic<int> early{0}, twice{0};
      std::vector<std::atomic<int>> shares(static_cast<std::size_t>(kPhaseCount * threads));
      phases.run(kPhaseCount, [&](int phase, int share, int rank) {
        if (rank < 0 || rank >= threads) ++early;
        if (phase > 0 && done[static_cast<std::size_t>(phase - 1)] != threads) ++early;
        if (shares[static_cast<std::size_t>(phase * threads + share)]++ != 0) ++twice;
        if (phase % 16 == share) std::this_thread::sleep_for(100us);
        ++done[static_cast<std::size_t>(phase)];
      });
      CHECK(early == 0);
      CHECK(twice == 0);
      CHECK(done.back() == threads);
    }
  }
}

TEST_CASE("what a share throws is thrown after all phases are over", "[threads]") {
  const test::Threads set(2);
  std::atomic<int> calls{0};
  Phases phases(2);
  CHECK_THROWS_AS(phases.run(4,
                             [&](int phase, int, int) {
                               ++calls;
                               if (phase == 1) throw std::runtime_error("share");
                             }),
                  std::runtime_error);
  CHECK(calls == 8);
}

}  // namespace retnet::kernels
