// The state of a decoder and the state of the forms: the same numbers, in tiles of columns and in rows.

#include <algorithm>

#include "retnet/decoder_network.h"
#include "tensor/ops.h"

namespace retnet::detail {
namespace {

using kernels::kTile;
using kernels::padded;
using kernels::tiles_of;

/// Calls `copy(tile element, row element)` for every element of one head's S.
template <class Copy>
void for_each_element(std::int64_t dk, std::int64_t dv, Copy&& copy) {
  for (std::int64_t i = 0; i < dk; ++i)
    for (std::int64_t j = 0; j < dv; ++j) copy((j / kTile * dk + i) * kTile + j % kTile, i * dv + j);
}

}  // namespace

void check_state(const ModelState& state, const Config& c, std::int64_t batch, Dtype dtype) {
  require(static_cast<std::int64_t>(state.layers.size()) == c.layers, "decode", "the state is of ",
          state.layers.size(), " layers, the model has ", c.layers);
  for (const RetentionState& layer : state.layers) {
    require(layer.S.defined() && layer.z.defined(), "decode", "the state has a layer without S or z");
    const std::int64_t B = layer.S.rank() > 0 ? layer.S.dim(0) : 0;
    require(B == batch || B == 1, "decode", "the state must be of ", batch,
            " sequences, or of one for all of them, got S ", layer.S.shape());
    require(layer.S.shape() == Shape{B, c.heads, c.dk(), c.dv()} &&
                layer.z.shape() == Shape{B, c.heads, c.dk()} &&
                static_cast<std::int64_t>(layer.s.size()) == c.heads,
            "decode", "the state does not fit the model's ", c.heads, " heads of dk ", c.dk(), " and dv ",
            c.dv(), ", got S ", layer.S.shape(), " and z ", layer.z.shape());
    require(layer.S.dtype() == dtype && layer.z.dtype() == dtype, "decode", "the state must be ", dtype,
            ", as the model is, got ", layer.S.dtype());
    require(layer.pos == state.layers[0].pos && layer.pos >= 0, "decode",
            "the layers of a state must be at one position, got ", state.layers[0].pos, " and ", layer.pos);
  }
}

template <class W>
void DecoderNetwork<W>::load(const ModelState& state) {
  const std::int64_t H = config_.heads, dk = config_.dk(), dv = config_.dv();
  check_state(state, config_, batch_, dtype_of<A>);
  for (std::int64_t l = 0; l < config_.layers; ++l) {
    const RetentionState& layer = state.layers[static_cast<std::size_t>(l)];
    const Tensor S_l = contiguous(layer.S.value()), z_l = contiguous(layer.z.value());
    for (std::int64_t b = 0; b < batch_; ++b)
      for (std::int64_t h = 0; h < H; ++h) {
        const std::int64_t from = (S_l.dim(0) == 1 ? 0 : b) * H + h;
        A* tiles = S(l, b, h);
        const A* rows = S_l.data<A>() + from * dk * dv;
        for_each_element(dk, dv, [&](std::int64_t tile, std::int64_t row) { tiles[tile] = rows[row]; });
        std::copy_n(z_l.data<A>() + from * dk, dk, z(l, b, h));
      }
    std::copy_n(layer.s.begin(), H, s_.begin() + l * H);
  }
  pos_ = state.layers[0].pos;
}

template <class W>
ModelState DecoderNetwork<W>::store() const {
  const std::int64_t H = config_.heads, dk = config_.dk(), dv = config_.dv();
  ModelState state;
  for (std::int64_t l = 0; l < config_.layers; ++l) {
    const Tensor S_l = Tensor::empty({batch_, H, dk, dv}, dtype_of<A>);
    const Tensor z_l = Tensor::empty({batch_, H, dk}, dtype_of<A>);
    for (std::int64_t bh = 0; bh < batch_ * H; ++bh) {
      const A* tiles = S(l, bh / H, bh % H);
      A* rows = S_l.data<A>() + bh * dk * dv;
      for_each_element(dk, dv, [&](std::int64_t tile, std::int64_t row) { rows[row] = tiles[tile]; });
      std::copy_n(z(l, bh / H, bh % H), dk, z_l.data<A>() + bh * dk);
    }
    state.layers.push_back(
        {Variable(S_l), Variable(z_l), {s_.begin() + l * H, s_.begin() + (l + 1) * H}, pos_});
  }
  return state;
}

#define RETNET_DECODER_STATE(W)                             \
  template void DecoderNetwork<W>::load(const ModelState&); \
  template ModelState DecoderNetwork<W>::store() const;
RETNET_DECODER_STATE(float)
RETNET_DECODER_STATE(double)
RETNET_DECODER_STATE(bf16)

}  // namespace retnet::detail
