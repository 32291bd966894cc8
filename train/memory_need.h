/// @file
/// What commands need of memory, held beforehand against what there is. Each number is a lower bound: nothing
/// that would run is refused, and what is refused would have been ended by the system.
#pragma once

#include <cstdint>
#include <string>

#include "retnet/compare_forms.h"
#include "train/settings.h"

namespace retnet {

/// Bytes that a run of training has at once on the CPU, at least: weights, moments, and what one pass keeps
/// for the gradients or, where a thread has one pass after the other, that and the gradients.
double training_bytes(const Config& config, const TrainSettings& settings);

/// Bytes that an evaluation has at once, at least: a layer's q, k, v and outputs, or the logits.
/// @param tokens  evaluated at a time
double evaluation_bytes(const Config& config, std::int64_t tokens);

/// Bytes that comparing the forms in f64 has at once, at least. The recurrent form keeps the state
/// after each step, and a composed one the scores of a whole chunk or, in parallel, of a whole piece.
/// @param model  a whole model is compared, and not retention alone
double comparison_bytes(const Config& config, const CompareOptions& options, bool model);

/// @param what    takes so much: "to keep the states of 100,000 steps"
/// @param bytes   of the host's memory
/// @param advice  what to do about it: "use a smaller batch"
/// @throws OutOfMemory that says all of it, unless so much can still be had
void require_memory(const std::string& what, double bytes, const char* advice);

}  // namespace retnet
