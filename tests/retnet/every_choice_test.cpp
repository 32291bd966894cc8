// Every choice of a config changes what it says, and nothing else: a table over all of them. A field without
// a row fails; so does a row whose model is not that of the plain loops, in value and in every gradient.

#include <algorithm>

#include "tests/support/close.h"
#include "tests/support/reference_training.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

struct Row {
  const char* key;
  const char* usual;    ///< the default, as in config.json
  const char* changed;  ///< another value than small_config() has
  const char* effects;  ///< of the change, as effects() tells them
};

const Row kRows[] = {
    {"vocab", "256", "12", "parameters"},
    {"d_model", "128", "12", "parameters"},
    {"layers", "4", "3", "parameters"},
    {"heads", "4", "4", "logits, gradients"},
    {"key_width", "128", "12", "parameters"},
    {"value_width", "256", "8", "parameters"},
    {"ffn_width", "256", "10", "parameters"},
    {"chunk", "64", "4", "rounding"},
    {"rotation", "\"linspace\"", "rope", "logits, gradients"},
    {"gamma", "\"arange\"", "log_linspace", "logits, gradients"},
    {"gammas", "[]", "0.6,1", "logits, gradients"},
    {"score_norm", "\"paper\"", "none", "logits, gradients"},
    {"score_norm_gradient", "true", "false", "gradients"},
    {"head_norm", "\"layer\"", "rms", "parameters"},  // it has no bias
    {"head_norm_eps", "1e-05", "0.1", "logits, gradients"},
    {"head_affine", "\"channel\"", "shared", "parameters"},
    {"gate", "\"swish\"", "gelu", "logits, gradients"},
    {"block_norm", "\"layer\"", "rms", "parameters"},
    {"block_norm_eps", "1e-05", "0.1", "logits, gradients"},
    {"ffn", "\"mlp\"", "glu", "parameters"},
    {"ffn_activation", "\"gelu\"", "relu", "logits, gradients"},
    {"embed_scale", "1.0", "3.25", "logits, gradients"},
    {"tie_head", "false", "true", "parameters"},
};

const std::vector<std::int32_t> kText{10, 0, 3, 3, 7, 1,
                                      9,  4, 4, 2, 8, 5};  // the first 11 predict the last 11

/// Logits and gradients of the loss by every parameter, in f64.
struct Computed {
  std::vector<Parameter> parameters;
  Tensor logits;
  std::vector<Tensor> gradients;
};

Computed compute(const Config& config, Form form = Form::chunkwise) {
  RetNet model = random_model(config, 5);
  ForwardOptions options;
  options.form.form = form;
  const Tensor tokens = Tensor::from(std::vector<std::int32_t>(kText.begin(), kText.end() - 1), {1, 11});
  const Tensor targets = Tensor::from(std::vector<std::int32_t>(kText.begin() + 1, kText.end()), {1, 11});
  Computed result{model.parameters(), model.forward(tokens, options).value(), {}};
  backward(model.loss(tokens, targets, options));
  for (const Parameter& p : result.parameters) result.gradients.push_back(contiguous(p.variable.grad()));
  return result;
}

/// What differs between two models: names and shapes of parameters; else logits and gradients.
std::string effects(const Computed& a, const Computed& b) {
  bool same = a.parameters.size() == b.parameters.size();
  for (std::size_t i = 0; same && i < a.parameters.size(); ++i)
    same = a.parameters[i].name == b.parameters[i].name &&
           a.parameters[i].variable.shape() == b.parameters[i].variable.shape();
  if (!same) return "parameters";
  double apart = 0;
  bool same_bits = bit_difference(a.logits, b.logits).empty();
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    const Tensor &w = a.parameters[i].variable.value(), &v = b.parameters[i].variable.value();
    if (!bit_difference(w, v).empty()) return "other weights of " + a.parameters[i].name;
    apart = std::max(apart, error(a.gradients[i], b.gradients[i]));
    same_bits = same_bits && bit_difference(a.gradients[i], b.gradients[i]).empty();
  }
  constexpr double kRounding = 1e-11;
  const bool logits = error(a.logits, b.logits) > kRounding, gradients = apart > kRounding;
  if (!logits && !gradients) return same_bits ? "nothing" : "rounding";
  return !logits ? "gradients" : gradients ? "logits, gradients" : "logits";
}

/// "" or where logits or gradients are not those of the plain loops.
std::string reference_difference(const Config& config, const Computed& computed) {
  Tape tape;
  ReferenceModel<Real>::Weights weights;
  for (const Parameter& p : computed.parameters)
    for (const double w : p.variable.value().to_vector<double>()) weights[p.name].push_back(Real(w, tape));
  const auto rows = ReferenceModel<Real>(config, weights).logits({kText.begin(), kText.end() - 1});
  Array logits{computed.logits.shape(), {}};
  Real loss = 0;
  for (std::size_t n = 0; n < rows.size(); ++n) {
    Real total = 0;
    for (const Real& logit : rows[n]) total += exp(logit), logits.values.push_back(logit.value);
    loss += (log(total) - rows[n][static_cast<std::size_t>(kText[n + 1])]) / Real(11.0);
  }
  std::string text = difference(computed.logits, logits, 1e-11);
  const std::vector<double> slopes = tape.gradient(loss.at);
  for (std::size_t i = 0; i < computed.parameters.size(); ++i) {
    const Parameter& p = computed.parameters[i];
    Array expected{p.variable.shape(), {}};
    for (const Real& w : weights[p.name]) expected.values.push_back(slopes[static_cast<std::size_t>(w.at)]);
    const std::string apart = difference(computed.gradients[i], expected, 1e-10);
    if (!apart.empty()) text += "; gradient of " + p.name + ": " + apart;
  }
  return text;
}

}  // namespace

TEST_CASE("every choice of a config changes what it says, and nothing else", "[config][model][reference]") {
  const Computed base = compute(small_config());
  Config defaults;
  for_each_field(defaults, [&](const char* key, const auto& field, const char*) {
    CAPTURE(key);
    const Row* row = std::find_if(std::begin(kRows), std::end(kRows),
                                  [&](const Row& r) { return r.key == std::string(key); });
    if (row == std::end(kRows)) {
      FAIL_CHECK("this choice has no row in the table of effects");
      return;
    }
    CHECK(field_to_json(field).dump() == row->usual);
    Config config = small_config();
    set_field(config, key, row->changed);
    config.validate();
    const Computed changed = compute(config);
    CHECK(effects(base, changed) == row->effects);
    for (const Form form : {Form::chunkwise, Form::parallel, Form::recurrent})
      CHECK(reference_difference(config, compute(config, form)) == "");
  });
}

TEST_CASE("gradients are those of the plain loops, under every combination of choices",
          "[model][reference]") {
  for (unsigned number = 0; number < 20; ++number) {
    const Config config = random_choices(number);
    CAPTURE(number, to_json(config).dump());
    CHECK(reference_difference(config, compute(config)) == "");
  }
}

}  // namespace retnet::test
