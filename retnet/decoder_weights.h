/// @file
/// The weights of a RetNet as a Decoder reads them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/decode.h"
#include "retnet/model.h"

namespace retnet::detail {

/// The tensors of a model by their names.
class Parameters {
 public:
  explicit Parameters(RetNet model);  ///< a copy shares the weights
  bool has(const std::string& name) const { return tensors_.count(name) > 0; }
  const Tensor& operator[](const std::string& name) const { return tensors_.at(name); }
  /// The tensor, or an undefined one.
  Tensor get(const std::string& name) const { return has(name) ? (*this)[name] : Tensor(); }

 private:
  std::map<std::string, Tensor> tensors_;
};

/// W of y = x W^T, in tiles of output columns; no tiles where the model has no such matrix.
template <class W>
struct Packed {
  const W* tiles = nullptr;
  std::int64_t out = 0, in = 0;

  /// The tiles from number t on.
  const W* from(std::int64_t t) const { return tiles + t * in * kernels::kTile; }
};

/// Weight and bias of a norm, null where there is none.
template <class A>
struct Affine {
  const A *weight = nullptr, *bias = nullptr;

  Affine from(std::int64_t at) const { return {weight ? weight + at : nullptr, bias ? bias + at : nullptr}; }
};

/// The matrices of one block. `heads` has the rows of W_Q, W_K, W_V and W_G that belong to a head side by
/// side, head after head, so that one product gives all that a head needs.
template <class W>
struct PackedLayer {
  Affine<accum_t<W>> norm1, head_norm, norm2;
  Packed<W> heads, o, w_1, w_3, w_2;
};

/// Where q, k, v and g stand in the row that the product with one head's weights gives; each is padded with
/// zeros to whole tiles.
struct HeadRow {
  explicit HeadRow(const Config& config);
  std::int64_t k, v, g, width;  ///< q is at 0; width is that of the row
};

/// All weights of a model, copied. Matrices are stored as W, everything else as it is.
template <class W>
class DecoderWeights {
 public:
  using A = accum_t<W>;
  explicit DecoderWeights(const RetNet& model);

  const A* embedding() const { return embedding_.data<A>(); }  ///< [V, d], already scaled
  const PackedLayer<W>& layer(std::int64_t l) const { return layers_[static_cast<std::size_t>(l)]; }
  const Affine<A>& final_norm() const { return final_norm_; }
  const Packed<W>& head() const { return head_; }
  std::int64_t bytes() const { return tiles_.size() * size_of(tiles_.dtype()); }

 private:
  Tensor tiles_, embedding_;
  std::vector<Tensor> vectors_;
  std::vector<PackedLayer<W>> layers_;
  Affine<A> final_norm_;
  Packed<W> head_;
};

}  // namespace retnet::detail
