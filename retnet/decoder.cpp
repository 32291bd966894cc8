#include "retnet/decoder.h"

#include "retnet/decoder_network.h"

namespace retnet {

Decoder::Decoder(const RetNet& model, std::int64_t batch, const DecoderOptions& options) {
  require(model.device() == Device::cpu, "decode", "the decoder runs on the cpu, the model is on ",
          model.device(), "; run its recurrent form, or move it with to()");
  require(batch >= 1, "decode", "the batch must be at least 1, got ", batch);
  require(options.threads >= 0, "decode", "the number of threads must be at least 0, got ", options.threads);
  require(!options.bf16_weights || model.dtype() == Dtype::f32, "decode",
          "bf16 weights are for f32 models, this one is ", model.dtype(), "; decode it with its own weights");
  if (model.dtype() == Dtype::f64)
    network_ = std::make_unique<detail::DecoderNetwork<double>>(model, batch, options.threads);
  else if (options.bf16_weights)
    network_ = std::make_unique<detail::DecoderNetwork<bf16>>(model, batch, options.threads);
  else
    network_ = std::make_unique<detail::DecoderNetwork<float>>(model, batch, options.threads);
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

const Tensor& Decoder::step(std::span<const std::int32_t> tokens) {
  return std::visit([&](auto& network) -> const Tensor& { return network->step(tokens); }, network_);
}

void Decoder::load(const ModelState& state) {
  std::visit([&](auto& network) { network->load(state); }, network_);
}

ModelState Decoder::store() const {
  return std::visit([](auto& network) { return network->store(); }, network_);
}

std::int64_t Decoder::batch() const {
  return std::visit([](auto& network) { return network->batch(); }, network_);
}

std::int64_t Decoder::position() const {
  return std::visit([](auto& network) { return network->position(); }, network_);
}

std::int64_t Decoder::weight_bytes() const {
  return std::visit([](auto& network) { return network->weight_bytes(); }, network_);
}

std::int64_t Decoder::state_bytes() const {
  return std::visit([](auto& network) { return network->state_bytes(); }, network_);
}

}  // namespace retnet
