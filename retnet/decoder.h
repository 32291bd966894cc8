/// @file
/// Decoding: a token for a batch of sequences, in the recurrent form, at the cost of reading the weights
/// once.
#pragma once

#include <memory>
#include <span>
#include <variant>

#include "retnet/model.h"

namespace retnet {

namespace detail {
template <class W>
class DecoderNetwork;
class GpuDecoder;
}  // namespace detail

/// How a Decoder on the CPU stores its weights, and on how many threads it runs.
struct DecoderOptions {
  bool bf16_weights = false;  ///< matrices rounded to bf16, half the bytes a token reads; arithmetic in float
  int threads = 0;            ///< at most 64 are used; 0: as many as there are and as the model keeps busy
};

/// A RetNet that is ready to decode: weights packed in the order in which a token reads them, the state, and
/// every buffer. It equals RetNet::forward() in the recurrent form, to rounding.
///
/// A step costs one pass over the weights and one over the state, whatever the position; the weights serve
/// all sequences of the batch. It neither allocates nor records. On the CPU a sequence's logits have the same
/// bits alone and in any batch, on any number of threads. On a GPU a step is one kernel for the retention of
/// a layer, and the whole step one launch (DeviceGraph).
class Decoder {
 public:
  /// Packs a copy of the weights: later changes of the model do not reach it.
  /// @param batch  sequences decoded side by side, at least 1
  /// @throws Error for bf16 weights of an f64 model, or on a GPU
  explicit Decoder(const RetNet& model, std::int64_t batch = 1, const DecoderOptions& options = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  /// Logits for the tokens after these, in a buffer that the next step overwrites.
  /// @param tokens  one per sequence, each in 0 .. V-1
  /// @shape [batch, V], on the model's device and in its dtype; on the CPU rows are a multiple of 16 elements
  /// apart
  /// @throws Error for a token out of range or another number of tokens; the state is then unchanged
  const Tensor& step(std::span<const std::int32_t> tokens);

  /// Continues after what another form has read: copies a state of this batch, or one of a single sequence
  /// for every row.
  /// @throws Error for a state of another model or batch, or one whose layers are at different positions
  void load(const ModelState& state);

  /// A copy of the state, for any form to go on from.
  ModelState store() const;

  std::int64_t batch() const;         ///< sequences side by side
  std::int64_t position() const;      ///< steps so far
  std::int64_t weight_bytes() const;  ///< packed weights, all of which a step reads
  std::int64_t state_bytes() const;   ///< S and z of the batch, all of which a step reads and writes

 private:
  template <class W>
  using Network = std::unique_ptr<detail::DecoderNetwork<W>>;
  std::variant<Network<float>, Network<double>, Network<bf16>, std::unique_ptr<detail::GpuDecoder>> network_;
};

}  // namespace retnet
