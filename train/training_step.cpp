#include "train/training_step.h"

#include <algorithm>
#include <cstring>

#include "kernels/parallel.h"
#include "train/streams.h"

namespace retnet {
namespace {

/// The numbers that differ from step to step.
struct StepNumbers {
  kernels::AdamWRates rates;
  std::uint64_t dropout = 0;  ///< streams of dropout from step 0's to this step's
};

/// They travel as a tensor of so many doubles.
constexpr std::int64_t kNumbers = sizeof(StepNumbers) / sizeof(double);
static_assert(sizeof(StepNumbers) % sizeof(double) == 0 && alignof(StepNumbers) <= alignof(double));

const StepNumbers* numbers_in(const Tensor& numbers) {
  return reinterpret_cast<const StepNumbers*>(numbers.data<double>());
}

/// Composed forms copy their tables from the host in every step, and the recurrent one has a launch for every
/// token and more: too much for a graph.
bool worth_a_graph(const TrainSettings& settings) {
  return !settings.reference && settings.form != Form::recurrent;
}

}  // namespace

TrainingStep::TrainingStep(RetNet& model, Optimizer& optimizer, const TrainSettings& settings, bool graphs)
    : model_(model),
      optimizer_(optimizer),
      settings_(settings),
      graphs_(graphs && DeviceGraph::possible(model.device()) && worth_a_graph(settings)) {
  const Shape windows{settings.accumulate, settings.batch, settings.window};
  tokens_ = Tensor::empty(windows, Dtype::i32, model.device());
  targets_ = Tensor::empty(windows, Dtype::i32, model.device());
  numbers_ = Tensor::empty({kNumbers}, Dtype::f64, model.device());
}

StepResult TrainingStep::run(std::int64_t step, const std::vector<Batch>& batches) {
  write(step, batches);
  if (!graphs_ || !warm_) {
    warm_ = true;
    return compute(step);
  }
  if (!graph_) graph_.emplace([&] { recorded_ = compute(step); });
  graph_->run();
  return {clone(recorded_.loss), clone(recorded_.squares), clone(recorded_.norm)};
}

void TrainingStep::write(std::int64_t step, const std::vector<Batch>& batches) const {
  require(static_cast<std::int64_t>(batches.size()) == settings_.accumulate, "train", "a step needs ",
          settings_.accumulate, " batches, got ", batches.size());
  for (std::size_t part = 0; part < batches.size(); ++part) {
    select(tokens_, 0, static_cast<std::int64_t>(part)).assign(batches[part].tokens);
    select(targets_, 0, static_cast<std::int64_t>(part)).assign(batches[part].targets);
  }
  const auto stream = [&](std::int64_t at) {
    return step_key(Purpose::dropout, settings_.seed, at, 0).stream;
  };
  const StepNumbers numbers{Optimizer::rates(settings_, step), stream(step) - stream(0)};
  std::vector<double> bytes(kNumbers);
  std::memcpy(bytes.data(), &numbers, sizeof numbers);
  numbers_.assign(Tensor::from(bytes, {kNumbers}));
}

/// All of a step, from what write() wrote. @param step  for messages
StepResult TrainingStep::compute(std::int64_t step) {
  optimizer_.zero_grad();
  const Tensor loss = backpropagate();
  const GradientNorm norm = optimizer_.gradient_norm(step, settings_.clip);
  optimizer_.step(settings_, &numbers_in(numbers_)->rates, norm);
  return {loss, norm.squares, norm.global.norm};
}

/// Adds up the gradients of the mean loss, some windows at a time: so the activations of only those are
/// alive, and stay in the caches. On the CPU as many such passes run side by side as there are threads.
/// @returns the loss, f64 []
Tensor TrainingStep::backpropagate() {
  const std::int64_t in_batch = (settings_.batch + settings_.micro_batch - 1) / settings_.micro_batch;
  const std::int64_t passes = settings_.accumulate * in_batch;
  std::vector<Tensor> losses(static_cast<std::size_t>(passes));
  Turns turns(passes);
  kernels::parallel_tasks(passes, model_.device() == Device::cpu, [&](std::int64_t pass) {
    Turn turn(turns, pass);
    losses[static_cast<std::size_t>(pass)] = backpropagate(pass / in_batch, pass % in_batch, pass, turn);
  });
  Tensor total = losses[0];
  for (std::size_t pass = 1; pass < losses.size(); ++pass) total = add(total, losses[pass]);
  return total;
}

/// One pass: a piece of the batch of a part, number `pass` of the step. @returns its share of the loss, f64
/// []
Tensor TrainingStep::backpropagate(std::int64_t part, std::int64_t piece, std::int64_t pass, Turn& turn) {
  const std::int64_t begin = piece * settings_.micro_batch;
  const std::int64_t end = std::min(settings_.batch, begin + settings_.micro_batch);
  ForwardOptions options;
  options.form = {settings_.form, 0, settings_.reference};
  options.dropout = {settings_.dropout, step_key(Purpose::dropout, settings_.seed, 0, pass)};
  options.dropout.key.shift = &numbers_in(numbers_)->dropout;
  options.recompute = settings_.recompute;
  const Variable loss = model_.loss(slice(select(tokens_, 0, part), 0, begin, end),
                                    slice(select(targets_, 0, part), 0, begin, end), options);
  const double share =
      static_cast<double>(end - begin) / static_cast<double>(settings_.batch * settings_.accumulate);
  backward(loss, Tensor::full({}, share, loss.dtype(), loss.device()), Graph::release, &turn);
  return mul(astype(loss.value(), Dtype::f64), share);
}

}  // namespace retnet
