#include "retnet/decoder_network.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "kernels/parallel.h"
#include "kernels/rotation.h"
#include "retnet/decay.h"
#include "retnet/rotation.h"
#include "tensor/ops.h"

namespace retnet::detail {
namespace {

using kernels::Cpu;
using kernels::kTile;
using kernels::padded;
using kernels::tiles_of;

/// With this many sequences for each thread, a thread takes its sequences through the whole network: it reads
/// all weights, but it reads them for several rows, and it never waits for another thread. With fewer,
/// threads share the columns of every matrix, in four phases a layer that wait for each other.
constexpr std::int64_t kOwnRows = 8;

/// Retention, its projection, the feed-forward network's two halves: each needs all of the one before.
constexpr int kPhases = 4;

/// Multiply-adds in a layer that make one more thread worth its waiting.
constexpr std::int64_t kThreadWork = 65536;

/// y = act(y) for n neighbours.
template <class A>
void activate(Activation activation, A* y, std::int64_t n) {
  switch (activation) {
    case Activation::swish:
      return kernels::map(Cpu{}, kernels::Swish{}, y, y, n);
    case Activation::gelu:
      return kernels::map(Cpu{}, kernels::Gelu{}, y, y, n);
    case Activation::relu:
      return kernels::map(Cpu{}, kernels::Relu{}, y, y, n);
    case Activation::none:
      break;
  }
}

/// Threads for a step: as many as asked for, or as there are, as have a processor each, and as are worth it.
/// More threads than processors would spend their time in handing over.
int team_size(const Config& c, std::int64_t batch, int asked) {
  const std::int64_t layer = (c.parameters() - 2 * c.vocab * c.d_model) / c.layers;
  const std::int64_t worth = std::max<std::int64_t>(1, batch * layer / kThreadWork);
  const std::int64_t team =
      asked > 0 ? asked : std::min<std::int64_t>({kernels::num_threads(), kernels::num_processors(), worth});
  return static_cast<int>(std::min<std::int64_t>(team, kernels::Phases::kMostShares));
}

}  // namespace

void check_tokens(std::span<const std::int32_t> tokens, const Config& config, std::int64_t batch) {
  require(static_cast<std::int64_t>(tokens.size()) == batch, "decode", "needs one token for each of ", batch,
          " sequences, got ", tokens.size());
  for (const std::int32_t token : tokens)
    require(token >= 0 && token < config.vocab, "decode", "a token must be in 0 .. ", config.vocab - 1,
            ", got ", token);
}

template <class W>
DecoderNetwork<W>::DecoderNetwork(const RetNet& model, std::int64_t batch, int threads)
    : config_(model.config()),
      weights_(model),
      head_row_(config_),
      batch_(batch),
      threads_(team_size(config_, batch, threads)),
      phases_(std::make_unique<kernels::Phases>(threads_)),
      normalized_(static_cast<std::size_t>(threads_)),
      theta_(rotation_angles(config_.rotation, config_.dk())),
      gamma_(decays(config_)),
      s_(static_cast<std::size_t>(config_.layers * config_.heads)),
      cosines_(theta_.size()),
      sines_(theta_.size()),
      root_s_(s_.size()) {
  const Config& c = config_;
  const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape, dtype_of<A>); };
  S_ = zeros({c.layers, batch, c.heads, tiles_of(c.dv()), c.dk(), kTile});
  z_ = zeros({c.layers, batch, c.heads, padded(c.dk())});
  x_ = zeros({batch, padded(c.d_model)});
  mixed_ = zeros({batch, c.value_width});
  hidden_ = zeros({batch, padded(c.ffn_width)});
  if (c.ffn == FfnKind::glu) linear_ = zeros({batch, padded(c.ffn_width)});
  scratch_ = zeros({threads_, batch * (padded(c.d_model) + head_row_.width) + padded(c.dv())});
  const Tensor rows = zeros({batch, padded(c.vocab)});
  logits_ = Tensor(rows.storage(), 0, {batch, c.vocab}, {padded(c.vocab), 1}, dtype_of<A>);
}

template <class W>
auto DecoderNetwork<W>::S(std::int64_t l, std::int64_t b, std::int64_t h) const -> A* {
  return S_.data<A>() + ((l * batch_ + b) * config_.heads + h) * config_.dk() * padded(config_.dv());
}

template <class W>
auto DecoderNetwork<W>::z(std::int64_t l, std::int64_t b, std::int64_t h) const -> A* {
  return z_.data<A>() + ((l * batch_ + b) * config_.heads + h) * padded(config_.dk());
}

// [decode-step]
template <class W>
const Tensor& DecoderNetwork<W>::step(std::span<const std::int32_t> tokens) {
  begin(tokens);
  const auto scratch = [&](int thread) { return scratch_.data<A>() + thread * scratch_.dim(1); };
  const int phases = kPhases * static_cast<int>(config_.layers) + 1;
  if (threads_ == 1 || batch_ >= kOwnRows * threads_) {
    phases_->run(1, [&](int, int share, int thread) {
      const auto [first, last] = Part{share, threads_}.of(batch_);
      for (int phase = 0; phase < phases; ++phase)
        run(phase, Rows{first, last - first}, Part{}, scratch(thread), false);
    });
  } else {
    for (Phase& phase : normalized_) phase.number = -1;
    phases_->run(phases, [&](int phase, int share, int thread) {
      int& normalized = normalized_[static_cast<std::size_t>(thread)].number;
      run(phase, Rows{0, batch_}, Part{share, threads_}, scratch(thread), normalized == phase);
      normalized = phase;
    });
  }
  ++pos_;
  return logits_;
}
// [decode-step]

/// What all layers and threads share: the embedding, the angles at this position, and the sums s_n.
template <class W>
void DecoderNetwork<W>::begin(std::span<const std::int32_t> tokens) {
  const std::int64_t d = config_.d_model;
  check_tokens(tokens, config_, batch_);
  for (std::int64_t b = 0; b < batch_; ++b)
    std::copy_n(weights_.embedding() + tokens[static_cast<std::size_t>(b)] * d, d,
                x_.data<A>() + b * padded(d));
  for (std::size_t j = 0; j < theta_.size(); ++j) {
    const double angle = static_cast<double>(pos_) * theta_[j];  // Eq. (R1)
    cosines_[j] = A(std::cos(angle)), sines_[j] = A(std::sin(angle));
  }
  for (std::size_t i = 0; i < s_.size(); ++i) {
    s_[i] = gamma_[i % gamma_.size()] * s_[i] + 1;  // Eq. (R3)
    root_s_[i] = config_.score_norm == ScoreNorm::none ? A(0) : A(std::sqrt(s_[i]));
  }
}

/// A part of a phase, for some sequences.
/// @param normalized  whether this phase's norms are in `scratch`; every thread takes them for itself, which
/// is quicker than to wait for them
// [decode-run]
template <class W>
void DecoderNetwork<W>::run(int phase, Rows rows, Part part, A* scratch, bool normalized) {
  const Config& c = config_;
  A *normed = scratch, *row = normed + rows.count * padded(c.d_model);
  A* x = x_.data<A>() + rows.first * padded(c.d_model);
  const std::int64_t l = phase / kPhases;
  if (l == c.layers) {
    if (!normalized) normalize(normed, rows, weights_.final_norm());
    return product(logits_.data<A>() + rows.first * padded(c.vocab), normed, padded(c.d_model),
                   weights_.head(), rows, part, false);
  }
  const PackedLayer<W>& layer = weights_.layer(l);
  switch (phase % kPhases) {
    case 0: {
      if (!normalized) normalize(normed, rows, layer.norm1);
      const auto [first, last] = part.of(c.heads);
      for (std::int64_t h = first; h < last; ++h) retain(l, h, rows, normed, row);
      return;
    }
    case 1:  // Eq. (9): y  = MSR(LN(x)) + x
      return product(x, mixed_.data<A>() + rows.first * c.value_width, c.value_width, layer.o, rows, part,
                     true);
    case 2:
      if (!normalized) normalize(normed, rows, layer.norm2);
      return feed(l, rows, part, normed);
    default:  // Eq. (9): x' = FFN(LN(y)) + y
      return product(x, hidden_.data<A>() + rows.first * padded(c.ffn_width), padded(c.ffn_width), layer.w_2,
                     rows, part, true);
  }
}
// [decode-run]

/// Queries, keys, values and gates of one head, and its retention: its columns of what W_O is applied to.
template <class W>
void DecoderNetwork<W>::retain(std::int64_t l, std::int64_t h, Rows rows, const A* normed, A* row) {
  const std::int64_t width = head_row_.width;
  kernels::tiled_product(Cpu{}, row, width, normed, padded(config_.d_model), rows.count,
                         weights_.layer(l).heads.from(h * tiles_of(width)), tiles_of(width), config_.d_model,
                         false);
  for (std::int64_t i = 0; i < rows.count; ++i, row += width) mix(l, h, rows.first + i, row);
}

template <class W>
void DecoderNetwork<W>::mix(std::int64_t l, std::int64_t h, std::int64_t b, A* row) {
  const Config& c = config_;
  const std::int64_t dk = c.dk(), dv = c.dv();
  A *q = row, *k = row + head_row_.k, *v = row + head_row_.v, *g = row + head_row_.g;
  const A scale = A(1 / std::sqrt(static_cast<double>(dk)));
  for (std::int64_t i = 0; i < dk; ++i) k[i] *= scale;  // Eq. (5)
  kernels::Rotation one_step;
  one_step.batch = one_step.n = one_step.heads = 1, one_step.dk = dk;
  if (c.rotation != Rotation::none)
    for (A* x : {q, k}) kernels::rotate(Cpu{}, one_step, x, x, cosines_.data(), sines_.data());

  const auto at = static_cast<std::size_t>(l * c.heads + h);
  A* o = v;  // a column of values is read before the same column of outputs is written
  kernels::retention_step(Cpu{}, o, S(l, b, h), z(l, b, h), q, k, v, dk, dv,
                          A(gamma_[static_cast<std::size_t>(h)]), root_s_[at]);  // Eq. (6)

  A* y = mixed_.data<A>() + b * c.value_width + h * dv;
  const std::int64_t channel = c.head_affine == HeadAffine::channel ? h * dv : 0;
  normalize(y, o, dv, c.head_norm, c.head_norm_eps, weights_.layer(l).head_norm.from(channel));  // Eq. (8)
  if (c.gate == Activation::none) return;
  activate(c.gate, g, dv);
  for (std::int64_t j = 0; j < dv; ++j) y[j] *= g[j];  // Eq. (8)
}

/// This thread's columns of act(x W_1), or of act(x W_1) . x W_3.
template <class W>
void DecoderNetwork<W>::feed(std::int64_t l, Rows rows, Part part, const A* normed) {
  const PackedLayer<W>& layer = weights_.layer(l);
  const std::int64_t d = padded(config_.d_model), f = padded(config_.ffn_width);
  const auto [first, last] = part.of(tiles_of(f));
  A* hidden = hidden_.data<A>() + rows.first * f;
  product(hidden, normed, d, layer.w_1, rows, part, false);
  for (std::int64_t i = 0; i < rows.count; ++i)
    activate(config_.ffn_activation, hidden + i * f + first * kTile, (last - first) * kTile);
  if (!layer.w_3.tiles) return;
  A* linear = linear_.data<A>() + rows.first * f;
  product(linear, normed, d, layer.w_3, rows, part, false);
  for (std::int64_t i = 0; i < rows.count; ++i)
    for (std::int64_t j = i * f + first * kTile; j < i * f + last * kTile; ++j) hidden[j] *= linear[j];
}

/// y = x W^T, or y += x W^T, in this thread's columns. Rows of y are padded to whole tiles.
template <class W>
void DecoderNetwork<W>::product(A* y, const A* x, std::int64_t x_step, const Packed<W>& w, Rows rows,
                                Part part, bool add) {
  const auto [first, last] = part.of(tiles_of(w.out));
  kernels::tiled_product(Cpu{}, y + first * kTile, padded(w.out), x, x_step, rows.count, w.from(first),
                         last - first, w.in, add);
}

template <class W>
void DecoderNetwork<W>::normalize(A* y, const A* x, std::int64_t n, NormKind kind, double eps,
                                  const Affine<A>& affine) {
  A rstd = 0;
  kernels::normalize(Cpu{}, y, &rstd, x, 1, n, eps, kind == NormKind::layer);
  if (affine.weight)
    for (std::int64_t i = 0; i < n; ++i) y[i] *= affine.weight[i];
  if (affine.bias)
    for (std::int64_t i = 0; i < n; ++i) y[i] += affine.bias[i];
}

template <class W>
void DecoderNetwork<W>::normalize(A* y, Rows rows, const Affine<A>& affine) {
  const std::int64_t d = config_.d_model;
  for (std::int64_t i = 0; i < rows.count; ++i)
    normalize(y + i * padded(d), x_.data<A>() + (rows.first + i) * padded(d), d, config_.block_norm,
              config_.block_norm_eps, affine);
}

template class DecoderNetwork<float>;
template class DecoderNetwork<double>;
template class DecoderNetwork<bf16>;

}  // namespace retnet::detail
