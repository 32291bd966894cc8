// Loops on several threads: every piece once, whoever comes, and nobody waits for a thread that does not.

#include "kernels/thread_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <numeric>
#include <stdexcept>
#include <thread>

#include "kernels/parallel.h"
#include "kernels/phases.h"
#include "tests/support/threads.h"

namespace retnet::kernels {
namespace {

using namespace std::chrono_literals;

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
    const test::Threads set(threads);
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

TEST_CASE("more threads than there is room for shares take each piece once too", "[threads]") {
  constexpr int kThreads = 300;
  std::vector<int> taken(1000);
  Shares shares(1000, kThreads, 1);
  std::int64_t begin = 0, end = 0;
  for (int rank = kThreads - 1; shares.take(rank, begin, end); rank = (rank + 7) % kThreads)
    for (std::int64_t i = begin; i < end; ++i) ++taken[static_cast<std::size_t>(i)];
  CHECK(taken == std::vector<int>(1000, 1));
}

#if defined(_OPENMP)

TEST_CASE("a helper that sleeps comes when there is work", "[threads]") {
  const test::Threads set(2);
  for (int i = 0; i < 20; ++i) {
    if (i % 2) std::this_thread::sleep_for(5 * kPatience);
    test::helper();
  }
}

TEST_CASE("a thread that gets no processor holds up no loop that it has not begun", "[threads]") {
  const test::Threads set(2);
  const pthread_t thread = test::helper();
  {
    const test::Held stalled(thread);
    for (int i = 0; i < 100; ++i) CHECK(sum_of_loop(64, kParallelWork) == 64);
    std::int64_t sum = 0;
    parallel_in_order(10, [&](std::int64_t i) { sum += i; });
    CHECK(sum == 45);
    std::vector<int> done;
    Phases(2).run(3, [&](int phase, int share, int) { done.push_back(2 * phase + share); });
    CHECK(done == std::vector<int>{0, 1, 2, 3, 4, 5});
  }
  test::helper();  // comes again
}

TEST_CASE("loops inside of a parallel region of the caller take no other threads", "[threads]") {
  const test::Threads set(3);
  std::atomic<int> elsewhere{0}, runs{0};
#pragma omp parallel num_threads(2)
  {
    const std::thread::id mine = std::this_thread::get_id();
    const auto piece = [&](auto...) {
      ++runs;
      if (std::this_thread::get_id() != mine) ++elsewhere;
      std::this_thread::sleep_for(1ms);
    };
    parallel_for(8, kParallelWork, piece);
    Phases(2).run(2, piece);
  }
  CHECK(runs == 2 * (8 + 4));
  CHECK(elsewhere == 0);
}

TEST_CASE("a process that was forked makes threads of its own", "[threads]") {
  const test::Threads set(3);
  CHECK(sum_of_loop(64, kParallelWork) == 64);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);
    test::helper();
    _exit(sum_of_loop(64, kParallelWork) == 64 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(sum_of_loop(64, kParallelWork) == 64);
}

TEST_CASE("loops that begin side by side are each whole", "[threads]") {
  const test::Threads set(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int loop = 0; loop < 20; ++loop) {
        std::atomic<int> runs{0};
        parallel_for(8, kParallelWork, [&](std::int64_t) {
          std::this_thread::sleep_for(50us);
          ++runs;
        });
        if (runs != 8) ++wrong;
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("within a loop there is one thread, on every thread of it", "[threads]") {
  const test::Threads set(2);
  std::atomic<int> here{0}, more{0};
  parallel_in_order(2, [&](std::int64_t) {
    ++here;
    test::comes_true([&] { return here == 2; });
    if (num_threads() != 1) ++more;
  });
  CHECK(here == 2);
  CHECK(more == 0);
  CHECK(num_threads() == 2);
}

#endif

TEST_CASE("the first piece that fails is thrown, and no more begin", "[threads]") {
  for (const int threads : {1, 2}) {
    const test::Threads set(threads);
    std::atomic<int> begun{0};
    std::string message;
    try {
      parallel_in_order(1000, [&](std::int64_t i) {
        ++begun;
        if (i == 0 && threads > 1) test::comes_true([&] { return begun > 1; });
        if (i == 1) std::this_thread::sleep_for(20ms);
        if (i <= 1) throw std::runtime_error("piece " + std::to_string(i));
        std::this_thread::sleep_for(1ms);
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "piece 0");
    CHECK(begun < 100);
  }
}

}  // namespace retnet::kernels
