/// @file
/// What commands need of memory, held beforehand against what there is. Each number is a lower bound: nothing
/// that would run is refused, and what is refused would have been ended by the system.
#pragma once

#include <cstdint>
#include <string>

#include "retnet/compare_forms.h"
#include "train/settings.h"

namespace retnet {

/// Bytes that a run of training has at once on the CPU, at least: weights, gradients and moments, or instead
/// of the gradients what one pass keeps for them.
double training_bytes(const Config& config, const TrainSettings& settings);

/// Bytes that the logits of an evaluation take at least. @param tokens  evaluated at a time
double evaluation_bytes(const Config& config, std::int64_t tokens);

/// Bytes that comparing the forms has at once, at least: the recurrent form keeps the state after each step.
/// @param layers  with retention: of a model, or 1
double comparison_bytes(const Config& config, const CompareOptions& options, std::int64_t layers);

/// @param what    takes so much: "to keep the states of 100,000 steps"
/// @param bytes   of the host's memory
/// @param advice  what to do about it: "use a smaller batch"
/// @throws OutOfMemory that says all of it, unless so much can still be had
void require_memory(const std::string& what, double bytes, const char* advice);

}  // namespace retnet
