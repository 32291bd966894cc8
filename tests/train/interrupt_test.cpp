// Signals: each that asks the program to end saves first, and what is not there to read a message stops
// nothing.

#include "train/interrupt.h"

#include <sys/ioctl.h>

#include <filesystem>
#include <memory>

#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/checkpoint.h"
#include "train/log.h"
#include "train/run_folder.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::Outcome;
using test::Program;

constexpr int kPolite[] = {SIGHUP,  SIGINT,    SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                           SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGPWR};
// So many steps that it is still at it when the signal comes.
constexpr const char* kEndless =
    "train --data data.txt --layers 1 --d-model 8 --heads 1 --chunk 8 --window 16 --batch 1 --steps 2000000 "
    "--save-every 1000000 --eval-every 0 --threads 1 --held-out 0 --out ";
// One step, and an evaluation that takes seconds: a token at a time.
constexpr const char* kEvaluation =
    "train --data data.txt --layers 1 --d-model 8 --heads 1 --chunk 8 --window 16 --batch 1 --steps 1 --form "
    "recurrent --held-out 0.99 --threads 1 --micro-batch 1 --out ";

struct Workplace : test::TemporaryFolder {
  explicit Workplace(std::size_t bytes = 4000) {
    test::write_text(*this / "data.txt", test::sample_text(bytes));
  }

  /// A run of kEndless that has done some steps.
  std::unique_ptr<Program> started(const std::string& out, const std::string& more = "") const {
    auto program = std::make_unique<Program>(path(), test::split_words(kEndless + out + more));
    REQUIRE(program->wait_for_lines(*this / (out + "/log.jsonl"), 5));
    return program;
  }
  std::int64_t saved_step(const std::string& out) const {
    const auto newest = newest_checkpoint(*this / out);
    return newest ? load_trainer_state(*newest).step : 0;
  }
};

/// While it lives, the program is started with a signal ignored, as nohup does.
struct Ignored {
  explicit Ignored(int signal) : number(signal), before(std::signal(signal, SIG_IGN)) {}
  ~Ignored() { std::signal(number, before); }
  int number;
  void (*before)(int);
};

TEST_CASE("every signal that asks for the end saves first", "[program][signals]") {
  const Workplace place;
  for (const int number : kPolite) {
    const std::string out = "out-" + std::to_string(number);
    CAPTURE(number);
    const auto program = place.started(out);
    program->signal(number);
    const Outcome outcome = program->wait();
    CHECK(outcome.code == 128 + number);
    CHECK(outcome.err.find("to go on: retnet train --out " + out + " --resume") != std::string::npos);
    const std::int64_t step = place.saved_step(out);
    CHECK(step >= 5);
    CHECK(read_log(place / (out + "/log.jsonl")).steps.back().step == step);
  }
}

TEST_CASE("a signal that was ignored when the program started stays ignored", "[program][signals]") {
  const Workplace place;
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1}) {
    const std::string out = "out-" + std::to_string(number), log = place / (out + "/log.jsonl");
    std::unique_ptr<Program> program;
    {
      const Ignored ignored(number);
      program = place.started(out);
    }
    program->signal(number);
    const auto lines = static_cast<std::ptrdiff_t>(read_log(log).steps.size());
    CHECK(program->wait_for_lines(log, lines + 50));  // it goes on
    program->signal(SIGTERM);
    CHECK(program->wait().code == 128 + SIGTERM);
    CHECK(place.saved_step(out) > lines);
  }
}

TEST_CASE("one wish that is sent twice saves, a second wish ends at once", "[program][signals]") {
  const Workplace place;
  // To a process and then to its group, by `timeout`; from a shell and from the terminal that it was on.
  for (const auto& [first, second] : {std::pair{SIGTERM, SIGTERM}, {SIGHUP, SIGHUP}, {SIGTERM, SIGHUP}}) {
    const std::string out = "twice-" + std::to_string(first) + "-" + std::to_string(second);
    const auto program = place.started(out);
    program->signal(first), program->signal(second);
    const int code =
        program->wait().code;  // which of two that wait is delivered first is the system's choice
    CHECK((code == 128 + first || code == 128 + second));
    CHECK(place.saved_step(out) >= 5);
  }
  // A step that takes minutes, of which nobody wants to see the end.
  const std::string out = "impatient";
  Program program(
      place.path(),
      test::split_words("train --data data.txt --layers 1 --d-model 8 --heads 1 --chunk 8 --window 16 "
                        "--micro-batch 1 --batch 1 --accumulate 60000 --steps 2 --threads 1 --out " +
                        out));
  while (!fs::exists(place / (out + "/log.jsonl"))) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(
      std::chrono::milliseconds(100));  // the log is opened just before the first step
  program.signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  program.signal(SIGINT);
  CHECK(program.wait().code == 128 + SIGINT);
  CHECK(place.saved_step(out) == 0);
}

TEST_CASE("a second hang-up is no second wish, whenever it comes", "[signals]") {
  const auto start = [](int last) {
    const pid_t child = fork();
    if (child != 0) return child;
    for (const int number : {SIGHUP, SIGINT, SIGTERM}) std::signal(number, SIG_DFL);  // Catch2 has its own
    const Interrupts interrupts;
    raise(SIGTERM);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // what comes now is not the same wish
    raise(last);
    _exit(interrupts.flag() && interrupts.signal() == SIGTERM ? 0 : 1);
  };
  const pid_t hangs_up = start(SIGHUP), interrupts = start(SIGINT);
  int status = 0;
  REQUIRE(waitpid(hangs_up, &status, 0) == hangs_up);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  REQUIRE(waitpid(interrupts, &status, 0) == interrupts);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGINT));
}

TEST_CASE("a signal during the last evaluation ends it within a batch", "[program][signals]") {
  const Workplace place(80000);
  Program program(place.path(), test::split_words(kEvaluation + std::string("out")));
  while (!fs::exists(place / "out/step-000001")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // by then it evaluates
  program.signal(SIGTERM);
  const Outcome outcome = program.wait();
  CHECK(outcome.code == 128 + SIGTERM);
  CHECK(outcome.err.find("interrupted after step 1;") != std::string::npos);
  CHECK(read_log(place / "out/log.jsonl").evaluations.empty());
  // Resumed, it evaluates.
  const Outcome resumed =
      test::run(place.path(), test::split_words("train --resume --quiet --threads 1 --out out"));
  INFO(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(resumed.out.find("held out") != std::string::npos);
  REQUIRE(read_log(place / "out/log.jsonl").evaluations.size() == 1);
  CHECK(read_log(place / "out/log.jsonl").evaluations[0].step == 1);
}

TEST_CASE("a terminal that is closed ends a run that saves, and stops no run that ignores it",
          "[program][signals]") {
  const Workplace place;
  for (const bool nohup : {false, true}) {
    const std::string out = nohup ? "nohup" : "hangup", log = place / (out + "/log.jsonl");
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    REQUIRE((terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0));
    const std::string name = ptsname(terminal);
    std::vector<std::string> words = test::split_words(RETNET_PROGRAM + std::string(" ") + kEndless + out);
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      close(terminal);
      setsid();
      const int end = open(name.c_str(), O_RDWR);  // the first one that a session opens is its terminal
      ioctl(end, TIOCSCTTY, 0);
      for (const int stream : {0, 1, 2}) dup2(end, stream);
      if (nohup) std::signal(SIGHUP, SIG_IGN);
      if (chdir(place.path().c_str()) == 0) execv(pointers[0], pointers.data());
      _exit(99);
    }
    const auto lines = [&] { return std::filesystem::exists(log) ? read_log(log).steps.size() : 0; };
    const auto wait_for = [&](std::size_t count) {
      int status = 0;
      while (lines() < count && waitpid(child, &status, WNOHANG) == 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return lines() >= count;
    };
    REQUIRE(wait_for(5));
    close(terminal);  // SIGHUP, and EIO for whatever is written
    if (nohup) {
      CHECK(wait_for(lines() + 50));
      kill(child, SIGTERM);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 128 + (nohup ? SIGTERM : SIGHUP));
    CHECK(place.saved_step(out) >= 5);
  }
}

}  // namespace
}  // namespace retnet
