// Checkpoints: what is written is read back, and what is torn, damaged or mixed is not taken for one.

#include "train/checkpoint.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <sstream>

#include "tests/support/allocations.h"
#include "tests/support/close.h"
#include "tests/support/test.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using test::TemporaryFolder;
using test::write_text;

constexpr const char* kFiles[] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                  "trainer.json"};

/// Keeps what is said on stderr meanwhile.
class CapturedErrors {
 public:
  CapturedErrors() : before_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~CapturedErrors() { std::cerr.rdbuf(before_); }
  CapturedErrors(const CapturedErrors&) = delete;
  CapturedErrors& operator=(const CapturedErrors&) = delete;
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

/// A run with checkpoints after steps 4 and 8.
Run trained(const TemporaryFolder& folder) {
  const Run run = test::tiny_run(folder, "run", 8);
  test::train_to_end(run);
  return run;
}

TEST_CASE("a checkpoint holds weights, moments and state", "[train][checkpoint]") {
  const TemporaryFolder folder;
  const Run run = test::tiny_run(folder, "run");
  RetNet model(run.config, 5);
  Optimizer optimizer(model.parameters());
  for (Moments& moments : optimizer.moments()) fill(moments.m, 0.25), fill(moments.v, 0.5);
  fs::create_directory(run.out);
  TrainerState state{run.settings, 7, {"a", "b \"c\"", "caf\xe9", "hex"}, 0xfedcba9876543210ull, 1234};
  state.settings.decay = Decay::cosine, state.settings.learning_rate = 0.1 + 0.2;
  save_checkpoint(run.out, model, optimizer, state);

  const std::string path = newest_checkpoint(run.out).value();
  CHECK(path == run.out + "/step-000007");
  CHECK(model_folder(run.out) == path);
  CHECK(model_folder(path) == path);
  RetNet loaded = load_model(path);
  Optimizer moments(loaded.parameters());
  load_optimizer(path, moments);
  const TrainerState read = load_trainer_state(path);
  for (std::size_t i = 0; i < moments.parameters().size(); ++i) {
    CHECK(test::bit_difference(loaded.parameters()[i].variable.value(),
                               model.parameters()[i].variable.value()) == "");
    CHECK(test::bit_difference(moments.moments()[i].m, optimizer.moments()[i].m) == "");
    CHECK(test::bit_difference(moments.moments()[i].v, optimizer.moments()[i].v) == "");
  }
  CHECK(read.step == 7);
  CHECK(read.data == state.data);
  CHECK(read.data_hash == state.data_hash);
  CHECK(read.data_size == 1234);
  CHECK(fields_to_json(read.settings) == fields_to_json(state.settings));
}

TEST_CASE("memory that runs out while a run is loaded is no fault of its checkpoints",
          "[train][checkpoint][memory]") {
  if (!test::allocations_are_counted()) return;
  const TemporaryFolder folder;
  const Run run = trained(folder);
  int failures = 0;
  bool complete = false;
  for (std::int64_t count = 0; !complete; count += 1 + count / 12)
    for (const std::int64_t often : {std::int64_t{1}, INT64_MAX}) {
      std::string what = "no exception";
      const std::int64_t before = test::allocations();
      try {
        const test::NoMoreAllocations from_now_on(count, often);
        if (load_trained(run.out).state->step != 8) what = "another checkpoint";
      } catch (const std::bad_alloc&) {
        ++failures;
      } catch (const Error& error) {
        what = error.what();
      }
      complete = test::allocations() - before <= count;  // none was refused
      CAPTURE(count, often);
      REQUIRE(what == "no exception");
    }
  CHECK(failures > 100);
}

TEST_CASE("the newest two checkpoints are kept, and none of a later step", "[train][checkpoint]") {
  const TemporaryFolder folder;
  const Run run = test::tiny_run(folder, "run");
  RetNet model(run.config, 5);
  Optimizer optimizer(model.parameters());
  fs::create_directory(run.out);
  const auto save = [&](std::int64_t step) {
    save_checkpoint(run.out, model, optimizer, {run.settings, step, {}, 0, 0});
    return checkpoint_steps(run.out);
  };
  save(5), save(1000000);
  CHECK(save(1000001) == std::vector<std::int64_t>{1000001, 1000000});
  CHECK(save(6) == std::vector<std::int64_t>{6});
  CHECK(save(6) == std::vector<std::int64_t>{6});  // one of this step is replaced
  CHECK(save(9) == std::vector<std::int64_t>{9, 6});
  CHECK(fs::exists(run.out + "/step-000009/trainer.json"));
  CHECK(std::distance(fs::directory_iterator(run.out), fs::directory_iterator()) == 2);
}

TEST_CASE("a torn or damaged checkpoint is passed over", "[train][checkpoint]") {
  const TemporaryFolder folder;
  const Run run = trained(folder);
  const std::string good = checkpoint_folder(run.out, 4), torn = checkpoint_folder(run.out, 8);
  for (const char* name : kFiles) {
    const std::string path = torn + "/" + name, bytes = read_file(path);
    std::vector<std::string> damaged{"", bytes.substr(0, 1), bytes.substr(0, bytes.size() / 2),
                                     bytes.substr(0, bytes.size() - 1), bytes + " "};
    for (std::size_t i = 0; i < bytes.size(); i += 1 + bytes.size() / 12) {
      damaged.push_back(bytes);
      damaged.back()[i] = static_cast<char>(damaged.back()[i] ^ (1 << i % 7));
    }
    damaged.push_back("missing");
    for (const std::string& content : damaged) {
      fs::remove(path);
      if (content != "missing") write_text(path, content);
      CAPTURE(name, content.size());
      const CapturedErrors errors;
      // Blanks after the JSON of trainer.json mean nothing, and it is the one file without a checksum of all
      // its bytes.
      const bool blanks = content == bytes + " " || content == bytes.substr(0, bytes.size() - 1);
      const bool harmless = blanks && name == std::string("trainer.json");
      CHECK(newest_checkpoint(run.out) == (harmless ? torn : good));
      if (harmless) continue;
      CHECK(errors.text().starts_with("retnet: " + torn + "/"));
      CHECK(errors.text().ends_with("; going back to " + good + "\n"));
      CHECK(errors.text().find('\n') == errors.text().size() - 1);
    }
    write_text(path, bytes);
  }
  CHECK(newest_checkpoint(run.out) == torn);
}

TEST_CASE("files of two checkpoints do not mix", "[train][checkpoint]") {
  const TemporaryFolder folder;
  const Run run = trained(folder);
  const std::string older = checkpoint_folder(run.out, 4), newer = checkpoint_folder(run.out, 8);
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string bytes = read_file(newer + "/" + name);
    write_text(newer + "/" + name, read_file(older + "/" + name));
    CHECK(error_message([&] { load_trainer_state(newer); }) ==
          newer + "/trainer.json: " + name +
              " in the same folder is damaged, or of another checkpoint: its checksum differs");
    write_text(newer + "/" + name, bytes);
  }
}

TEST_CASE("resuming from a torn checkpoint gives what an unbroken run gives", "[train][checkpoint]") {
  const TemporaryFolder folder;
  Run run = trained(folder);
  const std::string expected = test::checkpoint_bytes(run.out, 8), log = test::log_without_times(run.out);
  write_text(checkpoint_folder(run.out, 8) + "/model.safetensors", "torn");
  run.resume = true;
  const CapturedErrors errors;
  CHECK(test::train_to_end(run).step == 8);
  CHECK(test::checkpoint_bytes(run.out, 8) == expected);
  CHECK(test::log_without_times(run.out) == log);
}

TEST_CASE("when no checkpoint loads, nothing is begun over it", "[train][checkpoint]") {
  const TemporaryFolder folder;
  Run run = trained(folder);
  for (const std::int64_t step : {4, 8})
    write_text(checkpoint_folder(run.out, step) + "/model.safetensors", "torn");
  run.resume = true;
  const std::string start =
      run.out + ": no checkpoint in this folder loads; the newest: " + run.out + "/step-000008/";
  CHECK(error_message([&] { test::train_to_end(run); }).starts_with(start));
  CHECK(error_message([&] { model_folder(run.out); }).starts_with(start));
}

TEST_CASE("a folder without a model is refused", "[train][checkpoint]") {
  const TemporaryFolder folder;
  CHECK(error_message([&] { model_folder(folder / "none"); }) ==
        folder / "none" + ": there is no such folder; give one that `retnet train` wrote");
  CHECK(error_message([&] { model_folder(folder.path()); }) ==
        folder.path() + ": holds neither config.json and model.safetensors nor a checkpoint step-*");
  CHECK_FALSE(newest_checkpoint(folder / "none").has_value());
}

TEST_CASE("a checkpoint that cannot be written leaves those before it alone", "[train][checkpoint]") {
  if (::geteuid() == 0) return;  // root may write anywhere
  const TemporaryFolder folder;
  Run run = trained(folder);
  ::chmod(run.out.c_str(), 0500);
  RetNet model(run.config, 5);
  Optimizer optimizer(model.parameters());
  CHECK(error_message([&] {
          save_checkpoint(run.out, model, optimizer, {run.settings, 9, {}, 0, 0});
        }).ends_with("Permission denied"));
  ::chmod(run.out.c_str(), 0700);
  CHECK(newest_checkpoint(run.out) == checkpoint_folder(run.out, 8));
}

}  // namespace
}  // namespace retnet
