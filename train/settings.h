/// @file
/// How to train: everything about a run that is not the network itself.
#pragma once

#include "retnet/fields.h"
#include "retnet/retention.h"

namespace retnet {

template <>
struct Names<Form> {
  static constexpr const char* list[] = {"parallel", "recurrent", "chunkwise"};
};

/// Course of the learning rate after the warm-up.
enum class Decay {
  constant,
  linear,  ///< to learning_rate * final_lr at the last step, as in the paper
  cosine,  ///< half a cosine to the same end
};
template <>
struct Names<Decay> {
  static constexpr const char* list[] = {"constant", "linear", "cosine"};
};

/// Settings of a training run. With the data and the config they determine every weight, bit for bit, on any
/// number of threads.
struct TrainSettings {
  std::int64_t steps = 1000;  ///< optimiser steps in all
  std::int64_t batch = 16;    ///< windows drawn at a time
  /// How many of them one pass through the network takes; see usual_micro_batch(). On the CPU, passes run
  /// side by side, one on each thread.
  std::int64_t micro_batch = 2;
  std::int64_t window = 256;    ///< tokens per window
  std::int64_t accumulate = 1;  ///< times a step draws; it sees batch * accumulate windows
  std::int64_t seed = 1;        ///< of the weights, the windows and dropout
  Form form = Form::chunkwise;  ///< in which training runs
  bool reference = false;       ///< run the composed chunkwise form instead of the fused one
  double learning_rate = 3e-3;  ///< at the end of the warm-up
  Decay decay = Decay::linear;
  /// Steps of linear warm-up; a shorter run ends within it. See usual_warmup().
  std::int64_t warmup = 600;
  double final_lr = 0.1;             ///< learning rate at the end, as a fraction
  double beta1 = 0.9, beta2 = 0.98;  ///< of AdamW
  double weight_decay = 0.05;        ///< decoupled, on matrices only
  double clip = 2.0;                 ///< largest global norm of the gradient; 0 does not clip
  double dropout = 0;
  bool recompute = false;          ///< compute activations twice instead of keeping them
  double held_out = 0.1;           ///< fraction at the end of the data that is not trained on
  std::int64_t eval_every = 100;   ///< steps between evaluations on the held-out part; 0: at the end only
  std::int64_t eval_windows = 64;  ///< windows of each such evaluation; the last one reads everything
  std::int64_t save_every = 500;   ///< steps between checkpoints; the last step is always saved

  /// @throws Error naming the first field that is out of range, and what it must be
  void validate() const;
};

/// Calls `visit(key, field, help)` for every field: the one list behind files, flags and help.
template <class S, class Visit>
requires std::same_as<std::remove_const_t<S>, TrainSettings>
void for_each_field(S& s, Visit&& visit) {
  visit("steps", s.steps, "optimiser steps in all");
  visit("batch", s.batch, "windows drawn at a time");
  visit("window", s.window, "tokens per window");
  visit("micro_batch", s.micro_batch,
        "windows per pass through the network; else as suits the batch, on a GPU all of it");
  visit("accumulate", s.accumulate, "batches per step");
  visit("seed", s.seed, "seed of the weights, the windows and dropout");
  visit("form", s.form, "form of retention: parallel, recurrent or chunkwise");
  visit("reference", s.reference, "run the composed chunkwise form, not the fused one");
  visit("learning_rate", s.learning_rate, "learning rate at the end of the warm-up");
  visit("decay", s.decay, "course after it: constant, linear or cosine");
  visit("warmup", s.warmup, "steps of linear warm-up; else the share of all steps that it is here");
  visit("final_lr", s.final_lr, "learning rate at the last step, as a fraction");
  visit("beta1", s.beta1, "decay of AdamW's mean");
  visit("beta2", s.beta2, "decay of AdamW's mean square");
  visit("weight_decay", s.weight_decay, "decoupled weight decay, on matrices only");
  visit("clip", s.clip, "largest global norm of the gradient; 0 does not clip");
  visit("dropout", s.dropout, "probability of dropout");
  visit("recompute", s.recompute, "compute activations twice instead of keeping them");
  visit("held_out", s.held_out, "fraction at the end of the data that is not trained on");
  visit("eval_every", s.eval_every, "steps between evaluations; 0: at the end only");
  visit("eval_windows", s.eval_windows, "windows of each such evaluation");
  visit("save_every", s.save_every, "steps between checkpoints");
}

/// Learning rate of step 1 .. steps.
double learning_rate(const TrainSettings& settings, std::int64_t step);

}  // namespace retnet
