#include "retnet/model.h"

#include <cmath>

namespace retnet {
namespace {

// Streams of random numbers: 0 and 1 for the embedding and the head, then kStreams for every block.
constexpr std::uint64_t kFirstBlockStream = 16;

}  // namespace

RetNet::RetNet(const Config& config, std::uint64_t seed, Dtype dtype) : config_(config), dtype_(dtype) {
  config.validate();
  const double deviation = 1 / std::sqrt(static_cast<double>(config.d_model));
  embedding_ = Variable(rand_normal({config.vocab, config.d_model}, {seed, 0}, 0, deviation, dtype), true);
  for (std::int64_t l = 0; l < config.layers; ++l)
    blocks_.emplace_back(
        config, RandomKey{seed, kFirstBlockStream + Block::kStreams * static_cast<std::uint64_t>(l)}, dtype);
  final_norm_ = Norm(config.block_norm, config.block_norm_eps, config.d_model, dtype);
  if (!config.tie_head)
    head_.weight =
        Variable(rand_normal({config.vocab, config.d_model}, {seed, 1}, 0, deviation, dtype), true);
}

void RetNet::to(Device device) {
  for (Parameter& parameter : parameters())
    parameter.variable.set_value(parameter.variable.value().to(device));
}

ModelState RetNet::initial_state(std::int64_t batch) const {
  // No form changes a state's tensors, so all blocks have the same zeros.
  return {std::vector<RetentionState>(blocks_.size(), blocks_[0].initial_state(batch, dtype_, device()))};
}

Variable RetNet::embed(const Tensor& tokens, const ForwardOptions& options) const {
  require(tokens.rank() == 2, "forward", "needs tokens [B, N], got ", tokens.shape());
  Variable x = embedding(embedding_, tokens);
  if (config_.embed_scale != 1) x = mul(x, config_.embed_scale);
  return dropout(x, options.dropout.p, options.dropout.key);
}

Variable RetNet::head(const Variable& x, bool reference) const {
  const Variable y = final_norm_(x, reference);
  return config_.tie_head ? matmul(y, embedding_, false, true) : head_(y);
}

namespace {

/// Dropout of block l: stream 0 belongs to the embedding.
Dropout block_dropout(const Dropout& dropout, std::size_t l) {
  return {dropout.p, kernels::later_stream(dropout.key, 1 + l * Block::kDropoutStreams)};
}

}  // namespace

Variable RetNet::forward(const Tensor& tokens, const ForwardOptions& options) const {
  if (!options.recompute) {
    ModelState state = initial_state(tokens.dim(0));
    return forward(tokens, state, options);
  }
  Variable x = embed(tokens, options);
  for (std::size_t l = 0; l < blocks_.size(); ++l)
    x = blocks_[l].recomputed(x, options.form, block_dropout(options.dropout, l));
  return head(x, options.form.reference);
}

Variable RetNet::forward(const Tensor& tokens, ModelState& state, const ForwardOptions& options) const {
  require(state.layers.size() == blocks_.size(), "forward", "the state is of ", state.layers.size(),
          " layers, the model has ", blocks_.size());
  Variable x = embed(tokens, options);
  for (std::size_t l = 0; l < blocks_.size(); ++l)
    x = blocks_[l](x, state.layers[l], options.form, block_dropout(options.dropout, l));
  return head(x, options.form.reference);
}

Variable RetNet::loss(const Tensor& tokens, const Tensor& targets, const ForwardOptions& options) const {
  require(tokens.size() > 0, "loss", "needs at least one token to predict, got tokens ", tokens.shape());
  return mean(cross_entropy(forward(tokens, options), targets));
}

std::vector<Parameter> RetNet::parameters() {
  std::vector<Parameter> list{{"embed.weight", embedding_}};
  for (std::size_t l = 0; l < blocks_.size(); ++l)
    blocks_[l].for_each_parameter([&](const char* name, const Variable& variable) {
      list.push_back({"layers." + std::to_string(l) + "." + name, variable});
    });
  list.push_back({"final_norm.weight", final_norm_.weight});
  if (final_norm_.bias.defined()) list.push_back({"final_norm.bias", final_norm_.bias});
  if (head_.weight.defined()) list.push_back({"head.weight", head_.weight});
  return list;
}

}  // namespace retnet
