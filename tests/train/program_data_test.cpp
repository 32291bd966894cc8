// Text that comes to the program from everywhere: many files, pipes, standard input, files larger than
// memory, and runs that are moved.

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet::test;
namespace fs = std::filesystem;

namespace {

// A folder, in which a shell runs scripts. `$R` is the program and `$S` what makes a run small.
struct Shell : TemporaryFolder {
  Shell() {
    write_text(*this / "a.txt", sample_text(2000));
    write_text(*this / "b.txt", "another text: " + sample_text(1000));
    write_text(*this / "ab.txt", contents(*this / "a.txt") + contents(*this / "b.txt"));
    setenv("R", RETNET_PROGRAM, 1);
    setenv(
        "S",
        "--layers 1 --d-model 16 --heads 2 --key-width 16 --value-width 24 --ffn-width 16 --chunk 8 --window "
        "16 --batch 2 --warmup 2 --steps 4 --save-every 2 --eval-every 0 --threads 1 --quiet",
        1);
    setenv("WHERE", path().c_str(), 1);
  }
  // Without a signal a shell exits with the code of the program.
  Outcome operator()(const std::string& script) const {
    write_text(*this / "script", "cd \"$WHERE\"\n" + script + "\n");
    const std::string files = " > '" + (*this / "stdout") + "' 2> '" + (*this / "stderr") + "' < /dev/null";
    const int status = std::system(("bash '" + (*this / "script") + "'" + files).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), contents(*this / "stdout"),
            contents(*this / "stderr")};
  }
  // "" when the script ends with 0, else what it said.
  std::string problem(const std::string& script) const {
    const Outcome outcome = (*this)(script);
    return outcome.code == 0 ? "" : std::to_string(outcome.code) + ": " + outcome.err;
  }
  // "" when the script ends with this code and one line on standard error that contains `words`.
  std::string refusal(const std::string& script, int code, const std::string& words) const {
    const Outcome outcome = (*this)(script);
    const bool good =
        outcome.code == code && outcome.error_lines() == 1 && outcome.err.find(words) != std::string::npos;
    return good ? "" : std::to_string(outcome.code) + ": " + outcome.err;
  }
  std::string weights(const std::string& out) const {
    return contents(*this / (out + "/step-000004/model.safetensors"));
  }
  std::vector<std::string> copies(const std::string& out) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(*this / out))
      if (const std::string name = entry.path().filename(); name.find("data") != name.npos)
        names.push_back(name);
    return names;
  }
};

// The line of `eval` with the loss.
std::string loss(const Outcome& outcome) {
  const std::size_t begin = outcome.out.find("loss "), end = outcome.out.find('\n', begin);
  return begin == std::string::npos ? "no loss: " + outcome.err : outcome.out.substr(begin, end - begin);
}

}  // namespace

TEST_CASE("Several files, pipes and standard input are the same text as one file", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("$R train --data ab.txt $S --out whole") == "");
  const std::string weights = shell.weights("whole");
  REQUIRE(!weights.empty());
  struct Case {
    const char *name, *command;
    std::size_t copies;
  };
  for (const Case& c : std::vector<Case>{
           {"several", "$R train --data a.txt b.txt $S --out several", 0},
           {"glob", "mkdir g; cp a.txt g/1; cp b.txt g/2; $R train $S --out glob --data g/*", 0},
           {"equals", "$R train --data=a.txt b.txt $S --out equals", 0},
           {"repeated", "$R train --data a.txt $S --out repeated --data b.txt", 0},
           {"dash", "cat ab.txt | $R train --data - $S --out dash", 1},
           {"stdin", "cat ab.txt | $R train --data /dev/stdin $S --out stdin", 1},
           {"redirected", "$R train --data - $S --out redirected < ab.txt", 1},
           {"descriptor", "$R train --data /dev/fd/7 $S --out descriptor 7< ab.txt", 1},
           {"substitution", "$R train --data <(cat a.txt) <(cat b.txt) $S --out substitution", 1},
           {"fifo", "mkfifo p; cat b.txt > p & $R train --data a.txt p $S --out fifo", 1},
           {"late", "mkfifo q; (sleep 0.3; cat ab.txt > q) & $R train --data q $S --out late", 1},
       }) {
    CAPTURE(c.name);
    CHECK(shell.problem(c.command) == "");
    CHECK((shell.weights(c.name) == weights));
    CHECK(shell.copies(c.name).size() == c.copies);
  }
  const std::string expected = loss(shell("$R eval --model whole --held-out 1 --data ab.txt"));
  CHECK(expected.find("over 3,013 bytes") != std::string::npos);
  for (const char* data : {"a.txt b.txt", "- < ab.txt", "<(cat a.txt) b.txt", "a.txt /dev/stdin < b.txt"}) {
    CAPTURE(data);
    CHECK(loss(shell(std::string("$R eval --model whole --held-out 1 --data ") + data)) == expected);
  }
  // Of the text it was trained on, the held-out part, however it comes.
  CHECK(loss(shell("cat ab.txt | $R eval --model whole --data -")) == loss(shell("$R eval --model whole")));
}

TEST_CASE("A piped text is kept once, and compared when it comes again", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("cat ab.txt | $R train --data - $S --out r") == "");
  const std::string weights = shell.weights("r");
  const std::vector<std::string> copies = shell.copies("r");
  REQUIRE(copies.size() == 1);
  CHECK(contents(shell / ("r/" + copies[0])) == contents(shell / "ab.txt"));
  CHECK(shell.problem("rm -r r/step-000004; cat ab.txt | $R train --data - $S --out r --resume") == "");
  CHECK((shell.weights("r") == weights));
  CHECK(shell.problem("rm -r r/step-000004; $R train --out r --resume --quiet --threads 1") == "");
  CHECK((shell.weights("r") == weights));
  CHECK(shell.refusal("cat a.txt | $R train --data - $S --out r --resume", 1, "begun on other data") == "");
  CHECK(shell.copies("r") == copies);
  // Other text needs --extend, and is kept beside the first one, which older checkpoints know.
  CHECK(shell.problem("cp -r r e; cat a.txt | $R train --data - ${S/steps 4/steps 6} --out e --extend") ==
        "");
  CHECK(shell.copies("e").size() == 2);
  CHECK(shell.problem("$R eval --model e/step-000004; $R eval --model e/step-000006") == "");
  // The only copy of a text is removed on request, and said to be.
  CHECK(shell.problem("cp -r r n; rm -r n/step-*; $R train --data a.txt $S --out n") == "");
  CHECK(shell.copies("n") == copies);
  CHECK(shell("$R train --data a.txt $S --out n --overwrite").err.find(copies[0]) != std::string::npos);
  CHECK(shell.copies("n").empty());
  CHECK(shell("$R train --data a.txt $S --out n --overwrite").err ==
        "overwriting the run in n: removing step-000004, step-000002, config.json, trainer.json, log.jsonl, "
        "loss.svg\n");
  // A copy of the run goes on with its copy of the text.
  CHECK(shell.problem("cp -r r moved; rm -r r ab.txt moved/step-000004; mkdir x; cd x; "
                      "$R train --out ../moved --resume --quiet --threads 1; $R eval --model ../moved") ==
        "");
  CHECK((shell.weights("moved") == weights));
}

TEST_CASE("A run is evaluated and continued from any folder", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("$R train --data a.txt $S --out r; $R train $S --held-out 0.001 --out b") == "");
  const std::string expected = loss(shell("$R eval --model r"));
  CHECK(expected.find("bits per byte") != std::string::npos);
  for (const char* model : {"../../r", "../../r/step-000004"}) {
    CAPTURE(model);
    CHECK(loss(shell(std::string("mkdir -p x/y; cd x/y; $R eval --model ") + model)) == expected);
  }
  CHECK(shell.problem("cd x/y; rm -r ../../r/step-000004; $R train --out ../../r --resume --quiet") == "");
  CHECK(loss(shell("$R eval --model r")) == expected);
  CHECK(loss(shell("mv b x/b; cd x/y; $R eval --model ../b/step-000004")).find("bits per byte") !=
        std::string::npos);
  // A checkpoint that has left its run does not know the text, and says what to give.
  CHECK(shell.refusal("cp -r x/b/step-000004 alone; $R eval --model alone", 1, "name it with --data") == "");
  CHECK(shell.problem("$R eval --model alone --data a.txt") == "");
}

TEST_CASE("Training begins from the weights that a flag names", "[program][data][init]") {
  const Shell shell;
  REQUIRE(shell.problem("$R train --data a.txt $S --out r") == "");
  // So small a rate changes no weight but one that is 0.
  const std::string still = "$R train --data b.txt $S --learning-rate 1e-30 --weight-decay 0 ";
  CHECK(shell.problem(still + "--init-from r --out n") == "");
  CHECK((shell.weights("n") == shell.weights("r")));
  CHECK(shell.refusal("$R train --data b.txt ${S/layers 1/layers 2} --init-from r --out m", 1,
                      "r: the model has layers 1, got 2") == "");
  CHECK(shell.refusal(still + "--init-from none --out m", 1, "none: there is no such folder") == "");
}

TEST_CASE("Prompts and configs come from pipes too", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("echo '{\"layers\": 2}' > c.json; $R train --data a.txt $S --out r") == "");
  const std::string flags = "$R generate --model r --tokens 9 --temperature 0 --prompt-file ";
  const Outcome expected = shell("printf line > p.txt; " + flags + "p.txt");
  CHECK(expected.code == 0);
  CHECK(expected.out.size() == 4 + 9 + 1);
  for (const char* file : {"- < p.txt", "/dev/stdin < p.txt", "<(cat p.txt)"}) {
    CAPTURE(file);
    CHECK(shell(flags + file).out == expected.out);
  }
  CHECK(shell("cat p.txt | " + flags + "-").out == expected.out);
  CHECK(shell.refusal(flags + "- < /dev/null", 1, "standard input: the file is empty") == "");

  const std::string train =
      "$R train --data a.txt --d-model 16 --heads 2 --window 8 --batch 2 --steps 4 --quiet "
      "--threads 1 --out ";
  REQUIRE(shell.problem(train + "c1 --config c.json") == "");
  REQUIRE(shell.problem("cat c.json | " + train + "c2 --config -") == "");
  REQUIRE(shell.problem(train + "c3 --config <(cat c.json)") == "");
  CHECK((shell.weights("c2") == shell.weights("c1")));
  CHECK((shell.weights("c3") == shell.weights("c1")));
  CHECK(shell.refusal("echo '{' | " + train + "c4 --config -", 1, "standard input: line ") == "");
  CHECK(shell.refusal(train + "c4 --config /dev/zero", 1, "required at most 1048576 bytes") == "");
}

TEST_CASE("Standard input is read once, and what begins with a dash is a flag", "[program][data]") {
  const Shell shell;
  for (const char* words : {"train --data - --config -", "train --data - /dev/stdin",
                            "train --data a.txt - -", "eval --model none --data - --data /dev/fd/0"}) {
    CAPTURE(words);
    CHECK(shell.refusal(std::string("$R ") + words + " < a.txt", 2, "can be read only once") == "");
  }
  CHECK(shell.refusal("cp a.txt ./-x.txt; $R train --data a.txt -x.txt", 2, "unknown flag -x.txt") == "");
  CHECK(shell.refusal("$R train --data --quiet", 2, "--data needs a value") == "");
  CHECK(shell.refusal("$R train --out a b", 2, "unexpected argument \"b\"") == "");
  CHECK(shell.problem("$R train --data=-x.txt $S --out r1; $R train --data ./-x.txt $S --out r2") == "");
  CHECK((shell.weights("r1") == shell.weights("r2")));
  // A file of this name, not the text inside the program.
  CHECK(
      shell.problem("cp a.txt bundled; $R train --data ./bundled $S --out r3; cmp r1/step-000004/model.safe* "
                    "r3/step-000004/model.safe*; $R eval --model r3") == "");
  CHECK(shell.copies("r3").empty());
  CHECK(shell.refusal("$R train --data - $S --out r4 <&-", 1, "standard input: cannot read") == "");
  CHECK(shell.refusal("$R train --data - $S --out r4 < /dev/null", 1, "standard input: the file is empty") ==
        "");
  CHECK(shell.refusal("$R train --data - $S --out r4 < .", 1, "standard input: cannot read: Is a dir") == "");
}

TEST_CASE("A run that was killed while its text came leaves no part of it for long", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("mkfifo p") == "");
  // Somebody holds the pipe open and writes no more.
  CHECK(shell("(printf abc; exec sleep 20) > p & writer=$!; $R train --data p $S --out r & pid=$!; "
              "while ! ls r/.data.tmp.* 2> /dev/null > /dev/null; do sleep 0.02; done; "
              "kill -TERM $pid; wait $pid; code=$?; kill $writer; exit $code")
            .code == 128 + SIGTERM);
  CHECK(shell.copies("r").size() == 1);
  CHECK(shell.problem("$R train --data a.txt $S --out r") == "");
  CHECK(shell.copies("r").empty());
}

#if !defined(__SANITIZE_ADDRESS__)  // which reserves terabytes of addresses

TEST_CASE("Text larger than the memory that is allowed trains and is evaluated", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("truncate -s 300M large; cat a.txt >> large") == "");
  // In KiB; the program and its work take half of it.
  const std::string limit = "ulimit -v 200000; ";
  REQUIRE(shell.problem(limit + "$R train --data large $S --held-out 0.000001 --out r") == "");
  CHECK(shell.problem(limit + "$R eval --model r --threads 1") == "");
  CHECK(shell.problem(limit + "$R eval --model r --threads 1 --data large --held-out 0.000001") == "");
  CHECK(shell.problem(limit + "$R train --out r --resume --quiet --threads 1") == "");
}

#endif

TEST_CASE("What no machine has is refused before it is begun", "[program][data]") {
  const Shell shell;
  REQUIRE(shell.problem("$R train --data a.txt $S --out r; truncate -s 64G large") == "");
  CHECK(shell.refusal("$R forms --length 1000000 --batch 4096", 1,
                      "to compare the forms on 1,000,000 steps takes at least ") == "");
  CHECK(shell.refusal("$R eval --model r --data large --batch 1048576 --window 16777216", 1,
                      "to evaluate 68,719,476,736 tokens at a time takes at least 68.0 TiB, ") == "");
}

TEST_CASE("A file that is cut under a run ends it with one line", "[program][data]") {
  const Shell shell;
  Program program(shell.path(),
                  split_words("train --data ab.txt --layers 1 --d-model 16 --heads 2 --window 16 "
                              "--batch 2 --steps 1000000 --eval-every 0 --threads 1 --quiet "
                              "--out r"));
  REQUIRE(program.wait_for_lines(shell / "r/log.jsonl", 5));
  fs::resize_file(shell / "ab.txt", 100);
  const Outcome outcome = program.wait();
  CHECK(outcome.code == 1);
  CHECK(outcome.error_lines() == 1);
  CHECK(outcome.err.find("ab.txt: cannot read 17 bytes at byte ") != std::string::npos);
  CHECK(outcome.err.find("the file ends at 100; was it truncated meanwhile?") != std::string::npos);
}
