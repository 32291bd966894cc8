#include "train/training_step.h"

#include <algorithm>
#include <cstring>

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
  Tensor loss = backpropagate(0);
  for (std::int64_t part = 1; part < settings_.accumulate; ++part) loss = add(loss, backpropagate(part));
  const GradientNorm norm = optimizer_.gradient_norm(step, settings_.clip);
  optimizer_.step(settings_, &numbers_in(numbers_)->rates, norm);
  return {loss, norm.squares, norm.global.norm};
}

/// Adds the gradient of a batch's share of the mean loss, some windows at a time: so the activations of only
/// those are alive, and stay in the caches. @returns that share, f64 []
Tensor TrainingStep::backpropagate(std::int64_t part) {
  const Tensor tokens = select(tokens_, 0, part), targets = select(targets_, 0, part);
  const std::int64_t passes = (settings_.batch + settings_.micro_batch - 1) / settings_.micro_batch;
  Tensor total;
  for (std::int64_t begin = 0, pass = part * passes; begin < settings_.batch;
       begin += settings_.micro_batch, ++pass) {
    const std::int64_t end = std::min(settings_.batch, begin + settings_.micro_batch);
    ForwardOptions options;
    options.form = {settings_.form, 0, settings_.reference};
    options.dropout = {settings_.dropout, step_key(Purpose::dropout, settings_.seed, 0, pass)};
    options.dropout.key.shift = &numbers_in(numbers_)->dropout;
    options.recompute = settings_.recompute;
    const Variable loss = model_.loss(slice(tokens, 0, begin, end), slice(targets, 0, begin, end), options);
    const double share =
        static_cast<double>(end - begin) / static_cast<double>(settings_.batch * settings_.accumulate);
    backward(loss, Tensor::full({}, share, loss.dtype(), loss.device()), Graph::release);
    const Tensor part_of_loss = mul(astype(loss.value(), Dtype::f64), share);
    total = total.defined() ? add(total, part_of_loss) : part_of_loss;
  }
  return total;
}

}  // namespace retnet
