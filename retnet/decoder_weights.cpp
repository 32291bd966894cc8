#include "retnet/decoder_weights.h"

#include "tensor/ops.h"

namespace retnet::detail {
namespace {

/// Elements that the packed matrices of a model take.
std::int64_t packed_elements(const Config& c) {
  using kernels::padded;
  const std::int64_t ffn = (c.ffn == FfnKind::glu ? 2 : 1) * c.d_model * padded(c.ffn_width);
  const std::int64_t layer = c.heads * HeadRow(c).width * c.d_model + padded(c.d_model) * c.value_width +
                             padded(c.d_model) * c.ffn_width + ffn;
  return c.layers * layer + padded(c.vocab) * c.d_model;
}

/// Puts one matrix after the other.
template <class W>
class Packer {
 public:
  explicit Packer(W* tiles) : next_(tiles) {}

  Packed<W> pack(const Tensor& weight) { return pack(weight, 0, weight.dim(0)); }

  /// Rows first .. first + out - 1 of a weight.
  Packed<W> pack(const Tensor& weight, std::int64_t first, std::int64_t out) {
    const Packed<W> packed{next_, out, weight.dim(1)};
    kernels::pack_tiles(kernels::Cpu{}, next_, weight.data<accum_t<W>>() + first * packed.in, out, packed.in);
    next_ += kernels::padded(out) * packed.in;
    return packed;
  }

 private:
  W* next_;
};

}  // namespace

Parameters::Parameters(RetNet model) {
  for (const Parameter& parameter : model.parameters())
    tensors_[parameter.name] = contiguous(parameter.variable.value());
}

HeadRow::HeadRow(const Config& config)
    : k(kernels::padded(config.dk())),
      v(2 * k),
      g(v + kernels::padded(config.dv())),
      width(config.gate == Activation::none ? g : g + kernels::padded(config.dv())) {}

template <class W>
DecoderWeights<W>::DecoderWeights(const RetNet& model) {
  const Config& c = model.config();
  const Parameters parameters(model);
  tiles_ = Tensor::empty({packed_elements(c)}, dtype_of<W>);
  embedding_ = mul(parameters["embed.weight"], c.embed_scale);

  const auto affine = [&](const std::string& name) {
    Affine<A> norm;
    for (const auto& [part, pointer] : {std::pair(".weight", &norm.weight), std::pair(".bias", &norm.bias)})
      if (parameters.has(name + part)) {
        vectors_.push_back(clone(parameters[name + part]));
        *pointer = vectors_.back().template data<A>();
      }
    return norm;
  };
  Packer<W> packer(tiles_.data<W>());
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const std::string name = "layers." + std::to_string(l) + ".";
    PackedLayer<W> layer{
        affine(name + "norm1"), affine(name + "head_norm"), affine(name + "norm2"), {}, {}, {}, {}, {}};
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const Packed<W> q = packer.pack(parameters[name + "q.weight"], h * c.dk(), c.dk());
      if (h == 0) layer.heads = {q.tiles, c.heads * HeadRow(c).width, c.d_model};
      packer.pack(parameters[name + "k.weight"], h * c.dk(), c.dk());
      packer.pack(parameters[name + "v.weight"], h * c.dv(), c.dv());
      if (c.gate != Activation::none) packer.pack(parameters[name + "g.weight"], h * c.dv(), c.dv());
    }
    layer.o = packer.pack(parameters[name + "o.weight"]);
    layer.w_1 = packer.pack(parameters[name + "ffn.act.weight"]);
    if (c.ffn == FfnKind::glu) layer.w_3 = packer.pack(parameters[name + "ffn.lin.weight"]);
    layer.w_2 = packer.pack(parameters[name + "ffn.down.weight"]);
    layers_.push_back(layer);
  }
  final_norm_ = affine("final_norm");
  head_ = packer.pack(parameters[c.tie_head ? "embed.weight" : "head.weight"]);
}

template class DecoderWeights<float>;
template class DecoderWeights<double>;
template class DecoderWeights<bf16>;

}  // namespace retnet::detail
