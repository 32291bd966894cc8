/// @file
/// Small models in every combination of choices, and data for them.
#pragma once

#include <random>

#include "retnet/model.h"
#include "tests/support/random.h"

namespace retnet::test {

/// Sizes that are small and all different, so that no mix-up of two goes unnoticed.
inline Config small_config() {
  Config c;
  c.vocab = 11, c.d_model = 10, c.layers = 2, c.heads = 2, c.key_width = 8, c.value_width = 12,
  c.ffn_width = 14, c.chunk = 3;
  return c;
}

/// The small config with random choices of every switch; `number` chooses. Number 0 is the paper's block.
inline Config random_choices(unsigned number) {
  Config c = small_config();
  if (number == 0) return c;
  std::mt19937_64 bits(number);
  const auto pick = [&](auto& field, int n) {
    field = static_cast<std::decay_t<decltype(field)>>(bits() % static_cast<unsigned>(n));
  };
  pick(c.rotation, 3), pick(c.gamma, 2), pick(c.score_norm, 2), pick(c.head_norm, 2), pick(c.head_affine, 3);
  pick(c.gate, 4), pick(c.block_norm, 2), pick(c.ffn, 2), pick(c.ffn_activation, 4), pick(c.tie_head, 2);
  c.embed_scale = bits() % 2 ? 1 : 3.25;
  if (bits() % 4 == 0) c.gammas = {0.6, 1};
  return c;
}

/// A model whose norms and biases are random too, so that a weight which is not used shows, and whose scores
/// are large enough for both sides of c = max(|q z|, sqrt(s)) to occur.
inline RetNet random_model(const Config& config, unsigned seed, Dtype dtype = Dtype::f64) {
  RetNet model(config, seed, dtype);
  unsigned number = 0;
  for (Parameter& p : model.parameters()) {
    const Tensor value = p.variable.value();
    if (p.variable.rank() == 1)
      p.variable.set_value(add(random(p.variable.shape(), 50 * seed + ++number, Layout::dense, dtype), 1.5));
    if (p.name.ends_with(".q.weight") || p.name.ends_with(".k.weight")) p.variable.set_value(mul(value, 6));
  }
  return model;
}

}  // namespace retnet::test
