// A run's folder: what is removed and what is not, how a run is begun anew, extended, and begun from weights.

#include "train/run_begin.h"

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <thread>

#include "tests/support/test.h"
#include "tests/support/threads.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using test::problem;
using test::TemporaryFolder;
using test::train_to_end;
using test::write_text;

/// Every file below a folder but the lock, with what it holds.
std::map<std::string, std::string> snapshot(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().filename() != ".lock")
      files[entry.path().lexically_relative(folder).string()] = read_file(entry.path().string());
  return files;
}

/// Files of a user, in every place and with every name that comes near to one of ours.
std::vector<std::string> write_notes(const std::string& out) {
  const std::vector<std::string> names{"notes.tmp.txt",
                                       "notes.txt.tmp.17.0",
                                       "loss.svg.tmp.17",
                                       "loss.svg.tmp.17.0.1",
                                       "loss.svg.tmp.a.0",
                                       "config.json.tmp.",
                                       "step-5.tmp.17/config.json",
                                       "step-000003.tmp.x/config.json",
                                       "step-000003.tmp.17.older/config.json",
                                       "step-000003.tmp.17/notes.txt",
                                       "step-000003.tmp.18/weights/model.safetensors",
                                       "step-000004/notes.txt",
                                       "step-000004/model.safetensors.tmp.txt",
                                       "step-000012/notes.txt",
                                       "other/step-000004/config.json"};
  for (const std::string& name : names) {
    fs::create_directories(fs::path(out + "/" + name).parent_path());
    write_text(out + "/" + name, "note " + name);
  }
  return names;
}

TEST_CASE("nothing is removed that the program did not write", "[train][folder]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 12);
  const std::vector<std::string> notes = write_notes(run.out);
  write_text(folder / "precious.txt", "precious");
  fs::create_directory(folder / "elsewhere");
  write_text(folder / "elsewhere/config.json", "elsewhere");
  fs::create_symlink(folder / "precious.txt", run.out + "/loss.svg.tmp.17.2");
  fs::create_directory_symlink(folder / "elsewhere", run.out + "/step-000003.tmp.21");
  // What a crash leaves.
  write_text(run.out + "/loss.svg.tmp.17.0", "<svg");
  write_text(run.out + "/step-000003.tmp.17/config.json", "{}");
  write_text(run.out + "/step-000003.tmp.17/model.safetensors.tmp.17.1", "");
  fs::create_directory(run.out + "/step-000006.tmp.19.old");
  write_text(run.out + "/step-000006.tmp.19.old/trainer.json", "{}");
  write_text(run.out + "/step-000006.tmp.19.old/diary.txt", "back to its place");

  // Refused, because somebody's curve is in the way: then not even leftovers are touched.
  write_text(run.out + "/loss.svg", "mine");
  const auto before = snapshot(folder.path());
  CHECK(problem(run).find("loss.svg") != std::string::npos);
  CHECK(snapshot(folder.path()) == before);
  fs::remove(run.out + "/loss.svg");

  const auto check_notes = [&] {
    for (const std::string& name : notes) {
      CAPTURE(name);
      CHECK(read_file(run.out + "/" + name) == "note " + name);
    }
    CHECK(read_file(run.out + "/step-000006/diary.txt") == "back to its place");
    CHECK(read_file(folder / "precious.txt") == "precious");
    CHECK(read_file(folder / "elsewhere/config.json") == "elsewhere");
    CHECK(fs::is_symlink(run.out + "/loss.svg.tmp.17.2"));
    CHECK(fs::is_symlink(run.out + "/step-000003.tmp.21"));
  };
  REQUIRE(problem(run) == "no error");
  check_notes();
  for (const char* gone : {"loss.svg.tmp.17.0", "step-000003.tmp.17/config.json",
                           "step-000003.tmp.17/model.safetensors.tmp.17.1", "step-000006.tmp.19.old"})
    CHECK_FALSE(fs::exists(run.out + "/" + gone));
  // The notes of step 4 stay when its checkpoint goes, and are no checkpoint that does not load.
  CHECK(checkpoint_steps(run.out) == std::vector<std::int64_t>{12, 8});
  CHECK_FALSE(fs::exists(run.out + "/step-000004/model.safetensors"));
  CHECK(newest_checkpoint(run.out) == checkpoint_folder(run.out, 12));

  // Not when a later course is given up, nor when the run is begun anew.
  fs::remove(run.out + "/step-000012/trainer.json");
  run.resume = true, run.settings.save_every = 5;
  CHECK(problem(run) == "no error");
  CHECK(checkpoint_steps(run.out) == std::vector<std::int64_t>{12, 10});
  check_notes();
  run.resume = false, run.overwrite = true;
  CHECK(problem(run) == "no error");
  check_notes();
}

TEST_CASE("a run of which no step is saved may be begun anew", "[train][folder]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4), fresh = test::tiny_run(folder, "fresh", 4);
  train_to_end(fresh);
  for (const bool resume : {false, true}) {
    // Interrupted before the first step, and with the log of one that had got further.
    Run failed = run;
    failed.config.layers = 3, failed.settings.learning_rate = 0.5;
    const std::atomic<bool> stop{true};
    failed.overwrite = true;
    CHECK(train(failed, stop).interrupted);
    write_text(run.out + "/log.jsonl", read_file(fresh.out + "/log.jsonl"));
    run.resume = resume;
    REQUIRE(problem(run) == "no error");
    CHECK(test::checkpoint_bytes(run.out, 4) == test::checkpoint_bytes(fresh.out, 4));
    CHECK(test::log_without_times(run.out) == test::log_without_times(fresh.out));
  }
  // As a crash leaves it between the first two files that a run writes: the folder is ours already.
  Run torn = test::tiny_run(folder, "torn", 4);
  fs::create_directory(torn.out);
  fs::copy(fresh.out + "/trainer.json", torn.out + "/trainer.json");
  CHECK(problem(torn) == "no error");
}

TEST_CASE("overwriting begins as in an empty folder", "[train][folder]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4), other = test::tiny_run(folder, "run", 8);
  other.settings.seed = 5;
  train_to_end(other);
  run.overwrite = true;
  // Ended before its first step, so that nothing is left to go on with but the new one.
  const std::atomic<bool> stop{true};
  CHECK(train(run, stop).interrupted);
  CHECK(checkpoint_steps(run.out).empty());
  CHECK(begun_run(run.out)->state.step == 0);
  REQUIRE(problem(run) == "no error");
  Run fresh = test::tiny_run(folder, "fresh", 4);
  train_to_end(fresh);
  CHECK(checkpoint_steps(run.out) == std::vector<std::int64_t>{4});
  CHECK(test::checkpoint_bytes(run.out, 4) == test::checkpoint_bytes(fresh.out, 4));
  CHECK(test::log_without_times(run.out) == test::log_without_times(fresh.out));

  // Not what the new run would begin from.
  const auto before = snapshot(run.out);
  run.data = {run.out + "/log.jsonl"};
  CHECK(problem(run).starts_with(run.out + "/log.jsonl: is a file of the run"));
  run.data = fresh.data, run.init_from = initial_weights(run.out);
  CHECK(problem(run).find("choose another folder") != std::string::npos);
  run.init_from.reset(), run.out = checkpoint_folder(run.out, 4);
  CHECK(problem(run).starts_with(run.out + ": the folder holds a model"));
  CHECK(snapshot(fresh.out.substr(0, fresh.out.size() - 5) + "run") == before);
}

TEST_CASE("a changed plan is recorded, holds from there on, and survives", "[train][folder][resume]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 5), longer = test::tiny_run(folder, "longer", 8);
  run.settings.decay = longer.settings.decay = Decay::constant;
  train_to_end(run), train_to_end(longer);
  Run more = run;
  more.resume = true, more.settings.steps = 8;
  CHECK(problem(more) == run.out +
                             ": the run has steps 5, got 8; leave it as it was, change it from step 5 "
                             "on with --extend, or begin a run in another folder");
  more.extend = true;
  // Interrupted at once: the plan is that of the run all the same.
  const std::atomic<bool> stop{true};
  CHECK(train(more, stop).interrupted);
  const Json steps = Json::object({{"steps", Json::array({5, 8})}});
  TrainerState state = load_trainer_state(checkpoint_folder(run.out, 5));
  REQUIRE(state.changes.size() == 1);
  CHECK(state.changes[0].step == 5);
  CHECK(state.changes[0].changed == steps);
  CHECK(state.settings.steps == 8);

  more.extend = false;
  CHECK(problem(more) == "no error");
  CHECK(test::checkpoint_bytes(run.out, 8) == test::checkpoint_bytes(longer.out, 8));
  LogRecords log = read_log(run.out + "/log.jsonl");
  REQUIRE(log.changes.size() == 1);
  CHECK(log.changes[0].step == 5);
  CHECK(log.changes[0].changed == steps);
  CHECK(log.steps.size() == 8);

  // Other data, and another learning rate: of both the values before and after.
  Run other = more;
  write_text(folder / "other.txt", test::sample_text() + "and more");
  other.data = {folder / "other.txt"}, other.settings.steps = 9, other.settings.learning_rate = 0.5;
  CHECK_FALSE(problem(other) == "no error");
  other.extend = true;
  CHECK(problem(other) == "no error");
  state = load_trainer_state(checkpoint_folder(run.out, 9));
  REQUIRE(state.changes.size() == 2);
  CHECK(state.changes[1].step == 8);
  const auto size = static_cast<std::int64_t>(test::sample_text().size());
  CHECK(state.changes[1].changed.at("data_size") == Json::array({size, size + 8}));
  CHECK(state.changes[1].changed.at("learning_rate") == Json::array({0.003, 0.5}));
  CHECK(state.changes[1].changed.at("steps") == Json::array({8, 9}));
  log = read_log(run.out + "/log.jsonl");
  REQUIRE(log.changes.size() == 2);
  CHECK(log.changes[1].changed == state.changes[1].changed);
  CHECK(log.steps.back().learning_rate == 0.5);

  other.settings.seed = 3;
  CHECK(problem(other).starts_with(run.out + ": the run has seed 1, got 3"));
}

TEST_CASE("a run begins from the weights of another one", "[train][folder][init]") {
  const test::Threads one(1);
  const TemporaryFolder folder;
  const Run source = test::tiny_run(folder, "source", 8);
  train_to_end(source);
  Run run = test::tiny_run(folder, "run", 6);
  write_text(folder / "other.txt", test::sample_text().substr(700));
  run.data = {folder / "other.txt"}, run.settings.dropout = 0, run.settings.accumulate = 1;
  run.init_from = initial_weights(source.out);
  CHECK(run.init_from->folder == checkpoint_folder(source.out, 8));
  Run whole = run;
  whole.out = folder / "whole";
  train_to_end(whole);

  // The first loss is that of the weights, on the first batch of the new data.
  const Dataset data(run.data, run.settings.held_out);
  const Batch batch = data.train_batch(2, 10, 1, 1, 0);
  const RetNet model = load_model(checkpoint_folder(source.out, 8)), drawn(run.config, 1);
  const double loss = model.loss(batch.tokens, batch.targets).value().item();
  CHECK(read_log(whole.out + "/log.jsonl").steps[0].loss == loss);
  CHECK_FALSE(drawn.loss(batch.tokens, batch.targets).value().item() == loss);

  // Moments and step are new: the run is the same from a folder that has none.
  Run bare = run;
  bare.out = folder / "from bare weights";
  fs::create_directory(folder / "bare");
  for (const char* file : {"/config.json", "/model.safetensors"})
    fs::copy(checkpoint_folder(source.out, 8) + file, (folder / "bare") + file);
  bare.init_from = initial_weights(folder / "bare");
  train_to_end(bare);
  CHECK((test::checkpoint_bytes(bare.out, 6) == test::checkpoint_bytes(whole.out, 6)));

  // Begun, stopped before the first step, and gone on with: also after the source has gone further.
  const std::atomic<bool> stop{true};
  CHECK(train(run, stop).interrupted);
  TrainerState state = load_trainer_state(run.out);
  REQUIRE(state.init_from);
  CHECK(state.step == 0);
  CHECK(state.init_from->path == source.out);
  run.resume = true;
  CHECK(problem(run) == "no error");
  CHECK(test::checkpoint_bytes(run.out, 6) == test::checkpoint_bytes(whole.out, 6));
  CHECK(load_trainer_state(checkpoint_folder(run.out, 6)).init_from->model_crc32 ==
        run.init_from->model_crc32);
  fs::remove_all(checkpoint_folder(run.out, 6));
  fs::remove_all(source.out);
  CHECK(problem(run) == "no error");
  CHECK(test::checkpoint_bytes(run.out, 6) == test::checkpoint_bytes(whole.out, 6));
}

TEST_CASE("weights that do not fit, or are others by now, are not begun from", "[train][folder][init]") {
  const TemporaryFolder folder;
  const Run source = test::tiny_run(folder, "source", 4), second = test::tiny_run(folder, "second", 3);
  train_to_end(source), train_to_end(second);
  Run run = test::tiny_run(folder, "run", 4);
  run.init_from = initial_weights(source.out);
  run.config.layers = 1;
  CHECK(problem(run).starts_with(checkpoint_folder(source.out, 4) + ": the model has layers 2, got 1"));
  run.config.layers = 2;
  fs::remove(checkpoint_folder(source.out, 4) + "/model.safetensors");
  fs::copy(checkpoint_folder(second.out, 3) + "/model.safetensors",
           checkpoint_folder(source.out, 4) + "/model.safetensors");
  CHECK(problem(run).find("its weights have changed") != std::string::npos);
  RetNet twice(run.config, 1, Dtype::f64);
  fs::create_directory(folder / "f64");
  save_model(folder / "f64", twice);
  run.init_from = initial_weights(folder / "f64");
  CHECK(problem(run) == folder / "f64" + ": its weights are f64, training is in f32");
  CHECK(checkpoint_steps(run.out).empty());
}

TEST_CASE("a run is read while it saves without pause", "[train][folder][checkpoint]") {
  const test::Threads one(1);
  const TemporaryFolder folder;
  const Run run = test::tiny_run(folder, "run", 1);
  train_to_end(run);
  std::atomic<bool> done{false};
  std::atomic<std::int64_t> saved{1};
  std::string trouble;
  std::thread writer([&] {
    RetNet model = load_model(checkpoint_folder(run.out, 1));
    Optimizer optimizer(model.parameters());
    TrainerState state = load_trainer_state(checkpoint_folder(run.out, 1));
    trouble = error_message([&] {
      while (!done && state.step < 100000) {
        ++state.step;
        save_checkpoint(run.out, model, optimizer, state);
        saved = state.step;
      }
    });
  });
  std::string read;
  for (int i = 0; i < 150; ++i) {
    read = error_message([&] {
      CHECK(load_trained(run.out).model.config().d_model == 8);
      CHECK(begun_run(run.out).has_value());
      CHECK(newest_checkpoint(run.out).has_value());
    });
    if (read != "no error") break;
  }
  done = true;
  writer.join();
  CHECK(read == "no error");
  CHECK(trouble == "no error");
  CHECK(saved > 10);
}

}  // namespace
}  // namespace retnet
