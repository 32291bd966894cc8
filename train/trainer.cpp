#include "train/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>

#include "tensor/file.h"
#include "tensor/stream.h"
#include "tensor/text.h"
#include "train/curve.h"
#include "train/log.h"
#include "train/progress.h"
#include "train/run_begin.h"
#include "train/run_folder.h"
#include "train/run_text.h"
#include "train/training_step.h"

namespace retnet {
namespace {

/// The text to train on, checked against the settings before anything is written. What can be read only once
/// is not opened before there is a folder to keep it in.
FoundText open_text(const Run& run, const Watch& watch) {
  run.config.validate();
  run.settings.validate();
  require(run.config.vocab >= 256, "train", "tokens are bytes, so vocab must be at least 256, got ",
          run.config.vocab);
  FoundText found{run.data, {}};
  const auto begun = run.resume && run.data.empty() ? begun_run(run.out) : std::nullopt;
  if (begun) found = find_text(begun->folder, begun->state, watch);
  if (std::any_of(found.files.begin(), found.files.end(), is_stream)) return found;
  if (!begun) found.text = Corpus(found.files);
  Dataset(found.text, run.settings.held_out).require_window(run.settings.window);
  found.text.hash(watch);
  return found;
}

/// Steps that may be queued before the host reads what they came to.
constexpr std::size_t kMostUnread = 256;

/// A step whose loss the host has not read.
struct Unread {
  std::int64_t step = 0;
  StepResult result;
};

/// What a run consists of while it goes on. Everything a step draws from is a function of the seed and its
/// number, so weights, moments and that number are all there is to continue from.
class Trainer {
  using Clock = std::chrono::steady_clock;

 public:
  explicit Trainer(const Run& run);
  RunResult go(const std::atomic<bool>& stop);

 private:
  static const std::string& prepare(const Run& run);
  void begin_or_resume();
  void step();
  FormOptions form() const { return {settings_.form, 0, settings_.reference}; }
  void check(const Unread& step);
  void read_steps();
  [[noreturn]] void fail_at_loss(std::int64_t step, double loss);
  bool evaluation_due() const;
  bool evaluate_until(const std::atomic<bool>& stop);
  void save();
  void draw() const { write_file_atomic(out_ + "/loss.svg", loss_curve(log_->losses())); }

  const Run& run_;
  const TrainSettings& settings_;
  const Watch watch_;
  FoundText text_;
  Dataset data_;
  std::string out_;
  RunLock lock_;
  RetNet model_;
  Optimizer optimizer_;
  TrainerState state_;
  std::unique_ptr<TrainingStep> training_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<Progress> progress_;
  std::int64_t saved_ = 0;  ///< step of the newest checkpoint
  std::vector<Unread> unread_;
  Clock::time_point unread_since_;  ///< when the first of them began
  RunResult result_;
};

Trainer::Trainer(const Run& run)
    : run_(run),
      settings_(run.settings),
      watch_{run.quiet ? nullptr : &std::cerr, terminal_of(STDERR_FILENO)},
      text_(open_text(run, watch_)),
      out_(prepare(run)),
      lock_(out_),
      model_(run.config, static_cast<std::uint64_t>(run.settings.seed)),
      optimizer_(model_.parameters()),
      state_{run.settings, 0, {}, 0, 0, {}, run.init_from} {
  begin_or_resume();
  saved_ = state_.step;
  model_.to(run.device);
  optimizer_.to(run.device);
  training_ = std::make_unique<TrainingStep>(model_, optimizer_, settings_, run.graphs);
  log_ = std::make_unique<Log>(out_ + "/log.jsonl", state_.step);
  for (std::size_t i = log_->changes(); i < state_.changes.size(); ++i) log_->write(state_.changes[i]);
  progress_ = std::make_unique<Progress>(run.quiet ? nullptr : &std::cerr, terminal_of(STDERR_FILENO),
                                         state_.step, settings_.steps);
}

/// Reads the text into a copy where only a copy keeps it, which gets its name when the run is accepted.
void Trainer::begin_or_resume() {
  remove_partial_copies(out_);
  std::optional<KeptText> copy;
  if (must_be_kept(text_.files)) {
    copy.emplace(text_.files, out_, watch_);
    text_ = {{out_ + "/" + copy->name()}, copy->text()};
  }
  Dataset(text_.text, settings_.held_out).require_window(settings_.window);
  state_.data = recorded_files(text_.files, out_);
  state_.data_hash = text_.text.hash(), state_.data_size = text_.text.size();
  retnet::begin_or_resume(run_, model_, optimizer_, state_, [&] {
    if (copy) text_.text = copy->keep(watch_);
  });
  data_ = Dataset(text_.text, settings_.held_out);
}

const std::string& Trainer::prepare(const Run& run) {
  require(!run.out.empty(), "train", "needs a folder for the run");
  // Not even a lock is left in a folder that is not for runs.
  if (!run.resume || !is_trainer_state(run.out + "/trainer.json")) require_free(run);
  create_folder(run.out);
  return run.out;
}

RunResult Trainer::go(const std::atomic<bool>& stop) {
  while (true) {
    const bool last = state_.step == settings_.steps;
    if (stop && (!last || evaluation_due())) {
      if (state_.step > saved_) save();
      result_.interrupted = true;
      break;
    }
    if (evaluation_due() && !evaluate_until(stop)) continue;
    if (last) break;
    step();
    if (state_.step % settings_.save_every == 0 || state_.step == settings_.steps) save();
  }
  read_steps();
  log_->sync();  // the last evaluation's line comes after the last checkpoint
  result_.step = state_.step;
  draw();
  return result_;
}

void Trainer::step() {
  if (unread_.empty()) unread_since_ = Clock::now();
  const std::int64_t step = state_.step + 1;
  std::vector<Batch> batches;
  for (std::int64_t part = 0; part < settings_.accumulate; ++part)
    batches.push_back(data_.train_batch(settings_.batch, settings_.window, settings_.seed, step, part));
  unread_.push_back({step, training_->run(step, batches)});
  const bool queued = run_.device != Device::cpu;
  if (!queued) check(unread_.back());
  state_.step = step;
  if (!queued || progress_->due() || unread_.size() >= kMostUnread) read_steps();
}

/// @throws Error naming the step unless its loss and gradients are finite; waits for them
void Trainer::check(const Unread& step) {
  const double loss = step.result.loss.item();
  if (!std::isfinite(loss)) fail_at_loss(step.step, loss);
  optimizer_.check(step.result.squares, step.step);
}

/// Waits for the steps that were queued; logs and shows them.
void Trainer::read_steps() {
  if (unread_.empty()) return;
  unread_.back().result.loss.item();
  const std::int64_t tokens = settings_.batch * settings_.window * settings_.accumulate;
  const double seconds = std::chrono::duration<double>(Clock::now() - unread_since_).count() /
                         static_cast<double>(unread_.size());
  for (const Unread& each : std::exchange(unread_, {})) {
    check(each);
    const double loss = each.result.loss.item(), norm = each.result.norm.item();
    log_->write({each.step, loss, learning_rate(settings_, each.step), norm, each.step * tokens,
                 log_->seconds() + seconds});
    progress_->step(each.step, loss, tokens, seconds);
    result_.seconds += seconds;
    result_.tokens += tokens;
  }
}

void Trainer::fail_at_loss(std::int64_t step, double loss) {
  std::string culprit;
  for (const Parameter& parameter : model_.parameters())
    if (culprit.empty() && !std::isfinite(sum_squares(parameter.variable.value()))) culprit = parameter.name;
  fail("train", "the loss at step ", step, " is ", loss,
       culprit.empty() ? "" : "; the weights are not finite from ", culprit, culprit.empty() ? "" : " on");
}

bool Trainer::evaluation_due() const {
  const bool last = state_.step == settings_.steps;
  const bool regular = settings_.eval_every > 0 && state_.step > 0 && state_.step % settings_.eval_every == 0;
  // A run that was interrupted between a step and its evaluation has the one in its log and not the other.
  return data_.held_out_size() > 0 && (last || (regular && log_->last_evaluation() < state_.step));
}

/// @returns false when it was stopped before it was done
bool Trainer::evaluate_until(const std::atomic<bool>& stop) {
  read_steps();
  const bool last = state_.step == settings_.steps;
  const std::optional<Evaluation> held_out =
      retnet::evaluate_until(stop, model_, data_, settings_.window, settings_.micro_batch, form(),
                             last ? 0 : settings_.eval_windows);
  if (!held_out) return false;
  if (log_->last_evaluation() < state_.step) log_->write(LogEvaluation{state_.step, *held_out});
  progress_->evaluation(*held_out);
  if (last) result_.held_out = *held_out;
  return true;
}

void Trainer::save() {
  read_steps();
  for (const Parameter& parameter : model_.parameters())
    require(std::isfinite(sum_squares(parameter.variable.value())), "train", parameter.name, " after step ",
            state_.step, " is not finite");
  log_->sync();  // a checkpoint never knows of steps that the log has lost
  save_checkpoint(out_, model_, optimizer_, state_);
  saved_ = state_.step;
  draw();
}

}  // namespace

RunResult train(const Run& run, const std::atomic<bool>& stop) { return Trainer(run).go(stop); }

RunResult train(const Run& run, std::optional<Interrupts>& interrupts) {
  Trainer trainer(run);
  interrupts.emplace();
  return trainer.go(interrupts->flag());
}

}  // namespace retnet
