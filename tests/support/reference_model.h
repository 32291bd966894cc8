/// @file
/// RetNet written a second time, in nested loops over single numbers, straight from the equations: the oracle
/// of the model. It shares no code with the library, and is as slow as that makes it.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "retnet/model.h"
#include "tests/support/tape.h"

namespace retnet::test {

/// Computes the logits of one sequence.
/// @tparam T  double, or Real for gradients
template <class T = double>
class ReferenceModel {
 public:
  using Row = std::vector<T>;
  using Rows = std::vector<Row>;               // one row per token
  using Weights = std::map<std::string, Row>;  // by the names of checkpoints, row by row

  /// What dropout multiplies channel i of token n by. Layer 0 is the embedding, 2l + 1 and 2l + 2 are the
  /// outputs of retention and of the feed-forward network of block l.
  using Keep = std::function<double(std::int64_t layer, std::size_t n, std::size_t i)>;

  ReferenceModel(const Config& config, Weights weights) : config_(config), weights_(std::move(weights)) {}

  explicit ReferenceModel(RetNet& model) : config_(model.config()) {
    for (const Parameter& p : model.parameters())
      for (const double w : p.variable.value().template to_vector<double>()) weights_[p.name].push_back(w);
  }

  /// @param keep  none: no dropout
  Rows logits(const std::vector<std::int32_t>& tokens, const Keep& keep = {}) const {
    Rows x;
    for (const std::int32_t t : tokens) {
      const auto begin = at("embed.weight").begin() + t * config_.d_model;
      Row row(begin, begin + config_.d_model);
      for (T& value : row) value *= config_.embed_scale;
      x.push_back(row);
    }
    x = dropped(x, keep, 0);
    for (std::int64_t l = 0; l < config_.layers; ++l) x = block(l, x, keep);
    return linear(config_.tie_head ? "embed" : "head", norm("final_norm", x));
  }

 private:
  const Row& at(const std::string& name) const { return weights_.at(name); }
  bool has(const std::string& name) const { return weights_.count(name) > 0; }

  Rows linear(const std::string& name, const Rows& x) const {  // y_i = sum_j W_ij x_j
    const Row& w = at(name + ".weight");
    Rows y;
    for (const Row& row : x) {
      Row out(w.size() / row.size(), T(0));
      for (std::size_t i = 0; i < out.size(); ++i)
        for (std::size_t j = 0; j < row.size(); ++j) out[i] += w[i * row.size() + j] * row[j];
      y.push_back(out);
    }
    return y;
  }

  static Row normalized(const Row& x, NormKind kind, double eps) {
    using std::sqrt;
    const T size = static_cast<double>(x.size());
    T mean = 0, square = 0;
    if (kind == NormKind::layer)
      for (const T& value : x) mean += value / size;
    for (const T& value : x) square += (value - mean) * (value - mean) / size;
    Row y;
    for (const T& value : x) y.push_back((value - mean) / sqrt(square + eps));
    return y;
  }

  Rows norm(const std::string& name, const Rows& x) const {
    Rows y;
    for (const Row& row : x) {
      y.push_back(normalized(row, config_.block_norm, config_.block_norm_eps));
      for (std::size_t i = 0; i < row.size(); ++i) {
        y.back()[i] *= at(name + ".weight")[i];
        if (has(name + ".bias")) y.back()[i] += at(name + ".bias")[i];
      }
    }
    return y;
  }

  static T act(Activation activation, const T& x) {
    using std::erf, std::exp;
    switch (activation) {
      case Activation::swish:
        return x / (T(1) + exp(T(0) - x));
      case Activation::gelu:
        return T(0.5) * x * (T(1) + erf(x / T(std::sqrt(2.0))));
      case Activation::relu:
        return value_of(x) > 0 ? x : T(0);
      case Activation::none:
        break;
    }
    return x;
  }

  void rotate(Row& x, std::size_t head, std::size_t n) const {
    const auto dk = static_cast<std::size_t>(config_.dk()), pairs = dk / 2;
    for (std::size_t j = 0; j < pairs && config_.rotation != Rotation::none; ++j) {
      // Eq. (R1): 10000^(-2j / dk), or evenly in the exponent from 1 to 1/10000
      const double last = static_cast<double>(config_.rotation == Rotation::rope ? pairs : pairs - 1);
      const double theta = j == 0 ? 1 : std::pow(10000.0, -static_cast<double>(j) / last);
      const double a = static_cast<double>(n) * theta;
      const T re = x[head * dk + 2 * j], im = x[head * dk + 2 * j + 1];
      x[head * dk + 2 * j] = re * T(std::cos(a)) - im * T(std::sin(a));
      x[head * dk + 2 * j + 1] = re * T(std::sin(a)) + im * T(std::cos(a));
    }
  }

  double gamma(std::size_t head) const {  // Eq. (8), or evenly in the logarithm from 1/32 to 1/512
    if (!config_.gammas.empty()) return config_.gammas[head];
    const auto h = static_cast<double>(head), last = static_cast<double>(config_.heads - 1);
    if (config_.gamma == GammaRule::arange) return 1 - std::pow(2.0, -5 - h);
    return 1 - std::pow(2.0, -5 - (last > 0 ? 4 * h / last : 0));
  }

  Rows retention(const std::string& prefix, const Rows& x) const {
    Rows q = linear(prefix + "q", x), k = linear(prefix + "k", x);
    const Rows v = linear(prefix + "v", x);
    const auto dk = static_cast<std::size_t>(config_.dk()), dv = static_cast<std::size_t>(config_.dv());
    Rows y(x.size());
    for (std::size_t h = 0; h < static_cast<std::size_t>(config_.heads); ++h) {
      for (std::size_t n = 0; n < x.size(); ++n) rotate(q[n], h, n), rotate(k[n], h, n);
      for (std::size_t n = 0; n < x.size(); ++n) {
        Row o(dv, T(0));
        T row_sum = 0;
        double decay_sum = 0;
        for (std::size_t m = 0; m <= n; ++m) {
          T score = 0;
          for (std::size_t i = 0; i < dk; ++i) score += q[n][h * dk + i] * k[m][h * dk + i];
          const double decay = std::pow(gamma(h), static_cast<double>(n - m));
          score *= decay / std::sqrt(static_cast<double>(dk));
          row_sum += score;
          decay_sum += decay;
          for (std::size_t j = 0; j < dv; ++j) o[j] += score * v[m][h * dv + j];
        }
        if (config_.score_norm == ScoreNorm::paper)
          for (T& value : o) value /= divisor(row_sum, decay_sum);
        for (const T& value : head_norm(prefix, o, h)) y[n].push_back(value);
      }
    }
    if (config_.gate != Activation::none) {
      const Rows g = linear(prefix + "g", x);
      for (std::size_t n = 0; n < x.size(); ++n)
        for (std::size_t i = 0; i < y[n].size(); ++i) y[n][i] *= act(config_.gate, g[n][i]);
    }
    return linear(prefix + "o", y);
  }

  T divisor(const T& row_sum, double decay_sum) const {  // c of Eq. (R4)
    using std::abs;
    const T size = config_.score_norm_gradient ? abs(row_sum) : T(std::abs(value_of(row_sum)));
    return value_of(size) >= std::sqrt(decay_sum) ? size : T(std::sqrt(decay_sum));
  }

  Row head_norm(const std::string& prefix, const Row& o, std::size_t head) const {
    Row y = normalized(o, config_.head_norm, config_.head_norm_eps);
    const std::size_t first = config_.head_affine == HeadAffine::channel ? head * o.size() : 0;
    for (std::size_t j = 0; j < y.size(); ++j) {
      if (has(prefix + "head_norm.weight")) y[j] *= at(prefix + "head_norm.weight")[first + j];
      if (has(prefix + "head_norm.bias")) y[j] += at(prefix + "head_norm.bias")[first + j];
    }
    return y;
  }

  Rows feed_forward(const std::string& prefix, const Rows& x) const {
    Rows hidden = linear(prefix + "ffn.act", x);
    const Rows branch = config_.ffn == FfnKind::glu ? linear(prefix + "ffn.lin", x) : Rows();
    for (std::size_t n = 0; n < x.size(); ++n)
      for (std::size_t i = 0; i < hidden[n].size(); ++i) {
        hidden[n][i] = act(config_.ffn_activation, hidden[n][i]);
        if (!branch.empty()) hidden[n][i] *= branch[n][i];
      }
    return linear(prefix + "ffn.down", hidden);
  }

  static Rows dropped(Rows x, const Keep& keep, std::int64_t layer) {
    for (std::size_t n = 0; n < x.size() && keep; ++n)
      for (std::size_t i = 0; i < x[n].size(); ++i) x[n][i] *= keep(layer, n, i);
    return x;
  }

  Rows block(std::int64_t l, Rows x, const Keep& keep) const {
    const std::string prefix = "layers." + std::to_string(l) + ".";
    const auto add = [](Rows a, const Rows& b) {
      for (std::size_t n = 0; n < a.size(); ++n)
        for (std::size_t i = 0; i < a[n].size(); ++i) a[n][i] += b[n][i];
      return a;
    };
    x = add(x, dropped(retention(prefix, norm(prefix + "norm1", x)), keep, 2 * l + 1));
    return add(x, dropped(feed_forward(prefix, norm(prefix + "norm2", x)), keep, 2 * l + 2));
  }

  Config config_;
  Weights weights_;
};

}  // namespace retnet::test
