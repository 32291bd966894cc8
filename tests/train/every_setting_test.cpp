// Every setting of a run changes what it says, and nothing else: a table over all of them. A setting without
// a row fails; so does a row whose run is not that of the independent program with the same settings.

#include <algorithm>
#include <filesystem>
#include <set>

#include "tests/support/test.h"
#include "tests/train/reference_run.h"
#include "train/presets.h"
#include "tests/support/threads.h"

namespace retnet {
namespace {

struct Row {
  const char* key;
  const char* usual;        ///< the default, as in a file of settings
  const char* changed;      ///< another value than minute_settings() has
  const char* effects;      ///< of the change, as effects() tells them
  bool may_change = false;  ///< when a run is resumed
};

// The base run has 6 steps, the first two of which warm up, and evaluates and saves after every other one.
// AdamW's first step has the size of the learning rate whatever the gradient's scale and the betas are, so
// these show in the loss of step 3; a rate or a decay shows in that of the step after it.
const Row kRows[] = {
    {"steps", "1000", "7",
     "steps; learning rate from step 3; loss from step 4; gradient norm from step 4; evaluations; bytes "
     "evaluated "
     "from step 6; held-out loss from step 4; weights; files"},
    {"batch", "16", "4",
     "tokens; loss from step 1; gradient norm from step 1; held-out loss from step 2; weights"},
    {"window", "256", "6",
     "tokens; loss from step 1; gradient norm from step 1; bytes evaluated from step 2; held-out loss from "
     "step 2; "
     "weights"},
    {"micro_batch", "2", "3",  // other masks of dropout: they are drawn pass by pass
     "loss from step 1; gradient norm from step 1; held-out loss from step 2; weights"},
    {"accumulate", "1", "3",
     "tokens; loss from step 1; gradient norm from step 1; held-out loss from step 2; weights"},
    {"seed", "1", "705032711",  // it differs in its upper half alone
     "loss from step 1; gradient norm from step 1; held-out loss from step 2; weights"},
    {"form", "\"chunkwise\"", "recurrent", "rounding"},
    {"reference", "false", "true", "rounding"},
    {"learning_rate", "0.003", "0.02",
     "learning rate from step 1; loss from step 2; gradient norm from step 2; held-out loss from step 2; "
     "weights"},
    {"decay", "\"linear\"", "linear",
     "learning rate from step 3; loss from step 4; gradient norm from step 4; held-out loss from step 4; "
     "weights"},
    {"decay", "\"linear\"", "constant",
     "learning rate from step 3; loss from step 4; gradient norm from step 4; held-out loss from step 4; "
     "weights"},
    {"warmup", "600", "3",
     "learning rate from step 1; loss from step 2; gradient norm from step 2; held-out loss from step 2; "
     "weights"},
    {"final_lr", "0.1", "0.5",
     "learning rate from step 3; loss from step 4; gradient norm from step 4; held-out loss from step 4; "
     "weights"},
    {"beta1", "0.9", "0.5",
     "loss from step 3; gradient norm from step 3; held-out loss from step 2; weights"},
    {"beta2", "0.98", "0.7",
     "loss from step 3; gradient norm from step 3; held-out loss from step 2; weights"},
    {"weight_decay", "0.05", "0.1",
     "loss from step 2; gradient norm from step 2; held-out loss from step 2; weights"},
    {"clip", "2.0", "0",  // the norm is logged as it was before clipping
     "loss from step 3; gradient norm from step 3; held-out loss from step 2; weights"},
    {"dropout", "0.0", "0.4",
     "loss from step 1; gradient norm from step 1; held-out loss from step 2; weights"},
    {"recompute", "false", "true", "nothing", true},
    {"held_out", "0.1", "0.4",
     "loss from step 1; gradient norm from step 1; bytes evaluated from step 6; held-out loss from step 2; "
     "weights"},
    {"eval_every", "100", "4", "evaluations", true},
    {"eval_windows", "64", "5", "bytes evaluated from step 2; held-out loss from step 2", true},
    {"save_every", "500", "5", "files", true},
};

/// All that a run leaves and that a test can compare.
struct Traces {
  LogRecords log;
  test::ReferenceWeights weights;
  std::string bytes;  ///< weights, moments and log, to the bit
  std::set<std::string> files;
};

/// " from step N", the first one at which two lists of records differ; "" when none does.
template <class Record, class Value>
std::string from(const std::vector<Record>& a, const std::vector<Record>& b, double tolerance, Value value) {
  for (const Record& x : a)
    for (const Record& y : b)
      if (x.step == y.step && test::relative(value(x), value(y)) > tolerance)
        return " from step " + std::to_string(x.step);
  return "";
}

/// What differs between two runs by more than the rounding of f32.
std::string effects(const Traces& a, const Traces& b) {
  constexpr double kRounding = 1e-5;
  std::string text;
  const auto say = [&](bool differs, const std::string& what) {
    if (differs) text += (text.empty() ? "" : "; ") + what;
  };
  const auto say_from = [&](const char* what, const std::string& step) { say(!step.empty(), what + step); };
  const auto steps_of = [](const auto& records) {
    std::vector<std::int64_t> steps;
    for (const auto& record : records) steps.push_back(record.step);
    return steps;
  };
  const auto &s = a.log.steps, &t = b.log.steps;
  const auto &e = a.log.evaluations, &f = b.log.evaluations;
  const auto bytes = [](const LogEvaluation& x) { return static_cast<double>(x.held_out.bytes); };
  say(s.size() != t.size(), "steps");
  say(s[0].tokens != t[0].tokens, "tokens");
  say_from("learning rate", from(s, t, 1e-12, [](const LogStep& x) { return x.learning_rate; }));
  say_from("loss", from(s, t, kRounding, [](const LogStep& x) { return x.loss; }));
  say_from("gradient norm", from(s, t, 10 * kRounding, [](const LogStep& x) { return x.gradient_norm; }));
  say(steps_of(e) != steps_of(f), "evaluations");
  say_from("bytes evaluated", from(e, f, 0, bytes));
  say_from("held-out loss", from(e, f, kRounding, [](const LogEvaluation& x) { return x.held_out.nats; }));
  say(!test::weight_difference(b.weights, a.weights, 100 * kRounding).empty(), "weights");
  say(a.files != b.files, "files");
  if (text.empty() && a.bytes != b.bytes) return "rounding";
  return text.empty() ? "nothing" : text;
}

Run minute_run(const test::TemporaryFolder& folder, const std::string& name, const TrainSettings& settings) {
  Run run;
  run.config = test::minute_config(), run.settings = settings;
  run.config.vocab = 256;
  run.data = {folder / "data"}, run.out = folder / name, run.quiet = true;
  return run;
}

Traces traces(const Run& run) {
  const std::int64_t steps = test::train_to_end(run).step;
  Traces result{read_log(run.out + "/log.jsonl"),
                test::checkpoint_weights(run.out, steps),
                test::checkpoint_bytes(run.out, steps) + test::log_without_times(run.out),
                {}};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run.out))
    result.files.insert(std::filesystem::relative(entry.path(), run.out).string());
  return result;
}

/// The two newest of the checkpoints that a run makes.
std::vector<std::int64_t> expected_checkpoints(const TrainSettings& s) {
  return {s.steps, (s.steps - 1) / s.save_every * s.save_every};
}

/// "" or where a run, and the library's steps in f64 with the same settings, are not those of the independent
/// program.
std::string reference_difference(const Run& run, const Traces& is) {
  const std::string text = test::minute_text();
  const test::ReferenceRun expected = test::reference_run(run.config, run.settings, text);
  const Config small = test::minute_config();
  const test::ReferenceRun exact = test::reference_run(small, run.settings, text);
  const test::ReferenceRun steps = test::library_run(small, run.settings, run.data[0]);
  return test::log_difference(is.log, expected.log, 2e-6) +
         test::weight_difference(is.weights, expected.weights, 1e-4) +
         test::log_difference(steps.log, exact.log, 1e-12) +
         test::weight_difference(steps.weights, exact.weights, 1e-10);
}

TEST_CASE("every setting changes what it says, and nothing else", "[train][settings][reference]") {
  const test::Threads one(1);
  const test::TemporaryFolder folder;
  test::write_text(folder / "data", test::minute_text());
  Run again = minute_run(folder, "base", test::minute_settings());
  const Traces base = traces(again);
  again.resume = true;
  TrainSettings defaults;
  const Json usual = fields_to_json(defaults);
  std::set<std::string> keys;
  for (const Row& row : kRows) {
    CAPTURE(row.key, row.changed);
    keys.insert(row.key);
    CHECK(usual.at(row.key).dump() == row.usual);
    Run run = minute_run(folder, std::string(row.key) + row.changed, test::minute_settings());
    set_field(run.settings, row.key, row.changed);
    const Traces changed = traces(run);
    CHECK(effects(base, changed) == row.effects);
    CHECK(reference_difference(run, changed) == "");
    CHECK(checkpoint_steps(run.out) == expected_checkpoints(run.settings));
    again.settings = run.settings;
    const std::string resumed = test::error_message([&] { test::train_to_end(again); });
    CHECK((resumed == "no error") == row.may_change);
    if (!row.may_change) CHECK(resumed.find(std::string(" ") + row.key + " ") != resumed.npos);
  }
  for (const std::string& key : field_names(defaults)) {
    CAPTURE(key);
    CHECK(keys.count(key) == 1);  // else this setting needs a row in the table above
  }
}

TEST_CASE("where there is nothing to do with it, a setting does nothing", "[train][settings]") {
  const test::Threads one(1);
  const test::TemporaryFolder folder;
  test::write_text(folder / "data", test::minute_text());
  TrainSettings plain = test::minute_settings();
  plain.dropout = 0, plain.held_out = 0;
  const Traces base = traces(minute_run(folder, "base", plain));
  CHECK(base.log.evaluations.empty());
  const auto effects_of = [&](const char* key, const char* value) {
    TrainSettings settings = plain;
    set_field(settings, key, value);
    return effects(base, traces(minute_run(folder, std::string(key) + value, settings)));
  };
  CHECK(effects_of("micro_batch", "3") == "rounding");  // without dropout, passes are only a way to add
  CHECK(effects_of("micro_batch", "1") == "rounding");
  CHECK(effects_of("form", "parallel") == "rounding");
  CHECK(effects_of("reference", "true") == "rounding");
  CHECK(effects_of("eval_every", "1") == "nothing");
  CHECK(effects_of("eval_windows", "1") == "nothing");
}

/// Bytes that a step holds at most, beyond the model, in f32.
std::int64_t peak_memory(const TrainSettings& settings, const std::string& file) {
  Config config = test::minute_config();
  config.layers = 6;
  RetNet model(config);
  Optimizer optimizer(model.parameters());
  TrainingStep training(model, optimizer, settings, false);
  const Batch batch = Dataset({file}, 0).train_batch(settings.batch, settings.window, 1, 1, 0);
  training.run(1, {batch});
  reset_peak_memory();
  const std::int64_t before = memory_stats().live;
  training.run(2, {batch});
  return memory_stats().peak - before;
}

TEST_CASE("recompute and a small micro_batch take less memory", "[train][settings][memory]") {
  const test::Threads one(1);
  const test::TemporaryFolder folder;
  test::write_text(folder / "data", test::minute_text());
  TrainSettings settings;
  settings.batch = settings.micro_batch = 8, settings.window = 64;
  const std::int64_t usual = peak_memory(settings, folder / "data");
  settings.recompute = true;
  CHECK(peak_memory(settings, folder / "data") < usual / 2);
  settings.recompute = false, settings.micro_batch = 2;
  CHECK(peak_memory(settings, folder / "data") < usual / 2);
}

TEST_CASE("what a preset's settings are", "[train][settings]") {
  const auto changes = [](const char* name) {
    const TrainSettings usual, given = preset_settings(name);
    std::string text;
    const Json before = fields_to_json(usual), now = fields_to_json(given);
    for (const Json::Member& member : now.items())
      if (!(before.at(member.key) == member.value)) text += member.key + " " + member.value.dump() + "; ";
    return text;
  };
  CHECK(changes("tiny") == "");
  CHECK(changes("small") ==
        "steps 2000; batch 8; window 512; micro_batch 1; learning_rate 0.002; warmup 100; ");
  CHECK(changes("base") ==
        "steps 5000; batch 8; window 512; micro_batch 1; learning_rate 0.001; warmup 200; dropout 0.1; ");
}

}  // namespace
}  // namespace retnet
