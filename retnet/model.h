/// @file
/// RetNet: tokens in, logits out.
#pragma once

#include "retnet/block.h"

namespace retnet {

/// What decoding carries from token to token: one retention state per block. Constant in size.
struct ModelState {
  std::vector<RetentionState> layers;
};

/// How to run a forward pass.
struct ForwardOptions {
  FormOptions form;
  Dropout dropout;         ///< training only
  bool recompute = false;  ///< compute each block again in backward() instead of keeping its activations
};

/// The network: embedding, blocks, final norm, output projection.
class RetNet {
 public:
  /// A freshly initialised network; equal config, seed and dtype give equal weights, bit for bit.
  /// @throws Error for a config that validate() refuses
  explicit RetNet(const Config& config, std::uint64_t seed = 1, Dtype dtype = Dtype::f32);

  const Config& config() const { return config_; }
  Dtype dtype() const { return dtype_; }
  Device device() const { return embedding_.device(); }  ///< where the parameters are, and so the results

  /// Moves the parameters to a device; a model is made on the CPU.
  void to(Device device);

  /// Logits for the next token at every position, from the zero state.
  /// @param tokens  i32 [B, N], each in 0 .. V-1; B and N may be 0
  /// @shape [B, N, V]
  Variable forward(const Tensor& tokens, const ForwardOptions& options = {}) const;

  /// The same after `state`, which is replaced by the state after the last token. Nothing is recomputed.
  Variable forward(const Tensor& tokens, ModelState& state, const ForwardOptions& options = {}) const;

  /// The state before the first token.
  ModelState initial_state(std::int64_t batch) const;

  /// Mean cross-entropy in nats of predicting each target, as a scalar.
  /// @param targets  i32 [B, N]: the token after each one. @throws Error where there is none
  Variable loss(const Tensor& tokens, const Tensor& targets, const ForwardOptions& options = {}) const;

  /// All parameters, in a fixed order, by their checkpoint names: embed.weight, layers.0.q.weight, ...
  std::vector<Parameter> parameters();

 private:
  Variable embed(const Tensor& tokens, const ForwardOptions& options) const;
  Variable head(const Variable& x, bool reference) const;

  Config config_;
  Dtype dtype_;
  Variable embedding_;  ///< [V, d]
  std::vector<Block> blocks_;
  Norm final_norm_;
  Linear head_;  ///< no weight of its own when config.tie_head
};

/// Checkpoint form of a model: config.json and model.safetensors in one folder.
/// @throws Error when writing fails; each file is whole or absent
void save_model(const std::string& folder, RetNet& model);

/// Reads what save_model() wrote. @throws Error naming the file, and the tensor or the field that does not
/// fit: one that is missing, unknown, of another shape or dtype than the config asks for, or not finite
RetNet load_model(const std::string& folder);

}  // namespace retnet
