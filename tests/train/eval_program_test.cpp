// `retnet eval`: of the text that a model was trained on it reads the held-out part, of another text all.

#include <cmath>
#include <regex>
#include <set>

#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"

namespace retnet::test {
namespace {

constexpr const char* kTrain =
    "train --layers 1 --d-model 8 --heads 2 --chunk 8 --steps 2 --batch 2 --window 16 --held-out 0.2 --quiet "
    "--threads 1 ";

/// What `retnet eval` says.
struct Said {
  std::string text;  ///< which bytes
  double nats = 0;
  std::string bytes;  ///< over how many
};

struct Workplace : TemporaryFolder {
  Workplace() {
    const std::string text = sample_text(3000);
    write_text(*this / "data", text), write_text(*this / "a", text.substr(0, 2000));
    write_text(*this / "b", text.substr(2000));
    std::string changed = text;
    changed[5] ^= 1;
    write_text(*this / "changed", changed), write_text(*this / "longer", text + "x");
    for (const char* data : {"--data data --out one", "--data a --data b --out two"})
      REQUIRE(run(path(), split_words(std::string(kTrain) + data)).code == 0);
  }

  Said eval(const std::string& words) const {
    const Outcome outcome = run(path(), split_words("eval --threads 1 --model " + words));
    INFO(words << ": " << outcome.err);
    REQUIRE(outcome.code == 0);
    std::smatch text, loss;
    REQUIRE(std::regex_search(outcome.out, text, std::regex("text +(.*)\n")));
    REQUIRE(std::regex_search(outcome.out, loss, std::regex("loss +([0-9.]+) nats .* over ([0-9,]+) bytes")));
    return {text[1], std::stod(loss[1]), loss[2]};
  }
};

}  // namespace

TEST_CASE("eval reads only what the model was not trained on", "[program][eval]") {
  const Workplace place;
  struct Case {
    std::string words, text, bytes;
    std::vector<std::string> files;
    double held_out;
    std::int64_t window;
  };
  const Case cases[] = {
      {"one", "the last 600 of 3,000 bytes, in windows of 16", "599", {"data"}, 0.2, 16},
      {"one --data data", "the last 600 of 3,000 bytes, in windows of 16", "599", {"data"}, 0.2, 16},
      {"one --data a --data b", "the last 600 of 3,000 bytes, in windows of 16", "599", {"data"}, 0.2, 16},
      {"two", "the last 600 of 3,000 bytes, in windows of 16", "599", {"data"}, 0.2, 16},
      {"two --data a --data b", "the last 600 of 3,000 bytes, in windows of 16", "599", {"data"}, 0.2, 16},
      {"one --window 7 --batch 3", "the last 600 of 3,000 bytes, in windows of 7", "599", {"data"}, 0.2, 7},
      {"one --held-out 0.5", "the last 1,500 of 3,000 bytes, in windows of 16", "1,499", {"data"}, 0.5, 16},
      {"one --data data --held-out 0.5",
       "the last 1,500 of 3,000 bytes, in windows of 16",
       "1,499",
       {"data"},
       0.5,
       16},
      {"one --data data --held-out 1", "all 3,000 bytes, in windows of 16", "2,999", {"data"}, 1, 16},
      {"one --data changed", "all 3,000 bytes, in windows of 16", "2,999", {"changed"}, 1, 16},
      {"one --data changed --held-out 0.1",
       "the last 300 of 3,000 bytes, in windows of 16",
       "299",
       {"changed"},
       0.1,
       16},
      {"one --data longer", "all 3,001 bytes, in windows of 16", "3,000", {"longer"}, 1, 16},
      {"one --data b --data a", "all 3,000 bytes, in windows of 16", "2,999", {"b", "a"}, 1, 16},
      {"two --data a", "all 2,000 bytes, in windows of 16", "1,999", {"a"}, 1, 16},
  };
  for (const Case& c : cases) {
    CAPTURE(c.words);
    const Said said = place.eval(c.words);
    CHECK(said.text == c.text);
    CHECK(said.bytes == c.bytes);
    std::vector<std::string> files;
    for (const std::string& file : c.files) files.push_back(place / file);
    const std::string run = place / c.words.substr(0, 3);
    const RetNet model = load_model(model_folder(run));
    const Evaluation expected = evaluate(model, Dataset(files, c.held_out), c.window, 16, {});
    CHECK(std::abs(said.nats - expected.nats) <= 0.51e-4);  // four digits are shown
  }
}

TEST_CASE("eval runs in the form that it was asked for", "[program][eval]") {
  // Logits so large that the rounding of each form shows in the digits that are printed.
  const TemporaryFolder folder;
  write_text(folder / "data", sample_text(500));
  Config config;
  config.d_model = config.key_width = 8, config.value_width = config.ffn_width = 16;
  config.layers = 1, config.heads = 2, config.chunk = 4;
  RetNet model(config);
  for (Parameter& p : model.parameters())
    if (p.name == "head.weight") p.variable.set_value(mul(p.variable.value(), 1e5));
  save_model(folder.path(), model);
  const Dataset data({folder / "data"}, 1);
  std::set<std::string> printed;
  for (const auto& [flags, form] : {std::pair("--form parallel", FormOptions{Form::parallel}),
                                    {"--form recurrent", FormOptions{Form::recurrent}},
                                    {"--form chunkwise", FormOptions{Form::chunkwise}},
                                    {"--reference true", FormOptions{Form::chunkwise, 0, true}}}) {
    const std::string words = "eval --model . --data data --window 16 --threads 1 ";
    const Outcome outcome = run(folder.path(), split_words(words + flags));
    INFO(flags << ": " << outcome.err);
    REQUIRE(outcome.code == 0);
    std::smatch loss;
    REQUIRE(std::regex_search(outcome.out, loss, std::regex("loss +([0-9.]+) nats")));
    CHECK(std::abs(std::stod(loss[1]) - evaluate(model, data, 16, 16, form).nats) <= 0.51e-4);
    printed.insert(loss[1]);
  }
  CHECK(printed.size() == 4);
}

}  // namespace retnet::test
