#include "retnet/block.h"

namespace retnet {

FeedForward::FeedForward(const Config& config, RandomKey key, Dtype dtype)
    : activation_(config.ffn_activation) {
  w_1_ = Linear(config.d_model, config.ffn_width, 1, {key.seed, key.stream}, dtype);
  if (config.ffn == FfnKind::glu)
    w_3_ = Linear(config.d_model, config.ffn_width, 1, {key.seed, key.stream + 1}, dtype);
  w_2_ = Linear(config.ffn_width, config.d_model, 1, {key.seed, key.stream + 2}, dtype);
}

Variable FeedForward::operator()(const Variable& x, const Variable& residual, bool reference) const {
  Variable hidden = reference ? activate(activation_, w_1_(x)) : w_1_(x, activation_);
  if (w_3_.weight.defined()) hidden = mul(hidden, w_3_(x));
  if (!reference) return w_2_(hidden, residual);
  const Variable y = w_2_(hidden);  // Eq. (9)
  return residual.defined() ? add(y, residual) : y;
}

Block::Block(const Config& config, RandomKey key, Dtype dtype)
    : norm1_(config.block_norm, config.block_norm_eps, config.d_model, dtype),
      norm2_(config.block_norm, config.block_norm_eps, config.d_model, dtype),
      retention_(config, key, dtype),
      ffn_(config, {key.seed, key.stream + 5}, dtype) {}

// [block]
Variable Block::operator()(const Variable& x, RetentionState& state, const FormOptions& options,
                           const Dropout& dropout) const {
  const bool reference = options.reference;
  if (dropout.p == 0) {  // the residual joins as the last product is stored
    const Variable y = retention_(norm1_(x, reference), state, options, x);  // Eq. (9): y  = MSR(LN(x)) + x
    return ffn_(norm2_(y, reference), y, reference);                         // Eq. (9): x' = FFN(LN(y)) + y
  }
  const auto drop = [&](const Variable& y, std::uint64_t which) {
    return retnet::dropout(y, dropout.p, {dropout.key.seed, dropout.key.stream + which});
  };
  const Variable y = add(drop(retention_(norm1_(x, reference), state, options), 0), x);
  return add(drop(ffn_(norm2_(y, reference), {}, reference), 1), y);
}
// [block]

Variable Block::recomputed(const Variable& x, const FormOptions& options, const Dropout& dropout) const {
  std::vector<Variable> inputs{x};
  Block block = *this;
  block.for_each_parameter([&](const char*, const Variable& parameter) { inputs.push_back(parameter); });
  return recompute(
      [block, options, dropout](const std::vector<Variable>& given) {
        // A copy of the block that stands on the given variables, so that their gradients are the block's.
        Block copy = block;
        std::size_t next = 1;
        copy.for_each_parameter([&](const char*, Variable& parameter) { parameter = given[next++]; });
        RetentionState state = copy.initial_state(given[0].dim(0), given[0].dtype(), given[0].device());
        return copy(given[0], state, options, dropout);
      },
      inputs);
}

}  // namespace retnet
