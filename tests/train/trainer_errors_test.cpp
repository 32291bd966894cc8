// What a run refuses, and how it ends when it cannot go on.

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/test.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using test::problem;
using test::TemporaryFolder;
using test::train_to_end;
using test::write_text;

TEST_CASE("bad settings and data are refused before anything is written", "[train][trainer]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run");
  run.settings.batch = 0;
  CHECK(problem(run) == "settings: batch must be in 1 .. 1048576, got 0");
  run = test::tiny_run(folder, "run"), run.config.vocab = 255;
  CHECK(problem(run) == "train: tokens are bytes, so vocab must be at least 256, got 255");
  run = test::tiny_run(folder, "run"), run.config.heads = 3;
  CHECK(problem(run) == "config: heads must divide key_width, got 3 heads and key_width 8");
  run = test::tiny_run(folder, "run"), run.settings.window = 5000;
  CHECK(problem(run).starts_with("data: a window of 5000 needs 5001 bytes"));
  run = test::tiny_run(folder, "run"), run.data = {folder / "none"};
  CHECK(problem(run) == folder / "none" + ": cannot read: No such file or directory");
  CHECK_FALSE(fs::exists(run.out));
  run = test::tiny_run(folder, ""), run.out = "";
  CHECK(problem(run) == "train: needs a folder for the run");
  run.out = folder / "data.txt";
  CHECK(problem(run) == run.out + ": cannot create the folder: Not a directory");
}

TEST_CASE("a run is not begun over another one", "[train][trainer]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4);
  train_to_end(run);
  const std::string bytes = test::checkpoint_bytes(run.out, 4);
  CHECK(problem(run) == run.out +
                            ": the folder holds a run already, of 4 steps; continue it with --resume, begin "
                            "anew with --overwrite, or choose another folder");
  for (const char* name : {"config.json", "log.jsonl", "loss.svg", "trainer.json", "model.safetensors"})
    for (const bool resume : {false, true})
      for (const bool overwrite : {false, true}) {
        Run other = test::tiny_run(folder, std::string("other-") + name);
        other.resume = resume, other.overwrite = overwrite;
        fs::create_directory(other.out);
        write_text(other.out + "/" + name, "mine");
        CAPTURE(name, resume, overwrite);
        CHECK(problem(other).starts_with(other.out + ": the folder holds "));
        CHECK(problem(other).find(name) != std::string::npos);
        CHECK(read_file(other.out + "/" + name) == "mine");
        fs::remove(other.out + "/" + name);
        CHECK(fs::remove(other.out));  // nothing else is in it, not even a lock
      }
  // A folder with checkpoints that is not known as that of a run keeps them.
  fs::rename(run.out + "/trainer.json", folder / "trainer.json");
  for (const char* name : {"config.json", "log.jsonl", "loss.svg"}) fs::remove(run.out + "/" + name);
  run.overwrite = true;
  CHECK(problem(run).starts_with(run.out + ": the folder holds checkpoints, and no trainer.json of a run;"));
  CHECK(test::checkpoint_bytes(run.out, 4) == bytes);
}

TEST_CASE("a run is not continued as another one", "[train][trainer][resume]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4);
  train_to_end(run);
  run.resume = true;
  const auto changed = [&](const char* key, const char* value) {
    Run other = run;
    set_field(other.settings, key, value);
    return problem(other);
  };
  write_text(run.out + "/loss.svg.tmp.17.0", "half");
  CHECK(changed("steps", "5") == run.out +
                                     ": the run has steps 4, got 5; leave it as it was, change it from step "
                                     "4 on with --extend, or begin a run in another folder");
  CHECK(changed("learning_rate", "0.5").starts_with(run.out + ": the run has learning_rate 0.003, got 0.5"));
  CHECK(changed("form", "parallel").starts_with(run.out + ": the run has form \"chunkwise\""));
  for (const char* key : {"batch", "window", "accumulate", "warmup", "clip"})
    CHECK(changed(key, "7").starts_with(run.out + ": the run has " + key));
  CHECK(changed("seed", "7").starts_with(run.out + ": the run has seed 1, got 7"));
  CHECK(fs::exists(run.out + "/loss.svg.tmp.17.0"));  // a run that is refused removes nothing
  for (const char* key : {"save_every", "eval_every", "eval_windows"}) CHECK(changed(key, "7") == "no error");
  CHECK(changed("recompute", "true") == "no error");

  Run other = run;
  other.config.layers = 3;
  CHECK(problem(other).starts_with(run.out + ": the model has layers 2, got 3"));
  other = run, other.data = {folder / "other.txt"};
  std::string text = test::sample_text();
  text[100] = '!';
  write_text(folder / "other.txt", text);
  CHECK(problem(other).starts_with(run.out + ": the run was begun on other data, "));
  fs::rename(folder / "data.txt", folder / "other.txt");
  CHECK(problem(other) == "no error");  // the same bytes under another name
}

TEST_CASE("two trainers in one folder: the second one refuses", "[train][trainer]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4);
  fs::create_directory(run.out);
  const std::string message =
      run.out + ": another process trains in this folder; wait for it, or choose another one";
  {
    const RunLock lock(run.out);
    // What the other one is about to write.
    for (const char* name : {"loss.svg.tmp.17.0", ".data.tmp.17.0"}) write_text(run.out + "/" + name, "half");
    CHECK(problem(run) == message);
    run.resume = true;
    CHECK(problem(run) == message);
    CHECK(fs::exists(run.out + "/loss.svg.tmp.17.0"));
    CHECK(fs::exists(run.out + "/.data.tmp.17.0"));
  }
  CHECK(problem(run) == "no error");
}

TEST_CASE("a folder that cannot be written is refused at once", "[train][trainer]") {
  if (::geteuid() == 0) return;  // root may write anywhere
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run");
  fs::create_directory(run.out);
  ::chmod(run.out.c_str(), 0500);
  CHECK(problem(run) == run.out + "/.lock: cannot write: Permission denied");
  run.out += "/below";
  CHECK(problem(run) == run.out + ": cannot create the folder: Permission denied");
  ::chmod((folder / "run").c_str(), 0700);
}

TEST_CASE("why a folder cannot be created is said in the words of every other error", "[train][trainer]") {
  const TemporaryFolder folder;
  fs::create_symlink("loop", folder / "loop");
  const std::string name(300, 'n');
  CHECK(error_message([&] { create_folder(folder / "loop/run"); }) ==
        folder / "loop/run" + ": cannot create the folder: Too many levels of symbolic links");
  CHECK(error_message([&] { create_folder(folder / name); }) ==
        folder / name + ": cannot create the folder: File name too long");
}

TEST_CASE("a full disk ends the run with the file's name", "[train][trainer]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 8);
  train_to_end(run);
  fs::remove_all(checkpoint_folder(run.out, 8));
  // Every write to /dev/full finds no space. Shortening a device is refused, which ends the run even earlier.
  fs::remove(run.out + "/log.jsonl");
  fs::create_symlink("/dev/full", run.out + "/log.jsonl");
  run.resume = true;
  CHECK(problem(run).starts_with(run.out + "/log.jsonl: cannot "));
  CHECK(checkpoint_steps(run.out) == std::vector<std::int64_t>{4});
}

/// A run to be resumed after step 4, whose weights of the given names (or ends of names) were multiplied.
Run with_weights(Run run, const std::vector<std::pair<std::string, double>>& factors) {
  run.settings.steps = 8;
  train_to_end(run);
  const std::string path = checkpoint_folder(run.out, 8);
  RetNet model = load_model(path);
  Optimizer optimizer(model.parameters());
  load_optimizer(path, optimizer);
  TrainerState state = load_trainer_state(path);
  state.step = 4;
  for (const auto& [end, factor] : factors)
    for (Parameter& parameter : model.parameters())
      if (parameter.name.ends_with(end))
        parameter.variable.set_value(mul(parameter.variable.value(), factor));
  save_checkpoint(run.out, model, optimizer, state);
  run.resume = true;
  return run;
}

TEST_CASE("the first loss that is not finite stops the run", "[train][trainer][nan]") {
  const TemporaryFolder folder;
  // The logits overflow, though every weight is finite.
  const Run run =
      with_weights(test::tiny_run(folder, "run"), {{"head.weight", 1e30}, {"final_norm.weight", 1e30}});
  CHECK(problem(run).starts_with("train: the loss at step 5 is "));
  CHECK(problem(run).find("nan") != std::string::npos);
  CHECK(newest_checkpoint(run.out) == checkpoint_folder(run.out, 4));
  CHECK(read_log(run.out + "/log.jsonl").steps.size() == 4);
}

TEST_CASE("the first gradient that is not finite stops the run, and has a name", "[train][trainer][nan]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run");
  run.config.block_norm_eps = 0;
  // The stream is about 1e-6, so gradients behind the last norm are about 1e6. Of the feed-forward network,
  // whose output is zero, the hidden values are about 1e35: the loss is what it was, and one gradient is the
  // product of the two.
  run = with_weights(
      run,
      {{"embed.weight", 1e-6}, {"o.weight", 0}, {"ffn.down.weight", 0}, {"layers.1.ffn.act.weight", 1e35}});
  CHECK(problem(run) == "train: the gradient of layers.1.ffn.down.weight at step 5 is not finite");
  CHECK(newest_checkpoint(run.out) == checkpoint_folder(run.out, 4));
}

}  // namespace
}  // namespace retnet
