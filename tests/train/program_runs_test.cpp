// The program from training to text: the same result however many threads, interruptions and crashes.
#include <filesystem>
#include <map>
#include <random>
#include <regex>
#include <sstream>

#include "tensor/json.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using retnet::Json;
using namespace retnet::test;
namespace fs = std::filesystem;

namespace {

// Large enough for parallel loops to be parallel, small enough for hundreds of steps.
constexpr const char* kSizes =
    " --data data.txt --layers 2 --d-model 32 --heads 2 --key-width 32 --value-width 48 --ffn-width 48 "
    "--chunk 8 "
    "--window 32 --batch 4 --dropout 0.1";

struct Workplace : TemporaryFolder {
  Workplace() { write_text(*this / "data.txt", sample_text(6000)); }
  Outcome run(const std::string& words) const { return retnet::test::run(path(), split_words(words)); }
  std::string weights(const std::string& out, const std::string& step) const {
    return contents(*this / (out + "/step-" + step + "/model.safetensors"));
  }
};

// A log without the time that its steps took, which is all that may differ.
std::string without_seconds(const std::string& log) {
  return std::regex_replace(log, std::regex(",\"seconds\":[0-9.e+-]+"), "");
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("Train, evaluate, generate, compare, describe", "[program][runs]") {
  const Workplace place;
  const Outcome trained =
      place.run(std::string("train --out runs/a --steps 40 --eval-every 20 --save-every 20") + kSizes);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(contains(trained.out, "bits per byte"));
  CHECK(contains(trained.out, "retnet generate --model runs/a"));
  CHECK(contains(trained.err, "step 40/40"));
  for (const char* file : {"config.json", "log.jsonl", "loss.svg", "step-000020/model.safetensors",
                           "step-000040/optimizer.safetensors", "step-000040/trainer.json"})
    CHECK(fs::exists(place / (std::string("runs/a/") + file)));

  // The same loss again from the checkpoint, in every form, and it is below that of guessing.
  std::smatch loss;
  REQUIRE(std::regex_search(trained.out, loss, std::regex("held out  ([0-9.]+) nats")));
  CHECK(std::stod(loss[1]) < 4);
  for (const char* form : {"parallel", "recurrent", "chunkwise"}) {
    const Outcome evaluated = place.run(std::string("eval --model runs/a --batch 3 --form ") + form);
    CHECK(evaluated.code == 0);
    CHECK(contains(evaluated.out, "loss        " + loss[1].str() + " nats per byte"));
    CHECK(contains(evaluated.out, "the last 600 of 6,000 bytes"));
  }
  write_text(place / "other.txt", sample_text(500) + "which it has not seen");
  const Outcome other = place.run("eval --model runs/a --data other.txt --reference true");
  CHECK(other.code == 0);
  CHECK(contains(other.out, "all 521 bytes"));

  const Outcome text = place.run("generate --model runs/a --prompt line --tokens 50 --seed 3");
  CHECK(text.code == 0);
  CHECK(text.out.size() == 4 + 50 + 1);
  CHECK(text.out.rfind("line", 0) == 0);
  write_text(place / "prompt.txt", "line");
  CHECK(place.run("generate --model runs/a/step-000040 --prompt-file prompt.txt --tokens 50 --seed 3").out ==
        text.out);
  CHECK(place.run("generate --model runs/a --prompt line --tokens 50 --seed 4").out != text.out);
  const std::string greedy =
      place.run("generate --model runs/a --prompt line --tokens 50 --temperature 0").out;
  CHECK(place.run("generate --model runs/a --prompt line --tokens 50 --top-k 1").out == greedy);
  const Outcome rounded =
      place.run("generate --model runs/a --prompt line --tokens 50 --seed 3 --weights bf16");
  CHECK(rounded.code == 0);
  CHECK(rounded.out.size() == text.out.size());

  const Outcome forms = place.run("forms --model runs/a --length 40 --chunk 7");
  CHECK(forms.code == 0);
  CHECK(contains(forms.out, "the forms agree"));
  const Outcome info = place.run("info --model runs/a");
  CHECK(info.code == 0);
  CHECK(contains(info.out, "half-life"));
}

TEST_CASE("Both spellings of a flag, and a config file under flags, give the same run", "[program][runs]") {
  const Workplace place;
  write_text(place / "sizes.json",
             "{\"layers\": 3, \"d_model\": 32, \"key_width\": 32, \"value_width\": 32, \"heads\": 2}");
  const std::string same = " --data data.txt --window 32 --batch 2 --steps 2 --quiet";
  REQUIRE(place.run("train --out a --layers 1 --config sizes.json --learning_rate 0.01 --ffn_width 16" + same)
              .code == 0);
  REQUIRE(place
              .run("train --out b --d-model 32 --key-width=32 --value-width 32 --heads 2 --layers 1 "
                   "--learning-rate 0.01 "
                   "--ffn-width 16" +
                   same)
              .code == 0);
  CHECK(contents(place / "a/config.json") == contents(place / "b/config.json"));
  CHECK(place.weights("a", "000002") == place.weights("b", "000002"));
}

TEST_CASE("A shorter run has a shorter warm-up, unless it was given one", "[program][runs]") {
  const Workplace place;
  const auto warmup = [&](const std::string& words) {
    const Outcome trained = place.run("train --out runs/" + words + kSizes);
    INFO(trained.err);
    REQUIRE(trained.code == 0);
    const std::string out = "runs/" + words.substr(0, words.find(' '));
    std::smatch found;
    const std::string settings = contents(place / (out + "/trainer.json"));
    REQUIRE(std::regex_search(settings, found, std::regex("\"warmup\": *([0-9]+)")));
    return std::stoi(found[1]);
  };
  CHECK(warmup("tiny --steps 10") == 6);
  CHECK(warmup("small --steps 40 --preset small") == 2);
  CHECK(warmup("given --steps 10 --warmup 3") == 3);
  CHECK(warmup("tiny --steps 10 --resume") == 6);
}

TEST_CASE("Weights, log and text are the same on 1, 2, 3 and 8 threads", "[program][runs][threads]") {
  const Workplace place;
  const std::string train = std::string("train --steps 8 --eval-every 4 --quiet") + kSizes;
  std::string weights, log, text;
  for (const char* threads : {"1", "2", "3", "8"}) {
    const std::string out = std::string("runs/") + threads, flag = std::string(" --threads ") + threads;
    REQUIRE(place.run(train + " --out " + out + flag).code == 0);
    const Outcome generated = place.run("generate --model " + out + " --prompt a --tokens 40" + flag);
    if (weights.empty()) {
      weights = place.weights(out, "000008"), log = without_seconds(contents(place / (out + "/log.jsonl")));
      text = generated.out;
      CHECK(text.size() > 40);
    }
    CAPTURE(threads);
    CHECK(place.weights(out, "000008") == weights);
    CHECK(without_seconds(contents(place / (out + "/log.jsonl"))) == log);
    CHECK(generated.out == text);
  }
}

TEST_CASE("An interrupted run saves, exits with 128 + the signal and goes on to the same end",
          "[program][runs]") {
  const Workplace place;
  const std::string train =
      std::string("train --steps 120 --eval-every 50 --save-every 1000 --threads 1 --quiet") + kSizes;
  REQUIRE(place.run(train + " --out whole").code == 0);
  for (const int number : {SIGINT, SIGTERM}) {
    const std::string out = number == SIGINT ? "int" : "term";
    Program program(place.path(), split_words(train + " --out " + out));
    REQUIRE(program.wait_for_lines(place / (out + "/log.jsonl"), 10));
    program.signal(number);
    const Outcome interrupted = program.wait();
    CAPTURE(out, interrupted.err);
    REQUIRE(interrupted.code == 128 + number);
    CHECK(interrupted.out.empty());
    CHECK(interrupted.error_lines() == 1);
    CHECK(contains(interrupted.err, "retnet train --out " + out + " --resume"));
    // No flags: the run knows its own settings.
    REQUIRE(place.run("train --resume --threads 1 --quiet --out " + out).code == 0);
    CHECK(place.weights(out, "000120") == place.weights("whole", "000120"));
    CHECK(without_seconds(contents(place / (out + "/log.jsonl"))) ==
          without_seconds(contents(place / "whole/log.jsonl")));
  }
}

TEST_CASE("A killed run goes on to the same end", "[program][runs]") {
  const Workplace place;
  const std::string train =
      std::string("train --steps 100 --eval-every 30 --save-every 7 --threads 1 --quiet --resume") + kSizes;
  REQUIRE(place.run(train + " --out whole").code == 0);
  std::mt19937 random(1);
  int killed = 0;
  for (int attempt = 0; attempt < 6; ++attempt) {  // each time from where the last one was killed
    Program program(place.path(), split_words(train + " --out killed"));
    program.wait_for_lines(place / "killed/log.jsonl", attempt * 15);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    program.signal(SIGKILL);
    killed += program.wait().code == 128 + SIGKILL;
  }
  CHECK(killed >= 3);
  const Outcome resumed = place.run(train + " --out killed");
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(place.weights("killed", "000100") == place.weights("whole", "000100"));
  CHECK(without_seconds(contents(place / "killed/log.jsonl")) ==
        without_seconds(contents(place / "whole/log.jsonl")));
}

TEST_CASE("The measurements are one JSON object per line", "[program][runs][bench]") {
  const Workplace place;
  const Outcome gradcheck = place.run("gradcheck --layers 1 --elements 3 --length 5 --threads 1");
  CHECK(gradcheck.code == 0);
  CHECK(contains(gradcheck.out, "all gradients agree"));
  const Outcome bench = place.run("bench --quick --threads 1 --json");
  INFO(bench.err);
  CHECK(bench.code == 0);
  std::map<std::string, int> lines;
  std::istringstream text(bench.out);
  for (std::string line; std::getline(text, line);) {
    CAPTURE(line);
    const Json json = Json::parse(line, "bench");
    ++lines[json.at("what").as_string()];
    CHECK((json.at("value").as_double() > 0 || json.at("unit").as_string() == "%"));
    CHECK(json.at("threads").as_int() == 1);
    CHECK(!json.at("instructions").as_string().empty());
    if (const Json* share = json.find("share")) {
      CHECK(share->as_double() > 0);
      CHECK(share->as_double() <= 1.05);  // more is unknown
      CHECK(!json.at("of").as_string().empty());
    }
  }
  for (const char* section :
       {"machine", "memory", "matmul", "steps", "retention", "training", "forward", "decode"}) {
    CAPTURE(section);
    CHECK(lines[section] >= 3);
  }
  CHECK(lines["rates"] == 0);  // only when asked for
  const Outcome rates = place.run("bench --quick --threads 1 --json --only rates");
  for (const char* name :
       {"training, batch 16", "training, batch 2", "decoding, batch 1", "decoding, batch 16"})
    CHECK(contains(rates.out, "\"what\":\"rates\",\"case\":\"tiny, " + std::string(name)));
}

TEST_CASE("A section of the measurements runs alone", "[program][runs][bench]") {
  const Workplace place;
  const Outcome memory =
      place.run("bench --only memory --form chunkwise --form parallel --length 100 --length 200 --quick");
  CHECK(memory.code == 0);
  CHECK(contains(memory.out, "tiny, chunkwise, N 100, process"));
  CHECK(contains(memory.out, "tiny, parallel, N 200, tensors"));
  CHECK_FALSE(contains(memory.out, "composed"));
  CHECK_FALSE(contains(memory.out, "this machine: "));  // nothing to compare with, so it is not measured
  const Outcome steps = place.run("bench --only steps --quick --save steps.jsonl");
  CHECK(steps.code == 0);
  CHECK(contains(contents(place / "steps.jsonl"), "\"case\":\"packed\""));
  CHECK(place.run("bench --only steps --quick --save nowhere/steps.jsonl").code == 1);
  // Measured again on a disk that is full before the end: the old file stays, and nothing beside it.
  const std::string before = contents(place / "steps.jsonl");
  const std::ptrdiff_t files = place.count();
  Surroundings full;
  full.file_size = before.size() / 2;
  CHECK(retnet::test::run(place.path(), split_words("bench --only steps --quick --json --save steps.jsonl"),
                          full)
            .code == 1);
  CHECK(contents(place / "steps.jsonl") == before);
  CHECK(place.count() == files);
  const Outcome foreign = place.run("bench --only steps --quick --save data.txt");
  CHECK(foreign.code == 1);
  CHECK(contains(foreign.err, "data.txt\" holds something else than measurements"));
  CHECK(contents(place / "data.txt") == sample_text(6000));
  for (const char* step : {"this machine", "naive", "blocked", "packed", "vectorised", "% of the FMA peak"})
    CHECK(contains(steps.out, step));
  CHECK_FALSE(contains(steps.out, "tokens/s"));
}
