// Loops on several threads: every piece once, whoever comes, and nobody waits for a thread that does not.

#include "kernels/thread_pool.h"

#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "kernels/parallel.h"
#include "kernels/phases.h"
#include "tests/support/test.h"

namespace retnet::kernels {
namespace {

using namespace std::chrono_literals;

struct Threads {
  explicit Threads(int n) : before(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  int before;
};

std::int64_t sum_of_loop(std::int64_t count, std::int64_t work) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
  parallel_for(count, work, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
  return std::accumulate(runs.begin(), runs.end(), std::int64_t{0}, [](std::int64_t sum, const auto& n) {
    return n == 1 ? sum + 1 : -1'000'000;  // twice or not at all
  });
}

}  // namespace

TEST_CASE("every piece of a loop runs once, whatever the threads, the pieces and their work", "[threads]") {
  for (const int threads : {1, 2, 3, 8, 70}) {
    const Threads set(threads);
    for (const std::int64_t count : {1, 2, 3, 7, 64, 1000})
      for (const std::int64_t work : {std::int64_t{0}, std::int64_t{1}, std::int64_t{100}, kParallelWork}) {
        CAPTURE(threads, count, work);
        CHECK(sum_of_loop(count, work) == count);
      }
  }
}

TEST_CASE("shares are taken whole, each piece once, one's own first", "[threads]") {
  Shares shares(10, 3, 2);
  std::int64_t begin = 0, end = 0;
  std::vector<std::int64_t> taken;
  while (shares.take(1, begin, end))
    for (std::int64_t i = begin; i < end; ++i) taken.push_back(i);
  CHECK(taken == std::vector<std::int64_t>{3, 4, 5, 6, 7, 8, 9, 0, 1, 2});
  CHECK(!shares.take(0, begin, end));
}

#if defined(_OPENMP)

namespace {

/// Whether `condition` holds within 20 seconds, asleep in between.
template <class Condition>
bool comes_true(Condition&& condition) {
  for (int i = 0; i < 20'000 && !condition(); ++i) std::this_thread::sleep_for(1ms);
  return condition();
}

/// Runs a loop until a helper has been in it, and returns that thread.
pthread_t helper() {
  std::atomic<bool> here{false};
  pthread_t thread{};
  const std::thread::id caller = std::this_thread::get_id();
  parallel_in_order(2, [&](std::int64_t) {
    if (std::this_thread::get_id() != caller) thread = pthread_self(), here = true;
    comes_true([&] { return here.load(); });
  });
  REQUIRE(here);
  return thread;
}

sem_t let_go;
std::atomic<int> held{0};

/// A helper that gets no processor, as far as the others can tell, as long as this lives: in a signal
/// handler.
struct Held {
  explicit Held(pthread_t thread) : before(std::signal(SIGUSR2, hold)) {
    sem_init(&let_go, 0, 0);
    held = 0;
    pthread_kill(thread, SIGUSR2);
    while (held == 0) std::this_thread::yield();
  }
  ~Held() {
    sem_post(&let_go);
    while (held == 1) std::this_thread::yield();
    std::signal(SIGUSR2, before);
  }
  static void hold(int) {
    held = 1;
    while (sem_wait(&let_go) != 0) continue;
    held = 2;
  }
  void (*before)(int);
};

}  // namespace

TEST_CASE("a helper that sleeps comes when there is work", "[threads]") {
  const Threads set(2);
  for (int i = 0; i < 20; ++i) {
    if (i % 2) std::this_thread::sleep_for(5 * kPatience);
    helper();
  }
}

TEST_CASE("a thread that gets no processor holds up no loop that it has not begun", "[threads]") {
  const Threads set(2);
  const pthread_t thread = helper();
  {
    const Held stalled(thread);
    for (int i = 0; i < 100; ++i) CHECK(sum_of_loop(64, kParallelWork) == 64);
    std::int64_t sum = 0;
    parallel_in_order(10, [&](std::int64_t i) { sum += i; });
    CHECK(sum == 45);
    std::vector<int> done;
    Phases(2).run(3, [&](int phase, int share, int) { done.push_back(2 * phase + share); });
    CHECK(done == std::vector<int>{0, 1, 2, 3, 4, 5});
  }
  helper();  // comes again
}

TEST_CASE("a process that was forked makes threads of its own", "[threads]") {
  const Threads set(3);
  CHECK(sum_of_loop(64, kParallelWork) == 64);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);
    helper();
    _exit(sum_of_loop(64, kParallelWork) == 64 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(sum_of_loop(64, kParallelWork) == 64);
}

TEST_CASE("loops that begin side by side are each whole", "[threads]") {
  const Threads set(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int loop = 0; loop < 500; ++loop)
        if (sum_of_loop(32, kParallelWork) != 32) ++wrong;
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

#endif

TEST_CASE("a phase begins when all shares of the one before are done", "[threads]") {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads set(threads);
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
  const Threads set(2);
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
