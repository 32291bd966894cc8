// Every flag of `retnet train` that names a field sets this field, and no other one but those that follow it;
// the others change no weight.

#include <algorithm>
#include <map>

#include "retnet/config.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/commands.h"
#include "train/settings.h"

namespace retnet::test {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Row {
  const char* key;
  const char* value;
  Fields following = {};  ///< other fields that nobody gave, and what they become
};

// Over the flags of base_flags(). Of what follows, each rule is in the manual: a shorter run has a shorter
// warm-up, as many windows a pass as have 512 tokens, and widths as those of the paper's block.
const Row kRows[] = {
    {"steps", "5", {{"warmup", "3"}}},
    {"batch", "16", {{"micro_batch", "4"}}},
    {"window", "300", {{"micro_batch", "1"}}},
    {"micro_batch", "3"},
    {"accumulate", "2"},
    {"seed", "8"},
    {"form", "parallel"},
    {"reference", "true"},
    {"learning_rate", "0.01"},
    {"decay", "constant"},
    {"warmup", "2"},
    {"final_lr", "0.5"},
    {"beta1", "0.5"},
    {"beta2", "0.75"},
    {"weight_decay", "0.25"},
    {"clip", "0.125"},
    {"dropout", "0.25"},
    {"recompute", "true"},
    {"held_out", "0.25"},
    {"eval_every", "1"},
    {"eval_windows", "3"},
    {"save_every", "1"},
    {"vocab", "256"},  // tokens are bytes, so there is no other value
    {"d_model", "12", {{"key_width", "12"}, {"value_width", "24"}, {"ffn_width", "24"}}},
    {"layers", "2"},
    {"heads", "4"},
    {"key_width", "16"},
    {"value_width", "12"},
    {"ffn_width", "12"},
    {"chunk", "4"},
    {"rotation", "rope"},
    {"gamma", "log_linspace"},
    {"gammas", "0.5,1"},
    {"score_norm", "none"},
    {"score_norm_gradient", "false"},
    {"head_norm", "rms"},
    {"head_norm_eps", "0.125"},
    {"head_affine", "shared"},
    {"gate", "gelu"},
    {"block_norm", "rms"},
    {"block_norm_eps", "0.125"},
    {"ffn", "glu"},
    {"ffn_activation", "relu"},
    {"embed_scale", "2.5"},
    {"tie_head", "true"},
};

std::map<std::string, std::string> base_flags() {
  return {{"d_model", "8"}, {"layers", "1"}, {"heads", "2"},  {"chunk", "8"},
          {"steps", "2"},   {"batch", "8"},  {"window", "16"}};
}

struct Workplace : TemporaryFolder {
  Workplace() { write_text(*this / "data.txt", sample_text(4000)); }

  /// Trains with the flags into a folder of the given name.
  void train(const std::string& out, const std::map<std::string, std::string>& flags,
             const std::string& more = "--threads 1 --quiet") const {
    std::string words = "train --data data.txt --out " + out + " " + more;
    for (const auto& [key, value] : flags) words += " " + flag_name(key) + " " + value;
    const Outcome outcome = run(path(), split_words(words));
    INFO(words << ": " << outcome.err);
    REQUIRE(outcome.code == 0);
  }
  /// What a run says of itself: its settings and its config.
  std::pair<TrainSettings, Config> fields(const std::string& out) const {
    TrainSettings settings;
    const std::string file = contents(*this / (out + "/trainer.json"));
    fields_from_json(settings, Json::parse(file, "trainer.json").at("settings"), "trainer.json");
    return {settings, config_from_json(Json::parse(contents(*this / (out + "/config.json")), "config.json"),
                                       "config.json")};
  }
  std::string weights(const std::string& out) const {
    return contents(*this / (out + "/step-000002/model.safetensors"));
  }
};

/// Sets a field of whichever struct has it. False where neither has.
bool set_either(TrainSettings& settings, Config& config, const std::string& key, const std::string& value) {
  const std::vector<std::string> names = field_names(settings), choices = field_names(config);
  const bool setting = std::find(names.begin(), names.end(), key) != names.end();
  const bool choice = std::find(choices.begin(), choices.end(), key) != choices.end();
  if (setting) set_field(settings, key, value);
  if (choice) set_field(config, key, value);
  return setting || choice;
}

}  // namespace

TEST_CASE("every flag of training sets its own field, and those that follow it", "[program][flags]") {
  const Workplace place;
  place.train("base", base_flags());
  const auto [settings, config] = place.fields("base");
  std::vector<std::string> keys = field_names(settings);
  for (const std::string& key : field_names(config)) keys.push_back(key);
  for (const std::string& key : keys) {
    CAPTURE(key);
    const Row* row =
        std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.key == key; });
    if (row == std::end(kRows)) {
      FAIL_CHECK("this field has no row in the table of flags");
      continue;
    }
    auto flags = base_flags();
    flags[key] = row->value;
    place.train(key, flags);
    TrainSettings expected_settings = settings;
    Config expected_config = config;
    CHECK(set_either(expected_settings, expected_config, key, row->value));
    for (const auto& [other, value] : row->following)
      CHECK(set_either(expected_settings, expected_config, other, value));
    const auto [is_settings, is_config] = place.fields(key);
    CHECK(fields_to_json(is_settings).dump() == fields_to_json(expected_settings).dump());
    CHECK(fields_to_json(is_config).dump() == fields_to_json(expected_config).dump());
  }
}

TEST_CASE("flags about the machine and the screen change no weight", "[program][flags]") {
  const Workplace place;
  place.train("base", base_flags());
  const std::pair<const char*, const char*> cases[] = {{"loud", "--threads 1"},
                                                       {"threads", "--threads 3 --quiet"},
                                                       {"graphs", "--threads 1 --quiet --graphs off"},
                                                       {"device", "--threads 1 --quiet --device cpu"},
                                                       {"preset", "--threads 1 --quiet --preset tiny"}};
  for (const auto& [out, flags] : cases) {
    CAPTURE(flags);
    place.train(out, base_flags(), flags);
    CHECK((place.weights(out) == place.weights("base")));
    CHECK(contents(place / (std::string(out) + "/trainer.json")) == contents(place / "base/trainer.json"));
  }
}

}  // namespace retnet::test
