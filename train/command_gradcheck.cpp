#include <algorithm>
#include <cmath>
#include <memory>

#include "autograd/functions.h"
#include "autograd/gradcheck.h"
#include "retnet/model.h"
#include "train/commands.h"
#include "train/memory_need.h"
#include "train/output.h"
#include "train/ways.h"

namespace retnet {
namespace {

constexpr double kBound = 1e-6;
struct Given {
  std::vector<Override> config;
  std::int64_t batch = 2, length = 7, elements = 20, seed = 1;
  Device device = Device::cpu;
};

// Small enough to be differentiated one number at a time, and odd enough that no two sizes can be mixed up.
Config small_config() {
  Config config;
  config.vocab = 11, config.d_model = 6, config.layers = 2, config.heads = 2;
  config.key_width = 8, config.value_width = 12, config.ffn_width = 10, config.chunk = 3;
  return config;
}

Tensor random_tokens(const Given& given, std::int64_t vocab, std::uint64_t stream) {
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(given.batch * given.length); ++i)
    tokens.push_back(
        static_cast<std::int32_t>(kernels::random_bits({static_cast<std::uint64_t>(given.seed), stream}, i) %
                                  static_cast<std::uint64_t>(vocab)));
  return Tensor::from(tokens, {given.batch, given.length});
}

struct Checked {
  double worst = 0, largest = 0;  // relative error, and gradient
};

// Compares dL/dw with central differences at `elements` places of one parameter, spread evenly from the one
// with the largest gradient on.
Checked check_parameter(Variable& w, const Tensor& gradient, std::int64_t elements, const auto& loss) {
  const Tensor before = clone(w.value());
  const std::vector<double> values = before.to_vector<double>(), rule = gradient.to_vector<double>();
  const std::int64_t count = elements == 0 ? before.size() : std::min(elements, before.size());
  const auto smaller = [](double a, double b) { return std::abs(a) < std::abs(b); };
  const std::int64_t first = std::max_element(rule.begin(), rule.end(), smaller) - rule.begin();
  Checked checked;
  for (std::int64_t c = 0; c < count; ++c) {
    const auto i = static_cast<std::size_t>((first + c * before.size() / count) % before.size());
    const double h = 1e-5 * std::max(1.0, std::abs(values[i]));
    const auto loss_at = [&](double value) {
      std::vector<double> moved = values;
      moved[i] = value;
      w.set_value(Tensor::from(moved, before.shape()).to(before.device()));
      return loss();
    };
    const double up = loss_at(values[i] + h), down = loss_at(values[i] - h);
    const double numeric = (up - down) / ((values[i] + h) - (values[i] - h));
    const double error = std::abs(numeric - rule[i]) / std::max({1.0, std::abs(numeric), std::abs(rule[i])});
    if (std::isnan(error) || error > checked.worst) checked.worst = error;
    checked.largest = std::max(checked.largest, std::abs(numeric));
  }
  w.set_value(before);
  return checked;
}

// Moves every weight off its initial value, where norms have weight 1 and bias 0 and mistakes could cancel.
void randomize(RetNet& model, std::int64_t seed) {
  std::uint64_t stream = std::uint64_t{1} << 32;
  for (Parameter& parameter : model.parameters()) {
    const Tensor noise = rand_normal(parameter.variable.shape(), {static_cast<std::uint64_t>(seed), stream++},
                                     0, 0.3, Dtype::f64);
    parameter.variable.set_value(add(parameter.variable.value(), noise));
  }
}

// One row per parameter, one column per form. `worst` takes the largest error; NaN stays.
std::vector<std::vector<std::string>> check_model(const Given& given, const Config& config, double& worst) {
  RetNet model(config, static_cast<std::uint64_t>(given.seed), Dtype::f64);
  randomize(model, given.seed);
  model.to(given.device);
  const Tensor tokens = random_tokens(given, config.vocab, 1),
               targets = random_tokens(given, config.vocab, 2);
  std::vector<Parameter> parameters = model.parameters();
  std::vector<Variable> variables;
  std::vector<std::vector<std::string>> rows{{"parameter", "shape"}};
  for (const Parameter& parameter : parameters) {
    std::ostringstream shape;
    shape << parameter.variable.shape();
    variables.push_back(parameter.variable);
    rows.push_back({parameter.name, shape.str()});
  }
  for (const Way& way : kWays) {
    ForwardOptions options;
    options.form = way.options();
    const std::vector<Tensor> rules = gradients(model.loss(tokens, targets, options),
                                                Tensor::scalar(1, Dtype::f64, given.device), variables);
    rows[0].push_back(way.name);
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      const Checked checked = check_parameter(variables[p], rules[p], given.elements, [&] {
        const NoGrad no_grad;
        return model.loss(tokens, targets, options).value().item();
      });
      require(checked.largest > 1e-9, "gradcheck", parameters[p].name,
              " has no influence on the loss, so nothing can be checked; use other sizes or another seed");
      if (std::isnan(checked.worst) || checked.worst > worst) worst = checked.worst;
      rows[p + 1].push_back(formatted("%.1e", checked.worst));
    }
  }
  return rows;
}

int run(const Given& given) {
  Config config = small_config();
  apply(given.config, config);
  try {
    config.validate();
    require(given.batch >= 1 && given.length >= 1 && given.elements >= 0, "gradcheck",
            "--batch and --length must be at least 1 and --elements at least 0");
    // Held constant, the divisor is part of the loss and not of its gradient (docs/errata.md).
    require(config.score_norm == ScoreNorm::none || config.score_norm_gradient, "--score-norm-gradient",
            "false leaves a part out of the gradient, so it is not that of the loss, and there is nothing to "
            "compare it with; leave the flag out, or give --score-norm none too");
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  require_device(given.device);
  // Weights and their gradients, in f64.
  if (given.device == Device::cpu)
    require_memory("to check " + with_commas(config.parameters()) + " parameters",
                   16 * static_cast<double>(config.parameters()), "use a smaller model");
  double worst = 0;
  const auto rows = check_model(given, config, worst);
  std::ostringstream out;
  out << "gradients of a model's loss against central differences, f64: " << with_commas(config.parameters())
      << " parameters, " << given.batch << " sequences of " << given.length << " tokens\n"
      << "largest relative error\n\n"
      << table(rows) << "\n";
  const bool ok = worst <= kBound;
  if (ok)
    out << "all gradients agree: the largest error is " << formatted("%.1e", worst) << ", allowed is 1e-06\n";
  print(out.str());
  require(ok, "law 4", "gradients differ: the largest error is ", worst, ", allowed is ", kBound);
  return 0;
}

}  // namespace

Command gradcheck_command() {
  const auto given = std::make_shared<Given>();
  Command command{"gradcheck", "compares a model's gradients with finite differences", {}, {}, {}, {}};
  command.description =
      "Differentiates the loss of a small model by every parameter, by the rules and by central differences "
      "in f64, in each form. Exit code 1 when they differ by more than 1e-6.";
  command.examples = {"retnet gradcheck",
                      "retnet gradcheck --rotation rope --ffn glu --block-norm rms --elements 0"};
  command.add("--batch", "N", given->batch, "sequences");
  command.add("--length", "N", given->length, "tokens of each");
  command.add("--elements", "N", given->elements, "numbers checked per parameter, spread evenly; 0: all");
  command.add("--seed", "N", given->seed, "of weights and tokens");
  command.add_device(given->device);
  command.add_threads();
  add_fields(command, "model", small_config(), given->config);
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
