/// @file
/// How a run begins or goes on: which folders are refused, what must agree, and what is written before the
/// first step.
#pragma once

#include <functional>

#include "train/checkpoint.h"
#include "train/run.h"

namespace retnet {

/// Reads only. @throws Error unless a run may begin in the folder: it holds no file that a run would write
/// over, or a run of this program of which no step is saved, or any run of this program and run.overwrite
void require_free(const Run& run);

/// @throws Error naming the first member in which a model is not as it was. @param path  names it in messages
void require_same_config(const Config& own, const Config& given, const std::string& path);

/// @throws Error naming the first member in which `run` is not the run that `begun` is: of the model, the
/// seed, or, unless run.extend, of the settings or the data. save_every, eval_every, eval_windows and
/// recompute, which change no weight, may differ.
/// @param state  of a trainer that would begin `run`
void require_same_run(const BegunRun& begun, const Run& run, const TrainerState& state);

/// Begins a run in its folder, or loads the newest checkpoint of the one that goes on there.
/// @param state     of a trainer that would begin `run`; becomes that of the run
/// @param accepted  called when the run is not refused, before anything says that it has begun
/// @throws Error when `run` is refused; nothing in the folder is then changed
void begin_or_resume(const Run& run, RetNet& model, Optimizer& optimizer, TrainerState& state,
                     const std::function<void()>& accepted);

}  // namespace retnet
