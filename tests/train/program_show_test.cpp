// What the program shows: its words to people of other programs, and its line of progress on any terminal.
#include <filesystem>

#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/terminal.h"
#include "tests/support/test.h"

using namespace retnet::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTrain =
    "train --data data.txt --layers 1 --d-model 16 --heads 2 --chunk 8 --window 16 --batch 2 --warmup 2 "
    "--decay constant --threads 1 --out ";

struct Workplace : TemporaryFolder {
  Workplace() { write_text(*this / "data.txt", sample_text(4000)); }
  Outcome run(const std::vector<std::string>& words) const { return retnet::test::run(path(), words); }
  std::string problem(const std::vector<std::string>& words, int code, const std::string& message) const {
    return failure_problem(run(words), code, message);
  }
  std::string problem(const std::string& words, int code, const std::string& message) const {
    return problem(split_words(words), code, message);
  }
};

}  // namespace

TEST_CASE("What other programs call it is understood, and ours is named", "[program][words]") {
  struct Case {
    const char *words, *message;
  };
  const Workplace place;
  for (const Case& c : std::vector<Case>{
           {"train --lr 1", "unknown flag --lr; did you mean --learning-rate?"},
           {"train -lr 1", "unknown flag -lr; did you mean --learning-rate?"},
           {"train --max-steps 5", "did you mean --steps?"},
           {"train --max_iters=5", "unknown flag --max_iters; did you mean --steps?"},
           {"train --epochs 3", "did you mean --steps, of one batch each: there are no epochs?"},
           {"train --batch-size 3", "did you mean --batch?"},
           {"train --block-size 3", "did you mean --window?"},
           {"train --seq-len 3", "did you mean --window?"},
           {"train --n-layer 3", "did you mean --layers?"},
           {"train --n_head 3", "did you mean --heads?"},
           {"train --n-embd 3", "did you mean --d-model?"},
           {"train --hidden-size 3", "did you mean --d-model?"},
           {"train --checkpoint runs/a", "unknown flag --checkpoint; did you mean --"},
           {"train --output-dir a", "did you mean --out?"},
           {"train --gpu", "did you mean --device hip?"},
           {"eval --checkpoint runs/a", "did you mean --model?"},
           {"generate --ckpt runs/a", "did you mean --model?"},
           {"generate --max-new-tokens 5", "did you mean --tokens?"},
           {"generate --start A", "did you mean --prompt?"},
           {"eval --block-size 5", "did you mean --window?"},
           {"forms --seq-len 5", "did you mean --length?"},
           {"train --device cuda", "required cpu or hip, got \"cuda\"; a GPU, of NVIDIA too, is called hip"},
           {"eval --model x --device cuda:0", "got \"cuda:0\"; a GPU, of NVIDIA too, is called hip"},
           {"train --device GPU", "a GPU, of NVIDIA too, is called hip"},
           {"train --device mps", "there is no support for this one, use cpu"},
           {"train --device hp", "required cpu or hip, got \"hp\"; did you mean hip?"},
           {"sample --model x", "unknown command \"sample\"; did you mean generate?"},
           {"inference", "did you mean generate?"},
           {"test", "did you mean eval?"},
           {"evaluate", "did you mean eval?"},
           {"finetune", "did you mean train?"},
           {"benchmark", "did you mean bench?"},
           {"--data data.txt", "flags come after a command: retnet COMMAND --data"},
           {"train data.txt", "unexpected argument \"data.txt\"; did you mean --data data.txt?"},
           {"eval --model x data.txt", "did you mean --data data.txt?"},
           {"generate .", "did you mean --model .?"},
           {"generate data.txt", "did you mean --prompt-file data.txt?"},
           {"generate Once", "did you mean --prompt Once?"},
           {"forms .", "did you mean --model .?"},
           {"train .", "did you mean --out .?"},
           {"gradcheck extra", "unexpected argument \"extra\""},
           {"train --qwertyuiop 5", "retnet train --help lists them"},
           // Of another command's flags; and short ones, which are not all near to --help.
           {"train --temp 1", "--temp; did you mean --temperature, a flag of retnet generate?"},
           {"train --temperature 1", "--temperature; that is a flag of retnet generate"},
           {"generate --final_lr 1", "--final_lr; that is a flag of retnet train"},
           {"eval --stepz 1", "--stepz; did you mean --steps, a flag of retnet train?"},
           {"eval -gpu 1", "-gpu; did you mean --device hip?"},
           {"train -step 1", "-step; did you mean --steps?"},
           {"train --abcd 1", "--abcd; retnet train --help lists them"},
           {"train --hepl", "--hepl; did you mean --help?"},
           {"--temp", "unknown flag \"--temp\"; flags come after a command: retnet COMMAND --temp"},
           {"-versoin", "unknown flag \"-versoin\"; did you mean --version?"},
       }) {
    CAPTURE(c.words);
    CHECK(place.problem(c.words, 2, c.message) == "");
  }
  CHECK_FALSE(fs::exists(place / "runs"));
}

TEST_CASE("A hint leads to a flag that the command has, or one that it names", "[program][words]") {
  const Workplace place;
  const char* const theirs[] = {"lr",          "max-steps", "batch-size", "block-size", "n-layer",
                                "hidden-size", "o",         "checkpoint", "file",       "workers",
                                "max-tokens",  "temp",      "start",      "silent"};
  for (const char* command : {"train", "eval", "generate", "forms", "info", "bench", "gradcheck"}) {
    const std::string help = place.run({command, "--help"}).out;
    for (const char* word : theirs) {
      const std::string flag = std::string("--") + word;
      if (help.find("  " + flag + " ") != help.npos) continue;  // here it is ours
      const std::string error = place.run({command, flag}).err;
      CAPTURE(command, flag, error);
      const std::size_t at = error.find("; did you mean ");
      if (at == error.npos) {
        CHECK((error.find("--help lists them") != error.npos ||
               error.find("; that is a flag of retnet ") != error.npos));
        continue;
      }
      const std::string ours = error.substr(at + 15, error.find_first_of(" ?,", at + 15) - at - 15);
      const std::size_t other = error.find(", a flag of retnet ");
      const std::string shown =
          other == error.npos
              ? help
              : place.run({error.substr(other + 19, error.find('?') - other - 19), "--help"}).out;
      CHECK(shown.find("  " + ours + " ") != help.npos);
    }
  }
}

TEST_CASE("An empty value is no value, and a value may begin with a dash", "[program][words]") {
  const Workplace place;
  REQUIRE(place.run(split_words(kTrain + std::string("run --steps 2 --quiet"))).code == 0);
  for (const char* flag : {"--prompt", "--prompt-file", "--model", "--tokens"})
    CHECK(place.problem({"generate", flag, ""}, 2, std::string(flag) + " needs a value (") == "");
  CHECK(place.problem({"generate", "--model", "run", "--prompt", ""}, 2,
                      "--prompt needs a value (TEXT) of at least one character, got an empty one") == "");
  CHECK(place.problem({"generate", "--model", "run", "--prompt="}, 2, "got an empty one") == "");
  CHECK(place.problem({"train", "--out", ""}, 2, "--out needs a value (DIR)") == "");
  CHECK(place.problem({"train", "--data", ""}, 2, "--data needs a value (FILE") == "");
  CHECK_FALSE(fs::exists(place / "runs"));
  for (const char* prompt : {"-x", "--x", "-", "[a,b]", "a=b", "=", "\"", "'$a", "%", "--", "-5"})
    for (const bool joined : {false, true}) {
      std::vector<std::string> words{"generate", "--model", "run", "--tokens", "0", "--prompt"};
      if (joined)
        words.back() += std::string("=") + prompt;
      else
        words.push_back(prompt);
      const Outcome outcome = place.run(words);
      CAPTURE(prompt, joined, outcome.err);
      CHECK(outcome.code == 0);
      CHECK(outcome.out == std::string(prompt) + "\n");
    }
}

TEST_CASE("A number that is refused is shown with the digits for which it is", "[program][words]") {
  const Workplace place;
  REQUIRE(place.run(split_words(kTrain + std::string("run --steps 2 --quiet"))).code == 0);
  const std::string generate = "generate --model run --prompt a ", eval = "eval --model run ";
  CHECK(place.problem(generate + "--top-p 1.0000001", 2, "top_p must be in (0, 1], got 1.0000001") == "");
  CHECK(place.problem(generate + "--temperature -1e-9", 2, "got -1e-09") == "");
  CHECK(place.problem(generate + "--temperature nan", 2, "got nan") == "");
  CHECK(place.problem(generate + "--temperature -nan", 2, "got nan") == "");
  CHECK(place.problem(generate + "--temperature -inf", 2, "got -inf") == "");
  CHECK(place.problem(eval + "--held-out 1.0000001", 2, "--held-out must be in (0, 1], got 1.0000001") == "");
  CHECK(place.problem("train --data data.txt --dropout 0.99999999999999999", 2, "[0, 1), got 1") == "");
  CHECK(place.problem("train --data data.txt --dropout 1.0000000001", 2, "got 1.0000000001") == "");
  CHECK(place.problem("train --data data.txt --learning-rate 1000.00001", 2, "got 1000.00001") == "");
  CHECK(place.problem("train --data data.txt --gammas 0.5,1.0000002,0.5,0.5", 2, "1.0000002") == "");
}

TEST_CASE("What can be done about a refusal is not refused in turn", "[program][words]") {
  const Workplace place;
  REQUIRE(place.run(split_words(kTrain + std::string("all --steps 2 --quiet --held-out 0"))).code == 0);
  const std::string nothing = "--data is required: the run learned from all of its text (held_out 0)";
  CHECK(place.problem("eval --model all", 2, nothing) == "");
  CHECK(place.problem("eval --model all --data data.txt", 2, nothing) == "");
  CHECK(place.run(split_words("eval --model all --held-out 0.5")).code == 0);
  write_text(place / "other.txt", sample_text(3000));
  CHECK(place.run(split_words("eval --model all --data other.txt")).code == 0);

  // A file of the model's folder instead of the folder.
  for (const char* command : {"eval", "generate --prompt a", "forms", "info"})
    for (const char* file : {"all/step-000002/model.safetensors", "all/step-000002/config.json"})
      CHECK(place.problem(
                command + std::string(" --model ") + file, 1,
                file + std::string(": is a file; give the folder that it is in: all/step-000002")) == "");
  CHECK(place.run(split_words("generate --model all/step-000002 --prompt a --tokens 1")).code == 0);
  CHECK(place.problem("eval --model data.txt", 1, "data.txt: is a file; give the folder that it is in: .") ==
        "");

  const std::string constant = "--score-norm-gradient: false leaves a part out of the gradient";
  CHECK(place.problem("gradcheck --score-norm-gradient false", 2, constant) == "");
  CHECK(place.run(split_words("gradcheck --score-norm-gradient false --score-norm none --elements 2")).code ==
        0);
  CHECK(place.run(split_words("forms --score-norm-gradient false --length 20")).code == 0);
}

TEST_CASE("The progress of a run takes one row of a terminal, however narrow", "[program][terminal]") {
  const Workplace place;
  const std::string train = kTrain + std::string("run --steps 300 --eval-every 100 --save-every 100");
  for (const std::uint16_t columns : std::vector<std::uint16_t>{0, 1, 7, 20, 45, 80}) {
    fs::remove_all(place / "run");
    const Terminal terminal(columns);
    Surroundings surroundings;
    surroundings.standard_error = terminal.descriptor();
    Program program(place.path(), split_words(train), surroundings);
    std::string text;
    while (!program.ended()) {
      text += terminal.read();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(program.wait().code == 0);
    text += terminal.read();
    CAPTURE(columns, text);
    CHECK(std::count(text.begin(), text.end(), '\r') >= 3);
    // Three evaluations, each of which stays.
    CHECK(rows_taken(text, columns == 0 ? 80 : columns, true) == (columns == 1 ? 0 : 3));
    if (columns >= 45) CHECK(text.find("step 300/300  loss ") != text.npos);
  }
}

TEST_CASE("Saving and drawing do not read the log", "[program][curve]") {
  const Workplace place;
  const std::string train =
      std::string("train --data data.txt --layers 1 --d-model 16 --heads 2 --chunk 8 ") +
      "--window 16 --batch 2 --steps 150 --save-every 1 --eval-every 10 --threads 1 --quiet ";
  REQUIRE(place.run(split_words(train + "--out whole")).code == 0);
  Program program(place.path(), split_words(train + "--out moved"));
  REQUIRE(program.wait_for_lines(place / "moved/log.jsonl", 5));
  // The log goes on where it was moved to; in its place is something that cannot be read.
  fs::rename(place / "moved/log.jsonl", place / "log.jsonl");
  fs::create_directory(place / "moved/log.jsonl");
  const Outcome outcome = program.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(contents(place / "moved/loss.svg") == contents(place / "whole/loss.svg"));
}
