// The program when it is called wrongly, given bad files, or cannot write: one clear line, the right exit
// code, nothing lost.
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "tensor/dispatch.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSmall =
    "--layers 1 --d-model 16 --heads 2 --key-width 16 --value-width 24 --ffn-width 16 --chunk 8 --window 16 "
    "--batch 2 "
    "--warmup 2 --decay constant --save-every 3 --eval-every 0 --quiet";

std::vector<std::string> train_words(const std::string& more) {
  return split_words("train --data data.txt " + std::string(kSmall) + " " + more);
}

// Every file below a folder, with what it holds.
std::map<std::string, std::string> snapshot(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path().string()] = contents(entry.path().string());
  return files;
}

// A folder with data and a finished run of 6 steps in runs/good.
struct Workplace : TemporaryFolder {
  Workplace() {
    write_text(*this / "data.txt", sample_text(4000));
    const Outcome trained = run(path(), train_words("--out runs/good --steps 6"));
    INFO(trained.err);
    REQUIRE(trained.code == 0);
  }
  std::string problem(const std::string& words, int code, const std::string& message,
                      const Surroundings& surroundings = {}) const {
    return failure_problem(run(path(), split_words(words), surroundings), code, message);
  }
  // A copy of the newest checkpoint, to be damaged.
  std::string checkpoint_copy(const std::string& name) const {
    fs::copy(*this / "runs/good/step-000006", *this / name, fs::copy_options::recursive);
    return *this / name;
  }
};

}  // namespace

TEST_CASE("Help and version are printed, fit a terminal and show examples", "[program]") {
  const TemporaryFolder folder;
  const Outcome version = run(folder.path(), {"--version"});
  CHECK(version.code == 0);
  CHECK(version.out.rfind("retnet ", 0) == 0);
  for (const char* command : {"", "train", "eval", "generate", "forms", "info", "bench", "gradcheck"}) {
    const Outcome help = run(folder.path(), split_words(std::string(command) + " --help"));
    CAPTURE(command);
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(help.out.find("examples:\n") != help.out.npos);
    std::size_t width = 0, longest = 0;
    for (const char c : help.out) longest = std::max(longest, width = c == '\n' ? 0 : width + 1);
    CHECK(longest <= 80);
  }
}

TEST_CASE("Wrong usage is named, with the nearest name, and exits with 2", "[program]") {
  struct Case {
    const char *words, *message;
  };
  const Workplace place;
  const auto before = snapshot(place / "runs");
  for (const Case& c : std::vector<Case>{
           {"", "a command is required"},
           {"trainn", "unknown command \"trainn\"; did you mean train?"},
           {"xyzzy", "retnet --help lists them"},
           {"--versoin", "did you mean --version?"},
           {"train --stepz 5", "retnet train: unknown flag --stepz; did you mean --steps?"},
           {"train --learnin_rate 1", "unknown flag --learnin_rate; did you mean --learning-rate?"},
           {"train --qwertyuiop 5", "retnet train --help lists them"},
           {"train extra", "unexpected argument \"extra\""},
           {"train --out", "--out needs a value (DIR)"},
           {"train --out --resume", "--out needs a value (DIR)"},
           {"train --out=", "--out needs a value (DIR)"},
           {"train --resume=false --out runs/good", "--resume takes no value"},
           {"train --quiet=5", "--quiet takes no value"},
           {"train --steps 5 --steps 6", "--steps was given more than once"},
           {"train --steps 12x", "--steps: required a whole number, got \"12x\""},
           {"train --steps 1.5", "--steps: required a whole number"},
           {"train --steps 9223372036854775807", "steps must be in 1 .. 2147483647"},
           {"train --steps 99999999999999999999", "--steps: required a whole number"},
           {"train --learning-rate 1,5", "--learning-rate: required a number, got \"1,5\""},
           {"train --learning_rate nan", "learning_rate must be in"},
           {"train --threads 0", "--threads: required 1 .. 1024, got 0"},
           {"train --threads -2", "--threads: required 1 .. 1024, got -2"},
           {"train --preset tinny", "did you mean tiny?"},
           {"train --form paralel", "did you mean parallel?"},
           {"train --recompute yes", "--recompute: required true or false"},
           {"train --device cuda", "--device: required cpu or hip"},
           {"train --heads 3", "heads must divide key_width, got 3 heads and key_width 128"},
           {"train --key-width 100 --heads 4", "key_width / heads must be even"},
           {"train --layers 0", "layers must be in 1"},
           {"train --d-model -8", "d_model must be in 1"},
           {"train --d-model 17", "heads must divide key_width, got 4 heads and key_width 17"},
           {"train --chunk 0", "chunk must be in 1"},
           {"train --window 0", "window must be in 1"},
           {"train --batch -1", "batch must be in 1"},
           {"train --dropout 1", "dropout must be in [0, 1)"},
           {"train --gammas 0.9,0.5", "gammas must have one decay per head"},
           {"train --gammas 0.9,1.5,0.9,0.9", "gammas must be in (0, 1]"},
           {"train --vocab 300", "vocab must be 256"},
           {"eval", "--model is required"},
           {"eval --model runs/good --window -1", "--window must be in 1 .. 16777216, got -1"},
           {"eval --model runs/good --window 0", "--window must be in 1 .. 16777216, got 0"},
           {"eval --model runs/good --batch 0", "--batch must be in 1 .. 1048576, got 0"},
           {"eval --model runs/good --held-out 2", "--held-out must be in (0, 1]"},
           {"generate --model runs/good", "--prompt TEXT or --prompt-file FILE"},
           {"generate --model runs/good --prompt a --prompt-file data.txt", "either --prompt"},
           {"generate --model runs/good --prompt a --temperature -1", "temperature must be at least 0"},
           {"generate --model runs/good --prompt a --top-p 0", "top_p must be in (0, 1]"},
           {"generate --model runs/good --prompt a --top-k -3", "top_k must be at least 0"},
           {"generate --model runs/good --prompt a --tokens -3", "--tokens: required at least 0"},
           {"generate --model runs/good --prompt a --weights f16", "--weights: required f32 or bf16"},
           {"forms --length 0", "--length: must be in 1"},
           {"forms --model runs/good --heads 2", "--heads does not go with --model"},
           {"gradcheck --length 0", "must be at least 1"},
           {"bench --preset huge", "--preset: required tiny, small or base, got \"huge\""},
           {"bench --only matmull", "got \"matmull\"; did you mean matmul?"},
           {"bench --form chunkwize", "did you mean chunkwise?"},
           {"bench --length 0", "--length: required 1 .. 16777216, got 0"},
       }) {
    CAPTURE(c.words);
    CHECK(place.problem(c.words, 2, c.message) == "");
  }
  CHECK(snapshot(place / "runs") == before);
}

TEST_CASE("Data that cannot be trained on is named, and no run is begun", "[program]") {
  const Workplace place;
  write_text(place / "empty.txt", "");
  write_text(place / "short.txt", "too short");
  mkdir((place / "folder").c_str(), 0700);
  const auto before = snapshot(place / "runs");
  const std::string flags = std::string(" ") + kSmall + " --steps 6 --out runs/new";
  CHECK(place.problem("train --data missing.txt" + flags, 1, "missing.txt") == "");
  CHECK(place.problem("train --data data.txt --data missing.txt" + flags, 1, "missing.txt") == "");
  CHECK(place.problem("train --data empty.txt" + flags, 1, "empty.txt: the file is empty") == "");
  CHECK(place.problem("train --data short.txt" + flags, 1, "a window of 16 needs 17 bytes") == "");
  CHECK(place.problem("train --data folder" + flags, 1, "folder") == "");
  if (!retnet::kHasGpu)
    CHECK(place.problem("train --data data.txt --device hip" + flags, 1, "is not in this build") == "");
  CHECK(place.problem("train --data data.txt --d-model 524288 --key-width 128 --value-width 256 --ffn-width "
                      "524288 --out runs/new",
                      1, "parameters on windows of 256 tokens takes at least") == "");
  CHECK(place.problem("eval --model runs/good --data missing.txt", 1, "missing.txt") == "");
  CHECK(place.problem("generate --model runs/good --prompt-file empty.txt", 1,
                      "empty.txt: the file is empty") == "");
  write_text(place / "secret.txt", sample_text(4000));
  chmod((place / "secret.txt").c_str(), 0);
  if (geteuid() == 0)
    WARN("run as root, who may read everything: an unreadable file was not tried");
  else
    CHECK(place.problem("train --data secret.txt" + flags, 1, "secret.txt") == "");
  CHECK_FALSE(fs::exists(place / "runs/new"));
  CHECK(snapshot(place / "runs") == before);
}

TEST_CASE("A config file that makes no sense is named with the field", "[program]") {
  struct Case {
    const char *json, *message;
  };
  const Workplace place;
  for (const Case& c : std::vector<Case>{{"[1, 2]", "config.json"},
                                         {"{\"layers\": 2", "config.json: line 1"},
                                         {"{\"layer\": 2}", "unknown field \"layer\"; did you mean layers?"},
                                         {"{\"layers\": 2.0}", "layers: required an integer"},
                                         {"{\"layers\": \"2\"}", "layers: required an integer"},
                                         {"{\"layers\": 0}", "layers must be in 1"},
                                         {"{\"d_model\": -4}", "d_model must be in 1"},
                                         {"{\"heads\": 3}", "heads must divide key_width"},
                                         {"{\"key_width\": 4}", "key_width / heads must be even"},
                                         {"{\"rotation\": \"rop\"}", "did you mean rope?"},
                                         {"{\"gammas\": [0.9, 0.9, 0.9, 2]}", "gammas must be in (0, 1]"}}) {
    write_text(place / "config.json", c.json);
    CAPTURE(c.json);
    CHECK(place.problem("train --data data.txt --window 16 --config config.json --out runs/new", 1,
                        c.message) == "");
  }
  CHECK(place.problem("train --data data.txt --config none.json --out runs/new", 1, "none.json") == "");
  CHECK_FALSE(fs::exists(place / "runs/new"));
}

TEST_CASE("A checkpoint that is damaged, foreign or contradicts itself is refused by name", "[program]") {
  const Workplace place;
  const auto with = [&](const char* file, const std::function<std::string(std::string)>& damage) {
    fs::remove_all(place / "bad");
    const std::string path = place.checkpoint_copy("bad") + "/" + file;
    write_text(path, damage(contents(path)));
    std::string problem;
    for (const char* command : {"eval --data data.txt", "generate --prompt a", "forms", "info"})
      problem += place.problem(std::string(command) + " --model bad", 1, "bad/");
    return problem;
  };
  constexpr const char* kWeights = "model.safetensors";
  CHECK(with(kWeights, [](auto) { return ""; }) == "");
  CHECK(with(kWeights, [](auto text) { return text.substr(0, 4); }) == "");
  CHECK(with(kWeights, [](auto text) { return text.substr(0, text.size() / 2); }) == "");
  CHECK(with(kWeights, [](auto text) { return text.substr(0, text.size() - 1); }) == "");
  CHECK(with(kWeights, [](auto text) { return text + "x"; }) == "");
  CHECK(with(kWeights, [](auto text) {
          return text.replace(text.size() - 3, 1, 1, char(text[text.size() - 3] ^ 1));
        }) == "");
  CHECK(with(kWeights, [](auto) { return std::string("PK\3\4 a zip as torch.save writes it"); }) == "");
  CHECK(with(kWeights, [](auto) { return std::string("<!DOCTYPE html><html>not found</html>"); }) == "");
  CHECK(with("config.json", [](auto) { return std::string("{\"hidden_size\": 64}"); }) == "");
  CHECK(with("config.json",
             [](auto text) { return text.replace(text.find("\"layers\": 1"), 11, "\"layers\": 2"); }) == "");
  CHECK(with("config.json", [](auto text) {
          return text.replace(text.find("\"d_model\": 16"), 13, "\"d_model\": 32");
        }) == "");
  CHECK(with("config.json", [](auto text) {  // fits the weights all the same
          return text.replace(text.find("\"heads\": 2"), 10, "\"heads\": 4");
        }) == "");
  mkdir((place / "nothing").c_str(), 0700);
  CHECK(place.problem("eval --model nothing", 1, "nothing") == "");
  CHECK(place.problem("eval --model missing", 1, "missing") == "");
  CHECK(place.problem("eval --model data.txt", 1, "data.txt") == "");
}

TEST_CASE("A damaged newest checkpoint is told once, and the run goes on from the one before", "[program]") {
  const Workplace place;
  const std::string path = place / "runs/good/step-000006/optimizer.safetensors", whole = contents(path);
  write_text(path, whole.substr(0, whole.size() / 2));
  const Outcome resumed = run(place.path(), split_words("train --resume --quiet --out runs/good"));
  INFO(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(resumed.error_lines() == 1);
  CHECK(resumed.err.find("going back to runs/good/step-000003\n") != resumed.err.npos);
  CHECK(contents(path) == whole);
}

TEST_CASE("A run is not overwritten, nor continued as another one", "[program]") {
  const Workplace place;
  write_text(place / "other.txt", sample_text(3000) + "something else");
  const auto before = snapshot(place / "runs");
  const std::string same = std::string("train --data data.txt ") + kSmall + " --out runs/good";
  CHECK(place.problem(same + " --steps 6", 1, "continue it with --resume") == "");
  CHECK(place.problem("train --resume --out runs/good --d-model 32", 1, "d_model") == "");
  CHECK(place.problem("train --resume --out runs/good --preset small", 1, "runs/good") == "");
  CHECK(place.problem("train --resume --out runs/good --learning-rate 1", 1, "learning_rate") == "");
  CHECK(place.problem("train --resume --out runs/good --data other.txt", 1, "other data") == "");
  CHECK(place.problem("train --resume --out runs/good --steps 3", 1, "6 steps already") == "");
  CHECK(snapshot(place / "runs") == before);
}

TEST_CASE("Where nothing can be written, nothing is lost", "[program]") {
  const Workplace place;
  const auto before = snapshot(place / "runs/good");
  const std::string flags = std::string("train --data data.txt ") + kSmall;
  for (const char* out : {"data.txt", "data.txt/run", "/proc/retnet-run", "/dev/null"}) {
    CAPTURE(out);
    CHECK(place.problem(flags + " --steps 6 --out " + out, 1, out) == "");
  }
  Surroundings small_disk;
  small_disk.file_size = 8192;  // too small for the weights
  const std::string more = "train --extend --quiet --steps 12 --out runs/good";
  CHECK(place.problem(more, 1, "runs/good", small_disk) == "");
  for (const auto& [path, text] : before)
    if (path.find("step-000006") != path.npos && path.find("trainer.json") == path.npos)
      CHECK(contents(path) == text);  // trainer.json has the new plan
  CHECK(run(place.path(), split_words(more)).code == 0);
  CHECK(run(place.path(), train_words("--out runs/whole --steps 12")).code == 0);
  CHECK(contents(place / "runs/good/step-000012/model.safetensors") ==
        contents(place / "runs/whole/step-000012/model.safetensors"));
}

TEST_CASE("An output that cannot be written is a failure, a reader that left is one without words",
          "[program]") {
  const Workplace place;
  Surroundings closed, full, broken;
  closed.standard_output = Stdout::closed, full.standard_output = Stdout::full_disk;
  broken.standard_output = Stdout::broken_pipe;
  for (const char* words :
       {"eval --model runs/good", "generate --model runs/good --prompt a", "info",
        "forms --length 5 --handoffs 0", "gradcheck --length 2 --elements 1", "bench --quick"}) {
    CAPTURE(words);
    CHECK(place.problem(words, 1, "standard output", closed) == "");
    CHECK(place.problem(words, 1, "standard output: cannot write: No space left on device", full) == "");
    const Outcome quiet = run(place.path(), split_words(words), broken);
    CHECK(quiet.code == 1);
    CHECK(quiet.err.empty());
  }
  CHECK(place.problem("--help", 1, "standard output", full) == "");
  CHECK(place.problem("train --help", 1, "standard output: is closed", closed) == "");
  // Training says so before it begins, and not after an hour.
  CHECK(place.problem(std::string("train --data data.txt --out runs/new --steps 6 ") + kSmall, 1,
                      "standard output", closed) == "");
  CHECK_FALSE(fs::exists(place / "runs/new"));
}
