/// @file
/// How far the three forms, and random hand-offs between them, are apart: the law that they compute one
/// function, measured.
#pragma once

#include <string>
#include <vector>

#include "retnet/model.h"

namespace retnet {

/// A part of a sequence and the form in which it runs.
struct Piece {
  Form form = Form::parallel;
  std::int64_t length = 0;  ///< steps, >= 1
  bool reference = false;   ///< the chunkwise form composed of small operations, not fused into one
};

/// A sequence of n steps cut into pieces of random lengths, each in a random form, the chunkwise one fused or
/// composed.
std::vector<Piece> random_pieces(std::int64_t n, RandomKey key);

/// What is compared, and on how much.
struct CompareOptions {
  std::int64_t batch = 2;
  std::int64_t length = 96;     ///< steps of the sequence
  std::int64_t chunk = 20;      ///< C of the chunkwise form; need not divide the length
  std::int64_t handoffs = 5;    ///< random ways to cut the sequence
  std::uint64_t seed = 1;       ///< of the data and of the cuts
  Device device = Device::cpu;  ///< where retention runs; a model runs where it is

  void validate() const;  ///< @throws Error naming the option and its range
};

/// Way number 0 .. 3 + handoffs to run the sequence: whole in the parallel form, which the others are
/// compared with, recurrent, chunkwise, and chunkwise composed; then cut at random.
std::vector<Piece> compared_pieces(const CompareOptions& options, std::int64_t way);

/// Largest differences of one way to run a sequence from the parallel form, each relative to the largest
/// number of the tensor it occurs in.
struct FormDifference {
  std::string name;      ///< "recurrent", "chunkwise", "composed" (chunkwise, not fused) or "hand-offs"
  double outputs = 0;    ///< outputs, or a model's logits
  double state = 0;      ///< state after the last step
  double gradients = 0;  ///< by q, k, v and the initial state, or by every parameter of a model

  /// The largest of the three; NaN if any is.
  double worst() const;
};

/// Retention alone, on random q, k, v and initial state with random cotangents: heads, widths, decays,
/// rotation and score norm are the config's. Cost: O(length^2) memory per head, for the parallel form.
std::vector<FormDifference> compare_retention(const Config& config, Dtype dtype,
                                              const CompareOptions& options);

/// A whole model on random tokens; the gradients are those of its mean loss.
std::vector<FormDifference> compare_model(RetNet& model, const CompareOptions& options);

/// A copy of a model in another dtype, on the same device.
RetNet converted(RetNet& model, Dtype dtype);

/// The largest difference that law 1 allows: 1e-12 in f64, 1e-4 in f32.
double form_bound(Dtype dtype);

}  // namespace retnet
