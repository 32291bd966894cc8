/// @file
/// The network of a Decoder on a GPU: one step of all layers, recorded as a graph.
#pragma once

#include <optional>
#include <span>

#include "retnet/decoder_weights.h"
#include "tensor/graph.h"

namespace retnet::detail {

/// Weights, state and the numbers of a position for one batch, in memory of the GPU that stays where it is.
/// The first step runs as it is called, the second one is recorded, and from then on a step is three
/// launches: the tokens, the numbers of the position, and the graph.
class GpuDecoder {
 public:
  GpuDecoder(const RetNet& model, std::int64_t batch);

  const Tensor& step(std::span<const std::int32_t> tokens);
  void load(const ModelState& state);
  ModelState store() const;

  std::int64_t batch() const { return batch_; }
  std::int64_t position() const { return pos_; }
  std::int64_t weight_bytes() const;
  std::int64_t state_bytes() const { return (S_.size() + z_.size()) * size_of(S_.dtype()); }

 private:
  /// Of one block; undefined where the model has none.
  struct Layer {
    Tensor heads;  ///< [W_Q; W_K; W_V; W_G]
    Tensor o, w_1, w_3, w_2, head_weight, head_bias;
    Tensor norm1_weight, norm1_bias, norm2_weight, norm2_bias;
  };

  void write(std::span<const std::int32_t> tokens);
  Tensor compute() const;
  Tensor retain(std::int64_t l, const Tensor& projections, const Tensor& z_before) const;
  Tensor normalize(const Tensor& x, const Tensor& weight, const Tensor& bias) const;

  Config config_;
  std::int64_t batch_, pos_ = 0;
  std::vector<double> theta_, decays_, s_;  // of the pairs, of the heads, of layers and heads
  Tensor embedding_, head_, final_weight_, final_bias_;
  std::vector<Layer> layers_;
  Tensor gamma_;                     // [H]
  Tensor S_, z_;                     // [layers, B, H, dk, dv] and [layers, B, H, dk]
  Tensor tokens_;                    // i32 [B]
  Tensor numbers_;                   // of the position: the three below, one after the other
  Tensor cosines_, sines_, root_s_;  // [1, dk / 2], the same, [layers, H]
  Tensor logits_;                    // [B, V]
  bool warm_ = false;                // true after a step that was not a graph
  std::optional<DeviceGraph> graph_;
};

}  // namespace retnet::detail
