// Training: a resumed run equals an unbroken one, threads do not matter, and what cannot go on says why.

#include "train/trainer.h"

#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/support/test.h"
#include "tests/support/threads.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using test::train_to_end;

TEST_CASE("training learns, and leaves the files of a run", "[train][trainer]") {
  const test::Threads one(1);
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 150);
  run.settings.learning_rate = 0.02, run.settings.dropout = 0, run.settings.save_every = 100;
  const RunResult result = train_to_end(run);
  CHECK(result.step == 150);
  CHECK_FALSE(result.interrupted);
  CHECK(result.tokens == 150 * 40);
  CHECK(result.held_out.nats < 3.3);  // from 5.5: the text has about 30 different bytes
  const LogRecords log = read_log(run.out + "/log.jsonl");
  REQUIRE(log.steps.size() == 150);
  REQUIRE(log.evaluations.size() == 75);
  CHECK(log.steps[9].tokens == 400);
  CHECK(log.steps[9].learning_rate == learning_rate(run.settings, 10));
  CHECK(log.evaluations.back().held_out.nats == result.held_out.nats);
  CHECK(log.evaluations[0].held_out.bytes == 30);
  CHECK(log.evaluations.back().held_out.bytes == Dataset(run.data, 0.1).held_out_size() - 1);
  CHECK(checkpoint_steps(run.out) == std::vector<std::int64_t>{150, 100});
  CHECK(read_file(run.out + "/loss.svg").starts_with("<svg"));
  CHECK(load_model(model_folder(run.out)).config().d_model == 8);
}

TEST_CASE("a run resumed from any step equals an unbroken one", "[train][trainer][resume]") {
  const test::Threads one(1);
  const TemporaryFolder folder;
  for (const Form form : {Form::chunkwise, Form::parallel}) {
    const std::string name = Names<Form>::list[static_cast<int>(form)];
    Run run = test::tiny_run(folder, name);
    run.settings.form = form;
    train_to_end(run);
    const std::string expected = test::checkpoint_bytes(run.out, 12), log = test::log_without_times(run.out);
    for (std::int64_t step = 1; step < 12; ++step) {
      // Every so many steps a checkpoint; without the last one, the newest is of the largest multiple
      // below 12.
      run.out = folder / (name + std::to_string(step));
      run.settings.save_every = step, run.resume = false;
      train_to_end(run);
      fs::remove_all(checkpoint_folder(run.out, 12));
      REQUIRE(checkpoint_steps(run.out)[0] == 11 / step * step);
      run.resume = true;
      CHECK(train_to_end(run).tokens == (12 - 11 / step * step) * 40);
      CHECK((test::checkpoint_bytes(run.out, 12) == expected));
      CHECK(test::log_without_times(run.out) == log);
    }
  }
}

TEST_CASE("the stop flag ends with a checkpoint, and resuming goes on from there",
          "[train][trainer][resume]") {
  const test::Threads one(1);
  const TemporaryFolder folder;
  const Run whole = test::tiny_run(folder, "whole", 300);
  train_to_end(whole);
  Run run = test::tiny_run(folder, "run", 300);
  run.resume = true;
  int interrupts = 0;
  std::chrono::milliseconds delay(40);
  RunResult result;
  for (bool done = false; !done; done = !result.interrupted) {
    const std::int64_t before = result.step;
    std::atomic<bool> stop{false};
    std::thread timer([&] {
      std::this_thread::sleep_for(delay);
      stop = true;
    });
    result = train(run, stop);
    timer.join();
    if (result.step == before) delay *= 2;              // a slow machine spent it on loading the checkpoint
    CHECK((result.interrupted || result.step == 300));  // after step 300 it may be in the last evaluation
    if (result.interrupted && result.step > 0) CHECK(checkpoint_steps(run.out)[0] == result.step);
    interrupts += result.interrupted;
  }
  CHECK(interrupts > 0);
  CHECK(test::checkpoint_bytes(run.out, 300) == test::checkpoint_bytes(whole.out, 300));
  CHECK(test::log_without_times(run.out) == test::log_without_times(whole.out));
}

TEST_CASE("a flag that is set before the first step trains nothing", "[train][trainer]") {
  const TemporaryFolder folder;
  const Run run = test::tiny_run(folder, "run");
  const std::atomic<bool> stop{true};
  const RunResult result = train(run, stop);
  CHECK(result.interrupted);
  CHECK(result.step == 0);
  CHECK(checkpoint_steps(run.out).empty());
}

TEST_CASE("a finished run that is resumed evaluates once more and changes nothing",
          "[train][trainer][resume]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run");
  const RunResult first = train_to_end(run);
  const std::string log = read_file(run.out + "/log.jsonl"), bytes = test::checkpoint_bytes(run.out, 12);
  run.resume = true;
  const RunResult second = train_to_end(run);
  CHECK(second.step == 12);
  CHECK(second.tokens == 0);
  CHECK(second.held_out.nats == first.held_out.nats);
  CHECK(read_file(run.out + "/log.jsonl") == log);
  CHECK(test::checkpoint_bytes(run.out, 12) == bytes);
}

TEST_CASE("the number of threads changes no bit", "[train][trainer][threads]") {
  const TemporaryFolder folder;
  // Eight passes a step, side by side on 2, 3 and 8 threads; or four, with 3 and 8 threads on each.
  for (const std::int64_t micro_batch : {1, 2}) {
    std::string expected;
    for (const int threads : {1, 2, 3, 8}) {
      const test::Threads chosen(threads);
      CAPTURE(threads, micro_batch);
      Run run =
          test::tiny_run(folder, std::to_string(micro_batch) + "-threads-" + std::to_string(threads), 4);
      // Large enough that every kernel wakes its threads.
      run.config.d_model = run.config.key_width = 64, run.config.value_width = run.config.ffn_width = 128;
      run.config.chunk = 16;
      run.settings.batch = 4, run.settings.window = 100, run.settings.micro_batch = micro_batch;
      train_to_end(run);
      const std::string bytes = test::checkpoint_bytes(run.out, 4) + test::log_without_times(run.out);
      if (expected.empty()) expected = bytes;
      CHECK((bytes == expected));
    }
  }
}

TEST_CASE("recomputing activations changes no bit", "[train][trainer]") {
  const TemporaryFolder folder;
  Run kept = test::tiny_run(folder, "kept", 4), again = test::tiny_run(folder, "again", 4);
  again.settings.recompute = true;
  train_to_end(kept), train_to_end(again);
  CHECK(test::checkpoint_bytes(kept.out, 4) == test::checkpoint_bytes(again.out, 4));
}

TEST_CASE("accumulating halves of a batch is training on the whole", "[train][trainer]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "two", 1);
  run.settings.dropout = 0;
  train_to_end(run);
  const Dataset data(run.data, run.settings.held_out);
  double loss = 0;
  RetNet model(run.config, 1);
  for (const std::int64_t part : {0, 1}) {
    const Batch batch = data.train_batch(2, 10, 1, 1, part);
    const Variable value = model.loss(batch.tokens, batch.targets);
    backward(mul(value, 0.5));
    loss += value.value().item() / 2;
  }
  const LogRecords log = read_log(run.out + "/log.jsonl");
  CHECK(log.steps[0].loss == loss);
  const Optimizer optimizer(model.parameters());
  CHECK(log.steps[0].gradient_norm == optimizer.gradient_norm(1, 0).global.norm.item());
}

}  // namespace
}  // namespace retnet
