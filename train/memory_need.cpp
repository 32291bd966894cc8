#include "train/memory_need.h"

#include <algorithm>
#include <cmath>

#include "kernels/parallel.h"
#include "tensor/memory_limit.h"

namespace retnet {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }

/// Numbers per token that a layer keeps until its gradient is known: its input and that of its second norm,
/// q, k, v, the gate, retention's output before and after the head norm, and the hidden numbers of the
/// feed-forward network, before and after the activation.
double kept_by_layer(const Config& config) {
  const bool gate = config.gate != Activation::none, activation = config.ffn_activation != Activation::none;
  return real(2 * config.d_model + 2 * config.key_width + (gate ? 4 : 2) * config.value_width +
              (activation ? 2 : 1) * config.ffn_width);
}

/// The logits, and at the beginning of backward() their gradient.
double kept_of_logits(const Config& config) { return real(2 * config.vocab); }

/// Numbers that running a sequence in one way has at once, at least.
struct Kept {
  double numbers = 0;  ///< from when they are computed to the end
  double passing = 0;  ///< beside them, while the gradient of the largest piece's scores is computed
  double ending = 0;   ///< beside them, when the gradient has come to the beginning of the sequence
  double graph = 0;    ///< bytes, of the operations' nodes and rules
};

/// What one layer's retention on one piece adds. A recurrent piece keeps the state after each step, a
/// composed one the scores of each chunk and the table of decays, and their gradient takes twice as much as
/// one chunk's.
void add_piece(const Config& config, const CompareOptions& options, const Piece& piece, Kept& kept) {
  const double length = real(piece.length), batch = real(options.batch);
  const double keys = real(config.key_width), values = real(config.value_width);
  if (piece.form == Form::recurrent) {
    kept.numbers += batch * length * keys * real(config.dv() + 1);
    // The gradients of q, k and v step by step, and that of the output.
    kept.ending += batch * length * (2 * keys + 2 * values);
    // A step is some 20 operations of some 700 bytes each, a third of which divide by the score norm.
    kept.graph += length * (config.score_norm == ScoreNorm::none ? 9000 : 13000);
    // The output of each step, and all of them as one.
    if (config.score_norm != ScoreNorm::none && piece.length > 1) kept.numbers += batch * length * values;
  } else if (piece.reference) {
    const std::int64_t chunk =
        piece.form == Form::parallel ? piece.length : std::min(options.chunk, piece.length);
    const double square = real(config.heads) * real(chunk) * real(chunk);
    kept.numbers += batch * std::floor(length / real(chunk)) * square + square;
    kept.passing = std::max(kept.passing, 2 * batch * square);
  }
}

}  // namespace

double training_bytes(const Config& config, const TrainSettings& settings) {
  const double weights = 4 * real(config.parameters());
  const double layer = kept_by_layer(config), layers = real(config.layers);
  const double numbers =
      settings.recompute
          ? layers * real(config.d_model) + std::max(layer - real(config.d_model), kept_of_logits(config))
          : layers * layer + kept_of_logits(config);
  const std::int64_t windows = std::min(settings.batch, settings.micro_batch);
  const double kept = 4 * real(windows) * real(settings.window) * numbers;
  // Weights and two moments of each. The first pass leaves gradients, which a thread's second one adds to.
  const std::int64_t passes = (settings.batch + settings.micro_batch - 1) / settings.micro_batch;
  const bool again = passes * settings.accumulate > kernels::num_threads();
  return again ? 4 * weights + kept : std::max(4 * weights, 3 * weights + kept);
}

double evaluation_bytes(const Config& config, std::int64_t tokens) {
  // A layer's input, before and after the norm, q, k, v, the gate, and retention's output before and after
  // the head norm; or the logits and what they are made of.
  const bool gate = config.gate != Activation::none;
  const std::int64_t layer = 2 * config.d_model + 2 * config.key_width + (gate ? 4 : 3) * config.value_width;
  return 4 * real(tokens) * real(std::max(layer, config.vocab + config.d_model));
}

double comparison_bytes(const Config& config, const CompareOptions& options, bool model) {
  const double tokens = real(options.batch) * real(options.length), layers = model ? real(config.layers) : 1;
  const double keys = real(config.key_width), values = real(config.value_width);
  const double rotated = config.rotation == Rotation::none ? 0 : 2 * keys;
  // Of a model the weights and what each layer keeps; of retention alone its inputs, rotated, and its output.
  // Of the parallel form, which all are compared with, the output and the gradients.
  const double parameters = model ? real(config.parameters()) : 0;
  const double always =
      model ? 2 * parameters + tokens * (layers * kept_by_layer(config) + 2 * real(config.vocab))
            : tokens * (4 * keys + 5 * values + rotated);
  double most = 0;
  for (std::int64_t way = 1; way < 4 + options.handoffs; ++way) {
    Kept kept;
    for (const Piece& piece : compared_pieces(options, way)) add_piece(config, options, piece, kept);
    const double ending = model ? parameters : kept.ending;
    const double numbers = layers * kept.numbers + std::max(kept.passing, ending);
    most = std::max(most, 8 * numbers + layers * kept.graph);
  }
  return 8 * always + most;
}

void require_memory(const std::string& what, double bytes, const char* advice) {
  const MemoryLeft left = memory_left();
  if (bytes <= static_cast<double>(left.bytes)) return;
  const MemorySize needed(static_cast<std::int64_t>(std::min(bytes, 0x1p62))), there(left.bytes);
  throw OutOfMemory("%s takes at least %s, %s %s; %s", what.c_str(), needed.text, there.text, left.limit,
                    advice);
}

}  // namespace retnet
