#include "retnet/decoder_gpu.h"

#include <cmath>

#include "kernels/retention.h"
#include "retnet/decay.h"
#include "retnet/decoder_network.h"
#include "retnet/rotation.h"
#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet::detail {
namespace {

/// Part of a vector, as a tensor of its own shape.
Tensor part(const Tensor& vector, std::int64_t begin, const Shape& shape) {
  return {vector.storage(), vector.offset() + begin, shape, contiguous_strides(shape), vector.dtype()};
}

}  // namespace

GpuDecoder::GpuDecoder(const RetNet& model, std::int64_t batch)
    : config_(model.config()),
      batch_(batch),
      theta_(rotation_angles(config_.rotation, config_.dk())),
      decays_(decays(config_)),
      s_(static_cast<std::size_t>(config_.layers * config_.heads)) {
  const Config& c = config_;
  const Parameters parameters(model);
  embedding_ = mul(parameters["embed.weight"], c.embed_scale);
  head_ = clone(parameters[c.tie_head ? "embed.weight" : "head.weight"]);
  final_weight_ = clone(parameters["final_norm.weight"]);
  if (parameters.has("final_norm.bias")) final_bias_ = clone(parameters["final_norm.bias"]);
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const auto copy = [&, name = "layers." + std::to_string(l) + "."](const char* of) {
      const Tensor weight = parameters.get(name + of);
      return weight.defined() ? clone(weight) : weight;
    };
    // Keys are divided by sqrt(dk), Eq. (5), in their weights: queries and keys then turn together.
    const double scale = 1 / std::sqrt(static_cast<double>(c.dk()));
    std::vector<Tensor> heads{copy("q.weight"), mul(copy("k.weight"), scale), copy("v.weight")};
    if (c.gate != Activation::none) heads.push_back(copy("g.weight"));
    layers_.push_back({concat(heads, 0), copy("o.weight"), copy("ffn.act.weight"), copy("ffn.lin.weight"),
                       copy("ffn.down.weight"), copy("head_norm.weight"), copy("head_norm.bias"),
                       copy("norm1.weight"), copy("norm1.bias"), copy("norm2.weight"), copy("norm2.bias")});
  }
  const Dtype dtype = model.dtype();
  const auto pairs = static_cast<std::int64_t>(theta_.size());
  gamma_ = astype(Tensor::from(decays_, {c.heads}), dtype).to(Device::hip);
  S_ = Tensor::zeros({c.layers, batch, c.heads, c.dk(), c.dv()}, dtype, Device::hip);
  z_ = Tensor::zeros({c.layers, batch, c.heads, c.dk()}, dtype, Device::hip);
  tokens_ = Tensor::zeros({batch}, Dtype::i32, Device::hip);
  numbers_ = Tensor::zeros({2 * pairs + c.layers * c.heads}, dtype, Device::hip);
  cosines_ = part(numbers_, 0, {1, pairs}), sines_ = part(numbers_, pairs, {1, pairs});
  root_s_ = part(numbers_, 2 * pairs, {c.layers, c.heads});
}

const Tensor& GpuDecoder::step(std::span<const std::int32_t> tokens) {
  check_tokens(tokens, config_, batch_);
  write(tokens);
  if (!warm_ || !DeviceGraph::possible(Device::hip)) {
    logits_ = compute();
    warm_ = true;
  } else {
    if (!graph_) graph_.emplace([&] { logits_ = compute(); });
    graph_->run();
  }
  ++pos_;
  return logits_;
}

/// The tokens, and the angles and the sums s_n at this position.
void GpuDecoder::write(std::span<const std::int32_t> tokens) {
  tokens_.assign(Tensor::from(std::vector<std::int32_t>(tokens.begin(), tokens.end()), {batch_}));
  std::vector<double> numbers;
  for (const double theta : theta_)
    numbers.push_back(std::cos(static_cast<double>(pos_) * theta));  // Eq. (R1)
  for (const double theta : theta_) numbers.push_back(std::sin(static_cast<double>(pos_) * theta));
  for (std::size_t i = 0; i < s_.size(); ++i) {
    s_[i] = decays_[i % decays_.size()] * s_[i] + 1;  // Eq. (R3)
    numbers.push_back(std::sqrt(s_[i]));
  }
  numbers_.assign(astype(Tensor::from(numbers, numbers_.shape()), numbers_.dtype()));
}

// [gpu-step]
/// The logits after the tokens that write() wrote; moves the state.
Tensor GpuDecoder::compute() const {
  const Tensor z_before = clone(z_);
  Tensor x = embedding(embedding_, tokens_);
  for (std::int64_t l = 0; l < config_.layers; ++l) {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const Tensor normed = normalize(x, layer.norm1_weight, layer.norm1_bias);
    const Tensor mixed = retain(l, matmul(normed, layer.heads, false, true), select(z_before, 0, l));
    const Tensor y = linear(mixed, layer.o, x);  // Eq. (9): y  = MSR(LN(x)) + x
    const Tensor inner = normalize(y, layer.norm2_weight, layer.norm2_bias);
    Tensor hidden = linear(inner, layer.w_1, config_.ffn_activation).y;
    if (layer.w_3.defined()) hidden = mul(hidden, linear(inner, layer.w_3));
    x = linear(hidden, layer.w_2, y);  // Eq. (9): x' = FFN(LN(y)) + y
  }
  return matmul(normalize(x, final_weight_, final_bias_), head_, false, true);
}
// [gpu-step]

/// Retention of one token, from the row of queries, keys, values and gates, to what W_O is applied to.
Tensor GpuDecoder::retain(std::int64_t l, const Tensor& row, const Tensor& z_before) const {
  const Config& c = config_;
  const std::int64_t width = row.dim(1), dk = c.dk(), dv = c.dv();
  const auto heads = [&](std::int64_t begin, std::int64_t count, std::int64_t size) {
    return Tensor(row.storage(), row.offset() + begin, {batch_, 1, count, size}, {width, width, size, 1},
                  row.dtype());
  };
  if (!theta_.empty()) rotate_in_place(heads(0, 2 * c.heads, dk), cosines_, sines_, 1, false);  // q and k
  const Tensor q = heads(0, c.heads, dk), k = heads(c.key_width, c.heads, dk);
  const Tensor v = heads(2 * c.key_width, c.heads, dv);
  const Tensor o = Tensor::empty({batch_, c.value_width}, row.dtype(), row.device());
  on_gpu("decode", [&](auto exec) {
    with_type("decode", row.dtype(), [&]<class T>(Type<T>) {
      if constexpr (!std::is_same_v<T, bf16>) {
        kernels::RetentionStep<T> s;
        s.batch = batch_, s.heads = c.heads, s.dk = dk, s.dv = dv;
        s.q = s.k = {width, dk}, s.v = {width, dv}, s.o = {c.value_width, dv};
        s.q_n = q.data<T>(), s.k_n = k.data<T>(), s.v_n = v.data<T>();
        s.gamma = gamma_.data<T>();
        if (c.score_norm != ScoreNorm::none) s.root_s = select(root_s_, 0, l).template data<T>();
        s.S = select(S_, 0, l).template data<T>(), s.S_before = s.S;
        s.z = select(z_, 0, l).template data<T>(), s.z_before = z_before.data<T>();
        s.o_n = o.data<T>();
        retention_step(exec, s);  // Eq. (6), for all heads
      }
    });
  });
  GroupNormInputs norm{o,
                       layers_[static_cast<std::size_t>(l)].head_weight,
                       layers_[static_cast<std::size_t>(l)].head_bias,
                       Tensor(),
                       {c.heads, c.head_norm_eps, c.head_norm == NormKind::layer, c.gate}};
  if (c.gate != Activation::none)
    norm.gate = slice(row, 1, 2 * c.key_width + c.value_width, 2 * c.key_width + 2 * c.value_width);
  return group_norm(norm).y;  // Eq. (8)
}

Tensor GpuDecoder::normalize(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
  return group_norm({x,
                     weight,
                     bias,
                     Tensor(),
                     {1, config_.block_norm_eps, config_.block_norm == NormKind::layer, Activation::none}})
      .y;
}

void GpuDecoder::load(const ModelState& state) {
  check_state(state, config_, batch_, S_.dtype());
  for (std::int64_t l = 0; l < config_.layers; ++l) {
    const RetentionState& layer = state.layers[static_cast<std::size_t>(l)];
    const auto copy = [&](const Tensor& all, const Tensor& from) {
      const Tensor to = select(all, 0, l);
      copy_into(to, broadcast_to(from.to(Device::hip), to.shape()));
    };
    copy(S_, layer.S.value()), copy(z_, layer.z.value());
    std::copy(layer.s.begin(), layer.s.end(), s_.begin() + l * config_.heads);
  }
  pos_ = state.layers[0].pos;
}

ModelState GpuDecoder::store() const {
  ModelState state;
  for (std::int64_t l = 0; l < config_.layers; ++l) {
    const auto s = s_.begin() + l * config_.heads;
    state.layers.push_back(
        {Variable(clone(select(S_, 0, l))), Variable(clone(select(z_, 0, l))), {s, s + config_.heads}, pos_});
  }
  return state;
}

std::int64_t GpuDecoder::weight_bytes() const {
  std::int64_t elements = head_.size();
  for (const Layer& layer : layers_)
    for (const Tensor* w : {&layer.heads, &layer.o, &layer.w_1, &layer.w_3, &layer.w_2})
      elements += w->size();
  return elements * size_of(head_.dtype());
}

}  // namespace retnet::detail
