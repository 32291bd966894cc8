/// @file
/// The network of a Decoder: one step of all layers, shared by a team of threads.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/phases.h"
#include "retnet/decoder_weights.h"

namespace retnet::detail {

/// One of `count` equal parts of work that is cut by the problem.
struct Part {
  int index = 0, count = 1;

  /// The pieces first .. last - 1 of n that are in it.
  std::pair<std::int64_t, std::int64_t> of(std::int64_t n) const {
    return {n * index / count, n * (index + 1) / count};
  }
};

/// Neighbouring sequences of a batch.
struct Rows {
  std::int64_t first = 0, count = 0;
};

/// @throws Error unless a decoder of this batch and dtype can go on from the state
void check_state(const ModelState& state, const Config& config, std::int64_t batch, Dtype dtype);

/// @throws Error unless there is one token in 0 .. V-1 for each sequence
void check_tokens(std::span<const std::int32_t> tokens, const Config& config, std::int64_t batch);

/// Weights, state and buffers for one batch, and the step. W is what weights are stored as; arithmetic, state
/// and logits are in A.
template <class W>
class DecoderNetwork {
 public:
  using A = accum_t<W>;

  /// @param threads  the most that a step runs on
  DecoderNetwork(const RetNet& model, std::int64_t batch, int threads);

  const Tensor& step(std::span<const std::int32_t> tokens);
  void load(const ModelState& state);
  ModelState store() const;

  std::int64_t batch() const { return batch_; }
  std::int64_t position() const { return pos_; }
  std::int64_t weight_bytes() const { return weights_.bytes(); }
  std::int64_t state_bytes() const { return (S_.size() + z_.size()) * size_of(dtype_of<A>); }

 private:
  void begin(std::span<const std::int32_t> tokens);
  void run(int phase, Rows rows, Part part, A* scratch, bool normalized);
  void retain(std::int64_t l, std::int64_t h, Rows rows, const A* normed, A* row);
  void mix(std::int64_t l, std::int64_t h, std::int64_t b, A* row);
  void feed(std::int64_t l, Rows rows, Part part, const A* normed);
  void product(A* y, const A* x, std::int64_t x_step, const Packed<W>& w, Rows rows, Part part, bool add);
  void normalize(A* y, const A* x, std::int64_t n, NormKind kind, double eps, const Affine<A>& affine);
  void normalize(A* y, Rows rows, const Affine<A>& affine);
  A* S(std::int64_t l, std::int64_t b, std::int64_t h) const;
  A* z(std::int64_t l, std::int64_t b, std::int64_t h) const;

  Config config_;
  DecoderWeights<W> weights_;
  HeadRow head_row_;
  std::int64_t batch_, pos_ = 0;
  int threads_;
  std::unique_ptr<kernels::Phases> phases_;
  struct alignas(64) Phase {
    int number;
  };
  std::vector<Phase> normalized_;            // the phase whose norms are in a thread's scratch
  std::vector<double> theta_, gamma_, s_;    // of the pairs, of the heads, of layers and heads
  std::vector<A> cosines_, sines_, root_s_;  // at the position of the step
  Tensor S_;                                 // [layers, B, H, tiles of dv, dk, kTile]
  Tensor z_;                                 // [layers, B, H, padded dk]
  Tensor x_;                                 // the residual stream: [B, padded d]
  Tensor mixed_, hidden_, linear_;  // [B, H dv], [B, padded ffn width] and, for FfnKind::glu, the same
  Tensor scratch_;                  // of each thread
  Tensor logits_;                   // [B, V], a view of rows that are padded
};

}  // namespace retnet::detail
