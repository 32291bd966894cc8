/// @file
/// RetNet written a second time, in nested loops over doubles, straight from the equations: the oracle of the
/// model. It shares no code with the library, and is as slow as that makes it.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "retnet/decay.h"
#include "retnet/model.h"
#include "retnet/rotation.h"

namespace retnet::test {

/// Computes the logits of one sequence.
class ReferenceModel {
 public:
  using Row = std::vector<double>;
  using Rows = std::vector<Row>;  // one row per token

  explicit ReferenceModel(RetNet& model) : config_(model.config()) {
    for (const Parameter& p : model.parameters()) {
      weights_[p.name] = p.variable.value().to_vector<double>();
      widths_[p.name] = p.variable.value().dim(-1);
    }
  }

  Rows logits(const std::vector<std::int32_t>& tokens) const {
    Rows x;
    for (const std::int32_t t : tokens) {
      const auto begin = at("embed.weight").begin() + t * config_.d_model;
      Row row(begin, begin + config_.d_model);
      for (double& value : row) value *= config_.embed_scale;
      x.push_back(row);
    }
    for (std::int64_t l = 0; l < config_.layers; ++l) x = block("layers." + std::to_string(l) + ".", x);
    Rows y = norm("final_norm", x);
    return linear(config_.tie_head ? "embed" : "head", y);
  }

 private:
  const Row& at(const std::string& name) const { return weights_.at(name); }
  bool has(const std::string& name) const { return weights_.count(name) > 0; }

  Rows linear(const std::string& name, const Rows& x) const {  // y_i = sum_j W_ij x_j
    const Row& w = at(name + ".weight");
    const auto in = static_cast<std::size_t>(widths_.at(name + ".weight"));
    Rows y;
    for (const Row& row : x) {
      Row out(w.size() / in, 0.0);
      for (std::size_t i = 0; i < out.size(); ++i)
        for (std::size_t j = 0; j < in; ++j) out[i] += w[i * in + j] * row[j];
      y.push_back(out);
    }
    return y;
  }

  static Row normalized(const Row& x, NormKind kind, double eps) {
    double mean = 0, square = 0;
    if (kind == NormKind::layer)
      for (const double value : x) mean += value / static_cast<double>(x.size());
    for (const double value : x) square += (value - mean) * (value - mean) / static_cast<double>(x.size());
    Row y;
    for (const double value : x) y.push_back((value - mean) / std::sqrt(square + eps));
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

  static double act(Activation activation, double x) {
    switch (activation) {
      case Activation::swish:
        return x / (1 + std::exp(-x));
      case Activation::gelu:
        return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      case Activation::relu:
        return std::max(0.0, x);
      case Activation::none:
        break;
    }
    return x;
  }

  void rotate(Row& x, std::int64_t head, std::size_t n) const {
    const std::vector<double> theta = rotation_angles(config_.rotation, config_.dk());
    for (std::size_t j = 0; j < theta.size(); ++j) {
      double& re = x[static_cast<std::size_t>(head * config_.dk()) + 2 * j];
      double& im = x[static_cast<std::size_t>(head * config_.dk()) + 2 * j + 1];
      const double a = static_cast<double>(n) * theta[j], real = re * std::cos(a) - im * std::sin(a);
      im = re * std::sin(a) + im * std::cos(a);
      re = real;
    }
  }

  Rows retention(const std::string& prefix, const Rows& x) const {
    Rows q = linear(prefix + "q", x), k = linear(prefix + "k", x);
    const Rows v = linear(prefix + "v", x);
    const auto dk = static_cast<std::size_t>(config_.dk()), dv = static_cast<std::size_t>(config_.dv());
    const std::vector<double> gamma = decays(config_);
    Rows y(x.size());
    for (std::size_t h = 0; h < gamma.size(); ++h) {
      for (std::size_t n = 0; n < x.size(); ++n) {
        rotate(q[n], static_cast<std::int64_t>(h), n);
        rotate(k[n], static_cast<std::int64_t>(h), n);
      }
      for (std::size_t n = 0; n < x.size(); ++n) {
        Row o(dv, 0.0);
        double row_sum = 0, decay_sum = 0;
        for (std::size_t m = 0; m <= n; ++m) {
          double score = 0;
          for (std::size_t i = 0; i < dk; ++i) score += q[n][h * dk + i] * k[m][h * dk + i];
          const double decay = std::pow(gamma[h], static_cast<double>(n - m));
          score *= decay / std::sqrt(static_cast<double>(dk));
          row_sum += score;
          decay_sum += decay;
          for (std::size_t j = 0; j < dv; ++j) o[j] += score * v[m][h * dv + j];
        }
        if (config_.score_norm == ScoreNorm::paper)
          for (double& value : o) value /= std::max(std::abs(row_sum), std::sqrt(decay_sum));
        for (const double value : head_norm(prefix, o, h)) y[n].push_back(value);
      }
    }
    if (config_.gate != Activation::none) {
      const Rows g = linear(prefix + "g", x);
      for (std::size_t n = 0; n < x.size(); ++n)
        for (std::size_t i = 0; i < y[n].size(); ++i) y[n][i] *= act(config_.gate, g[n][i]);
    }
    return linear(prefix + "o", y);
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

  Rows block(const std::string& prefix, Rows x) const {
    const auto add = [](Rows a, const Rows& b) {
      for (std::size_t n = 0; n < a.size(); ++n)
        for (std::size_t i = 0; i < a[n].size(); ++i) a[n][i] += b[n][i];
      return a;
    };
    x = add(x, retention(prefix, norm(prefix + "norm1", x)));
    return add(x, feed_forward(prefix, norm(prefix + "norm2", x)));
  }

  Config config_;
  std::map<std::string, Row> weights_;
  std::map<std::string, std::int64_t> widths_;
};

}  // namespace retnet::test
