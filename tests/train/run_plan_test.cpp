// What a command line means: the same run with --resume as without, whatever the flags.

#include "train/run_plan.h"

#include <random>

#include "tests/support/test.h"
#include "tests/train/tiny_run.h"
#include "train/presets.h"

namespace retnet {
namespace {

using test::error_message;
using test::TemporaryFolder;
using test::write_text;

/// Flags, each with values of which any goes with any of the others.
struct Choice {
  const char* key;
  std::vector<const char*> values;
};
const std::vector<Choice> kModel{{"d_model", {"16", "32", "48"}},
                                 {"layers", {"1", "2", "5"}},
                                 {"heads", {"1", "2", "4"}},
                                 {"key_width", {"16", "64"}},
                                 {"value_width", {"16", "96"}},
                                 {"ffn_width", {"8", "40"}},
                                 {"chunk", {"8", "16"}},
                                 {"rotation", {"rope", "none"}},
                                 {"gamma", {"arange", "log_linspace"}},
                                 {"score_norm", {"none", "paper"}},
                                 {"embed_scale", {"4", "0.3"}},
                                 {"tie_head", {"true", "false"}}};
const std::vector<Choice> kTraining{
    {"steps", {"7", "250", "3000"}},    {"batch", {"1", "5", "64"}}, {"window", {"16", "300"}},
    {"micro_batch", {"1", "3"}},        {"seed", {"2", "77"}},       {"form", {"parallel", "recurrent"}},
    {"learning_rate", {"0.1", "1e-4"}}, {"warmup", {"0", "5"}},      {"beta2", {"0.9", "0.999"}},
    {"dropout", {"0.1", "0.25"}},       {"held_out", {"0", "0.3"}},  {"eval_every", {"0", "3"}},
    {"save_every", {"2", "10"}}};

using Bits = std::mt19937;

/// A random part of the flags, with one value for each.
std::vector<Override> some(const std::vector<Choice>& choices, Bits& bits) {
  std::vector<Override> flags;
  for (const Choice& choice : choices)
    if (bits() % 3 == 0) flags.push_back({choice.key, choice.values[bits() % choice.values.size()]});
  std::shuffle(flags.begin(), flags.end(), bits);
  return flags;
}

/// A random command; some of its flags are in a file instead.
RunRequest random_request(const TemporaryFolder& folder, Bits& bits) {
  RunRequest request;
  if (bits() % 2 == 0) request.preset = preset_names()[bits() % 3];
  request.config = some(kModel, bits), request.settings = some(kTraining, bits);
  request.out = folder / "run";
  if (bits() % 2 == 0) request.data = {"a.txt"};
  if (bits() % 2 == 0) {
    Config config;
    TrainSettings settings;
    Json of_model = Json::object(), of_training = Json::object();
    for (const Override& given : some(kModel, bits)) {
      set_field(config, given.key, given.text);
      of_model.set(given.key, to_json(config).at(given.key));
    }
    for (const Override& given : some(kTraining, bits)) {
      set_field(settings, given.key, given.text);
      of_training.set(given.key, fields_to_json(settings).at(given.key));
    }
    Json file = Json::object({{"config", of_model}, {"settings", of_training}});
    if (bits() % 2 == 0) {  // side by side
      file = of_model;
      for (const Json::Member& member : of_training.items()) file.set(member.key, member.value);
    }
    request.config_file = folder / "config.json";
    write_text(request.config_file, file.dump());
  }
  return request;
}

BegunRun begun(const Run& run, std::int64_t step) {
  return {run.out, run.config, TrainerState{run.settings, step, run.data, 1, 2, {}, run.init_from}};
}

/// Everything about a run that decides a weight or a file.
/// @param own  data of the run that goes on: none in `run` stands for these
std::string text(const Run& run, const std::vector<std::string>& own = {}) {
  const std::vector<std::string>& data = run.data.empty() ? own : run.data;
  return to_json(run.config).dump() + fields_to_json(run.settings).dump() + data_to_json(data).dump() +
         run.out;
}

TEST_CASE("a command with --resume means the run that it began", "[train][plan][resume]") {
  const TemporaryFolder folder;
  Bits bits(11);
  int checked = 0;
  for (int i = 0; i < 400; ++i) {
    const RunRequest request = random_request(folder, bits);
    Run run;
    try {
      run = plan_run(request, std::nullopt);
    } catch (const Error&) {
      continue;  // such a command is not accepted at all
    }
    ++checked;
    RunRequest again = request;
    again.resume = true;
    for (const std::int64_t step : {0, 3})
      CHECK(text(plan_run(again, begun(run, step)), run.data) == text(run));
    CHECK(text(plan_run(again, std::nullopt)) == text(run));  // where there is none, it is begun

    // Nothing given: all of it is the run's own. A part of the flags without the preset: the same.
    RunRequest part;
    part.out = request.out, part.resume = true;
    CHECK(text(plan_run(part, begun(run, 3)), run.data) == text(run));
    for (const Override& flag : request.config)
      if (bits() % 2 == 0) part.config.push_back(flag);
    for (const Override& flag : request.settings)
      if (bits() % 2 == 0) part.settings.push_back(flag);
    CHECK(text(plan_run(part, begun(run, 3)), run.data) == text(run));
  }
  CHECK(checked > 150);
}

TEST_CASE("a command with another value than the run's is refused, or extends it", "[train][plan][resume]") {
  const TemporaryFolder folder;
  Bits bits(12);
  RunRequest first;
  first.out = folder / "run";
  first.config = {{"d_model", "24"}, {"heads", "3"}};
  const Run run = plan_run(first, std::nullopt);
  CHECK(run.config.key_width == 24);
  CHECK(run.config.value_width == 48);
  const auto with = [&](const Choice& choice, const char* value, bool model, bool extend) {
    RunRequest request = first;
    request.resume = !extend, request.extend = extend;
    for (auto* flags : {&request.config, &request.settings})
      std::erase_if(*flags, [&](const Override& flag) { return flag.key == std::string(choice.key); });
    (model ? request.config : request.settings).push_back({choice.key, value});
    return request;
  };
  for (const Choice& choice : kModel)
    for (const char* value : choice.values) {
      Config changed = run.config;
      set_field(changed, choice.key, value);
      if (to_json(changed) == to_json(run.config)) continue;
      for (const bool extend : {false, true}) {
        const std::string problem =
            error_message([&] { plan_run(with(choice, value, true, extend), begun(run, 3)); });
        CAPTURE(choice.key, value, problem);
        CHECK(problem.starts_with(run.out + ": the model has " + choice.key + " "));
      }
    }
  for (const Choice& choice : kTraining)
    for (const char* value : choice.values) {
      Run changed = run;
      set_field(changed.settings, choice.key, value);
      const std::string problem =
          error_message([&] { plan_run(with(choice, value, false, false), begun(run, 3)); });
      CAPTURE(choice.key, value, problem);
      const bool free = std::string(choice.key) == "save_every" || std::string(choice.key) == "eval_every";
      const bool seed = std::string(choice.key) == "seed";
      if (!free) CHECK(problem.starts_with(run.out + ": the run has " + choice.key + " "));
      CHECK((problem.find("--extend") != std::string::npos) == (!free && !seed));
      const RunRequest extended = with(choice, value, false, true);
      if (seed)
        CHECK_FALSE(error_message([&] { plan_run(extended, begun(run, 3)); }) == "no error");
      else  // that one changes, and what would follow it in a new run does not
        CHECK(text(plan_run(extended, begun(run, 3)), run.data) == text(changed));
    }
}

TEST_CASE("a preset gives every field of the model, and none of the training", "[train][plan][resume]") {
  const TemporaryFolder folder;
  RunRequest request;
  request.out = folder / "run", request.preset = "tiny", request.config = {{"d_model", "64"}};
  request.settings = {{"steps", "20"}};
  const Run run = plan_run(request, std::nullopt);
  RunRequest again;
  again.out = request.out, again.resume = true, again.preset = "tiny";
  CHECK(error_message([&] { plan_run(again, begun(run, 3)); }) ==
        run.out +
            ": the model has d_model 64, got 128; leave it as it was, or begin a run of another model in "
            "another folder");
  again.config = request.config;
  CHECK(text(plan_run(again, begun(run, 3)), run.data) == text(run));
  again.preset = "small";
  CHECK(error_message([&] { plan_run(again, begun(run, 3)); }).find("layers") != std::string::npos);
}

TEST_CASE("a run of which no step is saved gives way to another command", "[train][plan][resume]") {
  const TemporaryFolder folder;
  RunRequest failed, corrected;
  failed.out = corrected.out = folder / "run";
  failed.config = {{"d_model", "4096"}}, corrected.config = {{"d_model", "64"}};
  corrected.resume = true;
  const Run run = plan_run(corrected, begun(plan_run(failed, std::nullopt), 0));
  CHECK(run.config.key_width == 64);  // nothing of it is left
  CHECK(text(run) == text(plan_run(corrected, std::nullopt)));
}

TEST_CASE("weights to begin from bring their model, and a run knows from which it was begun",
          "[train][plan][init]") {
  const TemporaryFolder folder;
  Run source = test::tiny_run(folder, "source", 1), other = test::tiny_run(folder, "other", 1);
  other.settings.seed = 2;
  test::train_to_end(source), test::train_to_end(other);
  RunRequest request;
  request.out = folder / "run", request.init_from = source.out, request.settings = {{"steps", "7"}};
  const Run run = plan_run(request, std::nullopt);
  CHECK(to_json(run.config) == to_json(source.config));
  CHECK(run.settings.steps == 7);
  CHECK(run.settings.batch == preset_settings("tiny").batch);  // the training is that of a new run
  CHECK(run.init_from->folder == checkpoint_folder(source.out, 1));
  request.config = {{"layers", "2"}};
  CHECK(text(plan_run(request, std::nullopt)) == text(run));
  request.config = {{"layers", "3"}};
  CHECK(error_message([&] {
          plan_run(request, std::nullopt);
        }).starts_with(source.out + ": the model has layers 2, got 3"));

  request.config.clear(), request.resume = true;
  const auto resumed = [&](const std::string& from, const BegunRun& before) {
    request.init_from = from;
    return error_message([&] { plan_run(request, before); });
  };
  CHECK(resumed(source.out, begun(run, 3)) == "no error");
  CHECK(resumed("", begun(run, 3)) == "no error");
  const Run again = plan_run(request, begun(run, 3));
  CHECK(text(again, run.data) == text(run));
  CHECK(again.init_from->path == source.out);
  CHECK(resumed(other.out, begun(run, 3))
            .starts_with(run.out + ": the run was begun from the weights in " + source.out + ", got"));
  Run drawn = run;
  drawn.init_from.reset();
  CHECK(resumed("", begun(drawn, 3)) == "no error");
  CHECK(resumed(source.out, begun(drawn, 3))
            .starts_with(run.out + ": the run was begun from weights that were drawn, got"));
}

TEST_CASE("a file of settings: under the flags, over the preset, and never guessed at", "[train][plan]") {
  const TemporaryFolder folder;
  RunRequest request;
  request.preset = "small", request.config_file = folder / "config.json";
  const auto with = [&](const char* json) {
    write_text(request.config_file, json);
    return plan_run(request, std::nullopt);
  };
  const auto problem = [&](const char* json) { return error_message([&] { with(json); }); };
  request.settings = {{"batch", "3"}}, request.config = {{"layers", "4"}};
  for (const char* json : {R"({"layers": 2, "heads": 2, "batch": 9, "steps": 77})",
                           R"({"config": {"layers": 2, "heads": 2}, "settings": {"batch": 9, "steps": 77}})",
                           R"({"settings": {"batch": 9, "steps": 77}, "layers": 2, "heads": 2})"}) {
    const Run run = with(json);
    CHECK(run.config.layers == 4);
    CHECK(run.config.heads == 2);
    CHECK(run.config.d_model == 256);
    CHECK(run.settings.batch == 3);
    CHECK(run.settings.steps == 77);
    CHECK(run.settings.window == 512);
    CHECK(run.settings.warmup == usual_warmup(preset_settings("small"), 77));
  }
  const std::string file = request.config_file;
  CHECK(problem(R"({"learning_rat": 1})") ==
        file + ": unknown field \"learning_rat\"; did you mean learning_rate?");
  CHECK(problem(R"({"settings": {"layer": 1}})") == file + ": unknown field \"layer\"; did you mean layers?");
  CHECK(problem(R"({"steps": 5, "settings": {"steps": 5}})") == file + ": \"steps\" is given twice");
  CHECK(problem(R"({"steps": 5.5})").starts_with(file + ": steps: required an integer"));
  CHECK(problem(R"({"config": 5})") == file + ": unknown field \"config\"");
  CHECK(problem(R"({"settings": {"config": {}}})") == file + ": unknown field \"config\"");

  // One name means one thing.
  Config config;
  TrainSettings settings;
  for (const std::string& name : field_names(config))
    for (const std::string& other : field_names(settings)) CHECK(name != other);
}

}  // namespace
}  // namespace retnet
