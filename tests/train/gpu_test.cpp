// Training on the GPU: the CPU's loss curve, the same bits every time, and the same errors.

#include <filesystem>

#include "tests/support/gpu.h"
#include "tests/train/tiny_run.h"

namespace retnet::test {
namespace {

Run gpu_run(const TemporaryFolder& folder, const std::string& name, std::int64_t steps = 12) {
  Run run = tiny_run(folder, name, steps);
  run.device = Device::hip;
  return run;
}

TEST_CASE("a run on the GPU has the CPU's loss curve", "[gpu][train]") {
  RETNET_NEEDS_GPU();
  const TemporaryFolder folder;
  const Run here = tiny_run(folder, "cpu", 40), there = gpu_run(folder, "hip", 40);
  train_to_end(here), train_to_end(there);
  const LogRecords expected = read_log(here.out + "/log.jsonl"), result = read_log(there.out + "/log.jsonl");
  REQUIRE(result.steps.size() == expected.steps.size());
  REQUIRE(result.evaluations.size() == expected.evaluations.size());
  for (std::size_t i = 0; i < expected.steps.size(); ++i) {
    CHECK(result.steps[i].loss == Approx(expected.steps[i].loss).epsilon(1e-3));
    CHECK(result.steps[i].gradient_norm == Approx(expected.steps[i].gradient_norm).epsilon(1e-2));
  }
}

TEST_CASE("two runs on the GPU, one of them interrupted, agree bit for bit", "[gpu][train]") {
  RETNET_NEEDS_GPU();
  const TemporaryFolder folder;
  const Run one = gpu_run(folder, "one");
  train_to_end(one);
  Run two = gpu_run(folder, "two");
  train_to_end(two);
  CHECK(log_without_times(two.out) == log_without_times(one.out));
  CHECK(checkpoint_bytes(two.out, 12) == checkpoint_bytes(one.out, 12));
  std::filesystem::remove_all(checkpoint_folder(two.out, 12));
  two.resume = true;
  train_to_end(two);
  CHECK(log_without_times(two.out) == log_without_times(one.out));
  CHECK(checkpoint_bytes(two.out, 12) == checkpoint_bytes(one.out, 12));
}

TEST_CASE("steps that are launched as a graph have the bits of those that are not", "[gpu][train][graphs]") {
  RETNET_NEEDS_GPU();
  for (const double dropout : {0.0, 0.1})
    for (const std::int64_t micro_batch : {3, 2})
      for (const Form form : {Form::chunkwise, Form::parallel}) {
        DYNAMIC_SECTION((form == Form::chunkwise ? "chunkwise" : "parallel")
                        << ", dropout " << dropout << ", micro_batch " << micro_batch) {
          const TemporaryFolder folder;
          int number = 0;
          const auto trained = [&](bool graphs, std::int64_t interrupted_at) {
            Run run = gpu_run(folder, "run" + std::to_string(number++), 20);
            run.graphs = graphs;
            run.settings.batch = 3, run.settings.micro_batch = micro_batch;
            run.settings.dropout = dropout, run.settings.form = form;
            train_to_end(run);
            if (interrupted_at > 0) {  // what a run that ended there had left behind
              std::filesystem::remove_all(checkpoint_folder(run.out, 20));
              run.resume = true;
              train_to_end(run);
            }
            return log_without_times(run.out) + checkpoint_bytes(run.out, 20);
          };
          const std::string expected = trained(false, 0);
          CHECK(trained(true, 0) == expected);
          CHECK(trained(true, 16) == expected);
        }
      }
}

TEST_CASE("a run goes on on another device", "[gpu][train]") {
  RETNET_NEEDS_GPU();
  const TemporaryFolder folder;
  Run run = gpu_run(folder, "run");
  train_to_end(run);
  std::filesystem::remove_all(checkpoint_folder(run.out, 12));
  run.resume = true, run.device = Device::cpu;
  CHECK(train_to_end(run).step == 12);
}

TEST_CASE("the first loss that is not finite stops a run on the GPU with its step", "[gpu][train][nan]") {
  RETNET_NEEDS_GPU();
  const TemporaryFolder folder;
  Run run = gpu_run(folder, "run", 8);
  train_to_end(run);
  const std::string path = checkpoint_folder(run.out, 8);
  RetNet model = load_model(path);
  Optimizer optimizer(model.parameters());
  load_optimizer(path, optimizer);
  TrainerState state = load_trainer_state(path);
  state.step = 4;
  for (Parameter& parameter : model.parameters())
    if (parameter.name == "head.weight" || parameter.name == "final_norm.weight")
      parameter.variable.set_value(mul(parameter.variable.value(), 1e30));
  save_checkpoint(run.out, model, optimizer, state);
  run.resume = true;
  const std::string message = error_message([&] { train_to_end(run); });
  CHECK(message.find("train: the loss at step 5 is ") == 0);
  CHECK(newest_checkpoint(run.out) == checkpoint_folder(run.out, 4));
  CHECK(read_log(run.out + "/log.jsonl").steps.size() == 4);
}

}  // namespace
}  // namespace retnet::test
