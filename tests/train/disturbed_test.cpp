// A run that fails, or is ended, at any one of its calls on files: what is left is whole, and going on from
// there ends like a run that nobody disturbed, bit for bit.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "tests/train/disturbed_run.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"

namespace retnet::test {
namespace {

namespace fs = std::filesystem;
using Kind = Disturbance::Kind;

constexpr const char* kSteps = "--steps 6";
constexpr const char* kResume = "--steps 6 --resume";

/// A run and what it does, undisturbed.
struct Whole : Place {
  Whole() : calls(calls_of(train("run", kSteps))), left(left_by(run_folder())) { begin_anew(); }

  std::string run_folder() const { return folder / "run"; }
  void begin_anew() const { fs::remove_all(run_folder()); }

  /// The numbers of the calls up to the first checkpoint, and from the second on, where the first is removed.
  /// Of a row of reads or writes of one file only the first and the last.
  std::vector<int> telling_calls() const {
    const auto same = [&](std::size_t i, std::size_t j) {
      return calls[i].name == calls[j].name && calls[i].path == calls[j].path;
    };
    std::vector<int> numbers;
    for (std::size_t i = 0; i < calls.size(); ++i)
      if ((i == 0 || i + 1 == calls.size() || !same(i, i - 1) || !same(i, i + 1)) &&
          saved_before(static_cast<int>(i)) != 2)
        numbers.push_back(static_cast<int>(i + 1));
    return numbers;
  }

  /// The newest checkpoint that has its name before a call.
  std::int64_t saved_before(int number) const {
    std::int64_t step = 0;
    for (int i = 0; i + 1 < number; ++i) {
      const std::string& to = calls[static_cast<std::size_t>(i)].to;
      for (const std::int64_t saved : {2, 4, 6})
        if (to == checkpoint_folder(run_folder(), saved)) step = saved;
    }
    return step;
  }

  /// "" when the folder holds what was saved before a call, and every checkpoint in it loads.
  std::string damage(int number) const {
    const std::int64_t saved = saved_before(number);
    if (!fs::exists(run_folder())) return saved > 0 ? "the run is gone" : "";
    const std::vector<std::int64_t> steps = checkpoint_steps(run_folder());
    for (const std::int64_t step : steps) load_trainer_state(checkpoint_folder(run_folder(), step));
    const std::int64_t newest = steps.empty() ? 0 : steps[0];
    return newest >= saved
               ? ""
               : "saved was step " + std::to_string(saved) + ", there is " + std::to_string(newest);
  }

  /// "" when the folder holds what an undisturbed run leaves; after call `number` of the last save also a
  /// checkpoint that was about to be removed.
  std::string difference_left(int number) const {
    std::map<std::string, std::string> now = left_by(run_folder());
    if (saved_before(number + 1) == 6)
      std::erase_if(now, [](const auto& file) { return file.first.starts_with("/step-000002"); });
    return difference(now, left);
  }

  Outcome resumed(const Disturbance& disturbance = {}) const {
    return run(train("run", kResume), disturbance);
  }

  std::vector<SystemCall> calls;
  std::map<std::string, std::string> left;
};

/// Calls whose failure need not be the run's: what is read or removed may have another copy, or be in
/// nobody's way.
bool may_be_passed_over(const SystemCall& call) {
  return call.name == "open" || call.name == "read" || call.name == "unlink" || call.name == "rmdir";
}

TEST_CASE("ended at any call on a file, and again while it is resumed, a run ends like an unbroken one",
          "[train][disturbed]") {
  const Whole whole;
  REQUIRE(whole.calls.size() > 200);
  for (const int number : whole.telling_calls()) {
    const SystemCall& call = whole.calls[static_cast<std::size_t>(number - 1)];
    CAPTURE(number, call.name, call.path);
    whole.begin_anew();
    Disturbance stop{{}, {}, Kind::stop, number};
    REQUIRE(whole.run(whole.train("run", kSteps), stop).code == kStopped);
    CHECK(whole.damage(number) == "");
    stop.at = 1 + number * 17 % 67;  // somewhere in the first or second save, or in taking up the run
    const int code = whole.resumed(stop).code;
    CHECK((code == kStopped || code == 0));
    CHECK(whole.damage(number) == "");
    const Outcome outcome = whole.resumed();
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(whole.difference_left(number) == "");
  }
}

TEST_CASE("a run in which any call on a file fails says so in one line, and goes on from what it has saved",
          "[train][disturbed]") {
  const Whole whole;
  for (const int number : whole.telling_calls()) {
    const SystemCall& call = whole.calls[static_cast<std::size_t>(number - 1)];
    const int error = number % 2 ? ENOSPC : EIO;
    const Kind kind = number % 3 ? Kind::fail : Kind::power;
    CAPTURE(number, call.name, call.path, error, kind == Kind::power);
    whole.begin_anew();
    const Outcome outcome = whole.run(whole.train("run", kSteps), {{}, {}, kind, number, error});
    INFO(outcome.err);
    if (outcome.code == 0 && may_be_passed_over(call)) {
      CHECK((outcome.err == "" || outcome.err.find("; going back to ") != outcome.err.npos));
    } else {
      CHECK(outcome.code == 1);
      CHECK(outcome.err.starts_with("retnet train: "));
      CHECK(outcome.error_lines() == 1);
      CHECK(outcome.err.find(std::strerror(error)) != std::string::npos);
    }
    CHECK(whole.damage(number) == "");
    const Outcome resumed = whole.resumed();
    INFO(resumed.err);
    CHECK(resumed.code == 0);
    CHECK(whole.difference_left(number) == "");
  }
}

TEST_CASE("reading a run whose files cannot be read is one error, or the checkpoint before",
          "[train][disturbed]") {
  const Whole whole;
  REQUIRE(whole.run(whole.train("run", kSteps)).code == 0);
  for (const char* command : {"eval --threads 1 --model ", "generate --prompt line --tokens 5 --model "}) {
    const std::string words = command + whole.run_folder();
    const std::size_t calls = whole.calls_of(words).size();
    REQUIRE(calls > 20);
    for (int number = 1; number <= static_cast<int>(calls); ++number) {
      CAPTURE(command, number);
      const Outcome outcome = whole.run(words, {{}, {}, Kind::fail, number, EIO});
      INFO(outcome.err);
      CHECK(outcome.error_lines() <= 1);
      if (outcome.code == 0)
        CHECK((outcome.err == "" || outcome.err.find("; going back to ") != outcome.err.npos));
      else
        CHECK((outcome.code == 1 && outcome.err.find(": Input/output error") != outcome.err.npos));
    }
  }
  CHECK(difference(left_by(whole.run_folder()), whole.left) == "");
}

TEST_CASE("a checkpoint that is removed while it is read gives way to the newer one", "[train][disturbed]") {
  const Whole whole;
  REQUIRE(whole.run(whole.train("run", kSteps)).code == 0);
  const std::string run = whole.run_folder(), older = checkpoint_folder(run, 4),
                    newer = checkpoint_folder(run, 6), aside = whole.folder / "aside";
  fs::rename(newer, aside);  // of which a run that saves meanwhile makes the next checkpoint
  for (const char* command :
       {"info ", "info --model ", "forms --length 2 --handoffs 0 --threads 1 --model ",
        "generate --prompt line --tokens 2 --threads 1 --model ", "eval --threads 1 --model "}) {
    const std::string words = command + run;
    const std::vector<SystemCall> calls = whole.calls_of(words);
    const auto opened =
        std::count_if(calls.begin(), calls.end(), [](const SystemCall& call) { return call.name == "open"; });
    REQUIRE(opened > 5);
    for (int number = 1; number <= opened; ++number) {
      CAPTURE(command, number);
      const auto save = [&] {
        fs::rename(aside, newer);
        fs::rename(older, aside);
      };
      const Outcome outcome = whole.run(words, {{}, "open", Kind::first, number, 0, false, save});
      CHECK(outcome.code == 0);
      CHECK(outcome.err == "");
      if (words.starts_with("info"))
        CHECK((outcome.out.find("step-000004/model.safetensors: ") != outcome.out.npos ||
               outcome.out.find("step-000006/model.safetensors: ") != outcome.out.npos));
      fs::rename(aside, older);
      fs::rename(newer, aside);
    }
  }
}

}  // namespace
}  // namespace retnet::test
