// Training against a second program for it (tests/support/reference_training.h), which knows nothing of the
// library: seed, windows, dropout, loss, gradient, clipping, AdamW, learning rate, evaluation.

#include <algorithm>

#include "tests/support/test.h"
#include "tests/train/reference_run.h"
#include "tests/support/threads.h"

namespace retnet {
namespace {

using test::Threads;

/// How many of the steps were clipped.
std::ptrdiff_t clipped(const LogRecords& log, double clip) {
  return std::count_if(log.steps.begin(), log.steps.end(),
                       [&](const LogStep& step) { return step.gradient_norm > clip; });
}

TEST_CASE("the reference's random numbers are Philox4x32-10", "[train][reference][random]") {
  // Random123, kat_vectors: counter and key of zeros, of ones, and of the digits of pi.
  using Words = std::array<std::uint32_t, 4>;
  const std::uint32_t ones = 0xffffffff;
  CHECK(test::philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(test::philox({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(test::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("steps in f64 are those of an independent program", "[train][reference]") {
  const test::TemporaryFolder folder;
  test::write_text(folder / "data", test::minute_text());
  const Config config = test::minute_config();
  TrainSettings settings = test::minute_settings();
  settings.steps = 12;
  const test::ReferenceRun expected = test::reference_run(config, settings, test::minute_text());
  // Steps of both kinds, or clipping would not be seen.
  CHECK(clipped(expected.log, settings.clip) >= 2);
  CHECK(clipped(expected.log, settings.clip) <= 10);
  for (const int threads : {1, 3}) {
    const Threads chosen(threads);
    const test::ReferenceRun run = test::library_run(config, settings, folder / "data");
    CHECK(test::log_difference(run.log, expected.log, 1e-12) == "");
    CHECK(test::weight_difference(run.weights, expected.weights, 1e-10) == "");
  }
}

TEST_CASE("a run of train() is that of an independent program", "[train][reference][trainer]") {
  const test::TemporaryFolder folder;
  test::write_text(folder / "data", test::minute_text());
  Run run;
  run.config = test::minute_config(), run.settings = test::minute_settings();
  run.config.vocab = 256;
  run.data = {folder / "data"}, run.out = folder / "run", run.quiet = true;
  const test::ReferenceRun expected = test::reference_run(run.config, run.settings, test::minute_text());
  const Threads two(2);
  const RunResult result = test::train_to_end(run);
  CHECK(test::log_difference(read_log(run.out + "/log.jsonl"), expected.log, 2e-6) == "");
  CHECK(test::weight_difference(test::checkpoint_weights(run.out, 6), expected.weights, 1e-4) == "");
  CHECK(result.tokens == expected.log.steps.back().tokens);
  CHECK(result.held_out.bytes == expected.log.evaluations.back().held_out.bytes);
}

TEST_CASE("a step forgets gradients that were there before it", "[train][reference]") {
  const test::TemporaryFolder folder;
  test::write_text(folder / "data", test::minute_text());
  const TrainSettings settings = test::minute_settings();
  const Dataset data({folder / "data"}, 0);
  const std::vector<Batch> batches{data.train_batch(3, 5, 1, 1, 0), data.train_batch(3, 5, 1, 1, 1)};
  Tensor weights[2];
  for (const bool before : {false, true}) {
    RetNet model(test::minute_config(), 1, Dtype::f64);
    Optimizer optimizer(model.parameters());
    if (before) backward(model.loss(batches[0].tokens, batches[0].targets));
    TrainingStep(model, optimizer, settings, false).run(1, batches);
    weights[before] = model.parameters()[0].variable.value();
    CHECK_FALSE(model.parameters()[0].variable.grad().defined());
  }
  CHECK(test::bit_difference(weights[1], weights[0]) == "");
}

}  // namespace
}  // namespace retnet
