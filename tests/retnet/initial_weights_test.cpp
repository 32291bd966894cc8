// Initial weights: their spread by the formulas, none like another, and a function of the seed alone.

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/support/close.h"
#include "tests/support/reference_training.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// Mean, variance and the largest magnitude, and how the fourth moment compares with the variance: 3 for a
/// normal distribution, 1.8 for a uniform one.
struct Spread {
  double mean = 0, variance = 0, largest = 0, kurtosis = 0;
};

Spread spread(const std::vector<double>& x) {
  Spread s;
  const auto n = static_cast<double>(x.size());
  for (const double v : x) s.mean += v / n, s.largest = std::max(s.largest, std::abs(v));
  for (const double v : x) s.variance += (v - s.mean) * (v - s.mean) / n;
  for (const double v : x) s.kurtosis += std::pow(v - s.mean, 4) / n / (s.variance * s.variance);
  return s;
}

/// Widths that are large and all different.
Config wide_config() {
  Config c;
  c.d_model = 64, c.layers = 3, c.heads = 2, c.key_width = 80, c.value_width = 144, c.ffn_width = 100;
  c.ffn = FfnKind::glu;
  return c;
}

std::map<std::string, std::vector<double>> weights_of(const Config& config, std::uint64_t seed) {
  RetNet model(config, seed, Dtype::f64);
  std::map<std::string, std::vector<double>> weights;
  for (const Parameter& p : model.parameters()) weights[p.name] = p.variable.value().to_vector<double>();
  return weights;
}

}  // namespace

TEST_CASE("initial weights have the spread that their formulas say", "[model][initial]") {
  const Config c = wide_config();
  for (const auto& [name, values] : weights_of(c, 3)) {
    CAPTURE(name);
    const Spread s = spread(values);
    if (name.find("norm") != std::string::npos) {  // norms begin as the identity
      const double value = name.ends_with("bias") ? 0 : 1;
      CHECK(std::all_of(values.begin(), values.end(), [&](double v) { return v == value; }));
      continue;
    }
    const auto n = static_cast<double>(values.size());
    if (name == "embed.weight" || name == "head.weight") {  // N(0, 1/d)
      CHECK(std::abs(s.mean) <= 5 / std::sqrt(64 * n));
      CHECK(std::abs(s.variance * 64 - 1) <= 5 * std::sqrt(2 / n));
      CHECK(std::abs(s.kurtosis - 3) <= 5 * std::sqrt(24 / n));
      continue;
    }
    // Uniform within gain sqrt(6 / (in + out)).
    const std::map<std::string, std::pair<double, double>> kinds{// in + out, gain
                                                                 {"q.weight", {144, std::exp2(-2.5)}},
                                                                 {"k.weight", {144, std::exp2(-2.5)}},
                                                                 {"v.weight", {208, std::exp2(-2.5)}},
                                                                 {"g.weight", {208, std::exp2(-2.5)}},
                                                                 {"o.weight", {208, 0.5}},
                                                                 {"ffn.act.weight", {164, 1}},
                                                                 {"ffn.lin.weight", {164, 1}},
                                                                 {"ffn.down.weight", {164, 1}}};
    const std::string kind = name.substr(std::string("layers.0.").size());
    REQUIRE(kinds.count(kind) == 1);
    const double bound = kinds.at(kind).second * std::sqrt(6 / kinds.at(kind).first);
    CHECK(s.largest <= bound);
    CHECK(s.largest >= bound * (1 - 20 / n));
    CHECK(std::abs(s.mean) <= 5 * bound / std::sqrt(3 * n));
    CHECK(std::abs(3 * s.variance / (bound * bound) - 1) <= 5 * std::sqrt(0.8 / n));
    CHECK(std::abs(s.kurtosis - 1.8) <= 0.05);
  }
}

TEST_CASE("no two parameters, blocks or seeds begin alike", "[model][initial]") {
  std::map<std::string, std::vector<double>> all;
  for (const std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{2}, (std::uint64_t{1} << 32) + 1})
    for (const auto& [name, values] : weights_of(wide_config(), seed))
      if (name.find("norm") == std::string::npos) all[name + " of seed " + std::to_string(seed)] = values;
  REQUIRE(all.size() == 3 * (2 + 3 * 8));
  for (auto a = all.begin(); a != all.end(); ++a)
    for (auto b = all.begin(); b != a; ++b) {
      const std::size_t n = std::min(a->second.size(), b->second.size());
      double ab = 0, aa = 0, bb = 0;
      for (std::size_t i = 0; i < n; ++i) {
        ab += a->second[i] * b->second[i];
        aa += a->second[i] * a->second[i], bb += b->second[i] * b->second[i];
      }
      const double correlation = ab / std::sqrt(aa * bb);
      if (std::abs(correlation) > 5.5 / std::sqrt(static_cast<double>(n))) {  // of 3003 pairs
        CAPTURE(a->first, b->first, correlation);
        FAIL_CHECK("these two are correlated");
      }
    }
}

TEST_CASE("initial weights are numbers of the seed and the parameter, to the last bit",
          "[model][initial][reference]") {
  for (unsigned number = 0; number < 20; ++number)
    for (const std::int64_t seed : {std::int64_t{1}, std::int64_t{5000000007}}) {
      const Config config = random_choices(number);
      CAPTURE(number, seed, to_json(config).dump());
      const ReferenceWeights expected = reference_initial_weights(config, seed);
      const auto weights = weights_of(config, static_cast<std::uint64_t>(seed));
      REQUIRE(weights.size() == expected.size());
      RetNet single(config, static_cast<std::uint64_t>(seed), Dtype::f32);
      for (const Parameter& p : single.parameters()) {
        CAPTURE(p.name);
        REQUIRE(expected.count(p.name) == 1);
        const std::vector<double>&wanted = expected.at(p.name), &is = weights.at(p.name);
        REQUIRE(is.size() == wanted.size());
        CHECK(worst_difference(is, wanted).error <= 1e-15);
        CHECK(worst_difference(p.variable.value().to_vector<double>(), wanted).error <= 6e-8);
      }
    }
}

TEST_CASE("a choice that adds or removes a parameter leaves the others as they begin", "[model][initial]") {
  const auto base = weights_of(small_config(), 7);
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"gate", "none"},
                                                                                   {"ffn", "glu"},
                                                                                   {"tie_head", "true"},
                                                                                   {"layers", "3"},
                                                                                   {"head_affine", "none"},
                                                                                   {"block_norm", "rms"}}) {
    Config config = small_config();
    set_field(config, key, value);
    std::size_t shared = 0;
    for (const auto& [name, values] : weights_of(config, 7)) {
      const auto before = base.find(name);
      if (before == base.end()) continue;
      CAPTURE(key, name);
      CHECK((values == before->second));
      ++shared;
    }
    CHECK(shared >= base.size() - 8);
  }
}

}  // namespace retnet::test
