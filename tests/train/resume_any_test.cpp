// Whatever the flags: --resume added to a command goes on with the run that the command began, wherever it
// was ended, and begins it where there is none.

#include <random>

#include "tests/train/disturbed_run.h"
#include "train/checkpoint.h"

namespace retnet::test {
namespace {

/// Flags of a small run, drawn at random: each is given or not, and widths follow others where they are not.
class RandomFlags {
 public:
  explicit RandomFlags(unsigned seed) : random_(seed) {}

  std::string words() {
    std::string words = " --save-every " + one_of({"1", "2", "3"}) + " --steps " + one_of({"5", "6", "8"});
    sometimes(words, " --preset tiny");
    words += " --d-model 8 --layers " + one_of({"1", "2"}) + " --heads 2 --window " + one_of({"8", "11"});
    sometimes(words, " --key-width " + one_of({"4", "8"}));
    sometimes(words, " --value-width " + one_of({"8", "12"}));
    sometimes(words, " --ffn-width " + one_of({"6", "16"}));
    sometimes(words, " --batch " + one_of({"1", "3"}));
    sometimes(words, " --micro-batch 2");
    sometimes(words, " --accumulate 2");
    sometimes(words, " --dropout 0.25");
    sometimes(words, " --form " + one_of({"parallel", "recurrent", "chunkwise"}));
    sometimes(words, " --chunk 3");
    sometimes(words, " --decay " + one_of({"constant", "linear", "cosine"}));
    sometimes(words, " --warmup " + one_of({"0", "2"}));
    sometimes(words, " --learning-rate 0.01");
    sometimes(words, " --beta2 0.9 --weight-decay 0.5");
    sometimes(words, " --clip " + one_of({"0", "0.1"}));
    sometimes(words, " --held-out " + one_of({"0", "0.3"}));
    sometimes(words, " --eval-every " + one_of({"0", "1", "3"}));
    sometimes(words, " --seed " + one_of({"3", "9007199254740993"}));
    sometimes(words, " --recompute true");
    sometimes(words, " --reference true");
    sometimes(words, " --rotation " + one_of({"none", "rope"}));
    sometimes(words, " --ffn glu");
    sometimes(words, " --gate gelu");
    sometimes(words, " --tie-head true");
    return words;
  }
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

 private:
  std::string one_of(const std::vector<std::string>& choices) {
    return choices[below(static_cast<unsigned>(choices.size()))];
  }
  void sometimes(std::string& words, const std::string& flag) {
    if (below(3) == 0) words += flag;
  }
  std::mt19937 random_;
};

TEST_CASE("any command goes on with its run when --resume is added, wherever that was ended",
          "[train][resume]") {
  const Place place;
  int begun = 0, gone_on = 0;
  for (unsigned seed = 1; seed <= 24; ++seed) {
    RandomFlags flags(seed);
    const auto command = [&, words = flags.words()](const std::string& out) {
      return "train --data " + (place.folder / "data.txt") + " --threads 1 --quiet --out " +
             (place.folder / out) + words;
    };
    const std::string whole = "whole" + std::to_string(seed), ended = "ended" + std::to_string(seed);
    CAPTURE(command(ended));
    const std::vector<SystemCall> calls = place.calls_of(command(whole));
    Disturbance stop{{}, {}, Disturbance::Kind::stop, 1};
    std::string resume;  // the first command may have it too
    for (int i = 0; i < 3; ++i, resume = " --resume") {
      if (flags.below(2) == 0) resume = " --resume";
      stop.at = 1 + static_cast<int>(flags.below(static_cast<unsigned>(calls.size())));
      // Where it was ended before its first save, the same command begins anew, with --resume or without.
      const bool saved = newest_checkpoint(place.folder / ended).has_value();
      ++(saved ? gone_on : begun);
      const Outcome outcome = place.run(command(ended) + (saved ? " --resume" : resume), stop);
      INFO(outcome.err);
      CHECK((outcome.code == kStopped || outcome.code == 0));
    }
    const Outcome outcome = place.run(command(ended) + " --resume");
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(difference(left_by(place.folder / ended), left_by(place.folder / whole)) == "");
  }
  CHECK((begun > 10 && gone_on > 10));
}

}  // namespace
}  // namespace retnet::test
