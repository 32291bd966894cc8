/// @file
/// What a RetNet is built from: its sizes, and the choices that the paper and its implementations make
/// differently.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "retnet/fields.h"

namespace retnet {

/// Angles of the rotation, for j = 0 .. dk/2 - 1.
enum class Rotation {
  linspace,  ///< theta_j = 10000^(-j / (dk/2 - 1)): what the official code does, R1
  rope,      ///< theta_j = 10000^(-2j / dk), the usual rotary spacing
  none,      ///< no rotation
};

/// Decays of the heads, h = 0 .. H-1.
enum class GammaRule {
  arange,        ///< gamma_h = 1 - 2^(-5-h), Eq. (8)
  log_linspace,  ///< gamma_h = 1 - exp(linspace(ln 1/32, ln 1/512, H))_h, the paper's language models
};

/// Divisor c of the retention's output.
enum class ScoreNorm {
  none,   ///< 1
  paper,  ///< max(|q z|, sqrt(s)), R4
};

/// Normalisation of rows.
enum class NormKind {
  layer,  ///< mean 0, variance 1
  rms,    ///< mean square 1
};

/// Weight and bias after the head norm.
enum class HeadAffine {
  none,
  shared,   ///< one weight per value channel of a head, the same for all heads
  channel,  ///< one weight and bias per value channel of every head, as group normalisation has them
};

/// Feed-forward network.
enum class FfnKind {
  mlp,  ///< act(x W_1) W_2, Eq. (9)
  glu,  ///< (act(x W_1) . x W_3) W_2
};

/// A RetNet's sizes and choices. The defaults are the paper's block at the sizes of the preset `tiny`.
struct Config {
  std::int64_t vocab = 256;        ///< V, number of tokens
  std::int64_t d_model = 128;      ///< d, width of the residual stream
  std::int64_t layers = 4;         ///< number of blocks
  std::int64_t heads = 4;          ///< H, divides the two widths that follow
  std::int64_t key_width = 128;    ///< H dk, width of queries and keys; dk is even
  std::int64_t value_width = 256;  ///< H dv, width of values and gates
  std::int64_t ffn_width = 256;    ///< hidden width of the feed-forward network
  std::int64_t chunk = 64;         ///< C, chunk length of the chunkwise form

  Rotation rotation = Rotation::linspace;
  GammaRule gamma = GammaRule::arange;
  std::vector<double> gammas;  ///< decays given one by one, H of them in (0, 1]; empty: by the rule above
  ScoreNorm score_norm = ScoreNorm::paper;
  bool score_norm_gradient = true;  ///< differentiate c; false holds it constant, as the official code does
  NormKind head_norm = NormKind::layer;
  double head_norm_eps = 1e-5;
  HeadAffine head_affine = HeadAffine::channel;
  Activation gate = Activation::swish;
  NormKind block_norm = NormKind::layer;
  double block_norm_eps = 1e-5;
  FfnKind ffn = FfnKind::mlp;
  Activation ffn_activation = Activation::gelu;
  double embed_scale = 1;  ///< factor on the embedding
  bool tie_head = false;   ///< the output projection is the embedding matrix

  std::int64_t dk() const { return key_width / heads; }    ///< key width of one head
  std::int64_t dv() const { return value_width / heads; }  ///< value width of one head
  std::int64_t parameters() const;                         ///< number of weights

  /// @throws Error naming the first field that is out of range or does not fit another, and what it must be
  void validate() const;
};

/// tiny (0.86 M weights), small (4.9 M) or base (10.8 M). @throws Error for another name, offering the
/// nearest
Config preset(const std::string& name);

/// Names of the presets, for help and messages.
std::vector<std::string> preset_names();

/// Every field, as an object in the order above.
Json to_json(const Config& config);

/// Reads what to_json() wrote; every key is optional and keeps its default, and an unknown key is an error
/// that offers the nearest name. Validates. @param source  names the file in messages
Config config_from_json(const Json& json, const std::string& source);

/// Calls `visit(key, field, help)` for every field of a config: the one list behind files, flags and help.
template <class C, class Visit>
void for_each_field(C& c, Visit&& visit) {
  visit("vocab", c.vocab, "number of tokens");
  visit("d_model", c.d_model, "width of the residual stream; other widths not given follow it");
  visit("layers", c.layers, "number of blocks");
  visit("heads", c.heads, "retention heads; must divide key_width and value_width");
  visit("key_width", c.key_width, "width of queries and keys over all heads");
  visit("value_width", c.value_width, "width of values and gates over all heads");
  visit("ffn_width", c.ffn_width, "hidden width of the feed-forward network");
  visit("chunk", c.chunk, "chunk length of the chunkwise form");
  visit("rotation", c.rotation, "angles: linspace, rope or none");
  visit("gamma", c.gamma, "decays: arange or log_linspace");
  visit("gammas", c.gammas, "decays given one by one, heads of them in (0, 1]");
  visit("score_norm", c.score_norm, "divisor of the scores: none or paper");
  visit("score_norm_gradient", c.score_norm_gradient, "differentiate that divisor");
  visit("head_norm", c.head_norm, "normalisation per token and head: layer or rms");
  visit("head_norm_eps", c.head_norm_eps, "its epsilon, at least 0");
  visit("head_affine", c.head_affine, "weights after it: none, shared or channel");
  visit("gate", c.gate, "gate of the retention: swish, gelu, relu or none");
  visit("block_norm", c.block_norm, "normalisation before each sublayer: layer or rms");
  visit("block_norm_eps", c.block_norm_eps, "its epsilon, at least 0");
  visit("ffn", c.ffn, "feed-forward network: mlp or glu");
  visit("ffn_activation", c.ffn_activation, "its nonlinearity: swish, gelu, relu or none");
  visit("embed_scale", c.embed_scale, "factor on the embedding");
  visit("tie_head", c.tie_head, "share the embedding matrix with the output projection");
}

template <>
struct Names<Rotation> {
  static constexpr const char* list[] = {"linspace", "rope", "none"};
};
template <>
struct Names<GammaRule> {
  static constexpr const char* list[] = {"arange", "log_linspace"};
};
template <>
struct Names<ScoreNorm> {
  static constexpr const char* list[] = {"none", "paper"};
};
template <>
struct Names<NormKind> {
  static constexpr const char* list[] = {"layer", "rms"};
};
template <>
struct Names<HeadAffine> {
  static constexpr const char* list[] = {"none", "shared", "channel"};
};
template <>
struct Names<Activation> {
  static constexpr const char* list[] = {"swish", "gelu", "relu", "none"};
};
template <>
struct Names<FfnKind> {
  static constexpr const char* list[] = {"mlp", "glu"};
};

}  // namespace retnet
