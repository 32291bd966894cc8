// kill -9 at random moments: a run that is resumed as often as that ends like one that nobody touched.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "kernels/parallel.h"
#include "tests/support/test.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

using Clock = std::chrono::steady_clock;

/// Trains in a process of its own. Threads do not survive a fork, so the child uses one.
pid_t start(const Run& run) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  try {
    kernels::set_num_threads(1);
    test::train_to_end(run);
    ::_exit(0);
  } catch (const std::exception& error) {
    static_cast<void>(::write(STDERR_FILENO, error.what(), std::char_traits<char>::length(error.what())) ==
                      0);
    ::_exit(1);
  }
}

TEST_CASE("kill -9 at random moments and --resume: nothing is torn and no bit differs", "[train][kill]") {
  constexpr int kKills = 40;
  const test::TemporaryFolder folder;
  Run whole = test::tiny_run(folder, "whole", 60);
  whole.settings.save_every = 3;
  const Clock::time_point begin = Clock::now();
  int status = 0;
  REQUIRE(::waitpid(start(whole), &status, 0) > 0);
  REQUIRE(status == 0);
  const std::chrono::duration<double> unbroken = Clock::now() - begin;
  const std::string expected = test::checkpoint_bytes(whole.out, 60),
                    log = test::log_without_times(whole.out);

  std::mt19937 bits(17);
  int kills = 0, finished = 0;
  for (int round = 0; kills < kKills; ++round) {
    Run run = whole;
    run.out = folder / ("killed-" + std::to_string(round));
    run.resume = true;  // also before there is anything: killed before the first checkpoint, it begins anew
    while (true) {
      const pid_t child = start(run);
      if (kills < kKills) {
        const double wait = unbroken.count() * 0.4 * static_cast<double>(bits()) / 4294967296.0;
        ::usleep(static_cast<useconds_t>(1e6 * wait));
        ::kill(child, SIGKILL);
      }
      REQUIRE(::waitpid(child, &status, 0) == child);
      if (WIFSIGNALED(status)) {
        ++kills;
        continue;
      }
      REQUIRE(status == 0);
      break;
    }
    ++finished;
    CHECK((test::checkpoint_bytes(run.out, 60) == expected));
    CHECK(test::log_without_times(run.out) == log);
    CHECK(read_file(run.out + "/config.json") == read_file(whole.out + "/config.json"));
    for (const auto& entry : std::filesystem::directory_iterator(run.out))
      CHECK(entry.path().string().find(".tmp.") == std::string::npos);
  }
  CHECK(finished > 0);
}

}  // namespace
}  // namespace retnet
