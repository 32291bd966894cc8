// The block and the model: Eq. (8) and Eq. (9) against an independent implementation, and the laws on whole
// models.

#include "tests/support/reference_model.h"

#include <cmath>

#include "kernels/parallel.h"
#include "retnet/compare_forms.h"
#include "tests/support/close.h"
#include "tests/support/gradcheck.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr Form kForms[] = {Form::parallel, Form::recurrent, Form::chunkwise};

ForwardOptions in_form(Form form) {
  ForwardOptions options;
  options.form.form = form;
  return options;
}

Array reference_logits(RetNet& model, const Tensor& tokens) {
  const ReferenceModel<> reference(model);
  const std::int64_t N = tokens.dim(1);
  std::vector<ReferenceModel<>::Rows> all;
  for (std::int64_t b = 0; b < tokens.dim(0); ++b)
    all.push_back(reference.logits(select(tokens, 0, b).to_vector<std::int32_t>()));
  return make_array({tokens.dim(0), N, model.config().vocab}, [&](const Index& at) {
    return all[static_cast<std::size_t>(at[0])][static_cast<std::size_t>(at[1])]
              [static_cast<std::size_t>(at[2])];
  });
}

}  // namespace

TEST_CASE("Eq. (8) and Eq. (9): the model equals one written in plain loops, under every choice",
          "[eq8][eq9][eqR1][eqR4]") {
  for (unsigned number = 0; number < 60; ++number) {
    RetNet model = random_model(random_choices(number), number + 1);
    const Tensor tokens = random_ids({2, 7}, 11, number);
    CAPTURE(number, to_json(model.config()).dump());
    const Array expected = reference_logits(model, tokens);
    for (const Form form : kForms)
      CHECK(difference(model.forward(tokens, in_form(form)).value(), expected, 1e-11) == "");
  }
}

TEST_CASE("f32 models agree with plain loops to rounding", "[eq8][eq9]") {
  for (unsigned number = 0; number < 10; ++number) {
    RetNet model = random_model(random_choices(number), number + 1, Dtype::f32);
    const Tensor tokens = random_ids({2, 7}, 11, number);
    // Measured: up to 3e-6; head norms of nearly equal values magnify rounding.
    CHECK(difference(model.forward(tokens).value(), reference_logits(model, tokens), 3e-5) == "");
  }
}

TEST_CASE(
    "Eq. (8): GroupNorm sees one token and one head; the future changes nothing of the past, to the last bit",
    "[law2][eq8]") {
  for (unsigned number = 0; number < 12; ++number) {
    RetNet model = random_model(random_choices(number), number + 1, number % 2 ? Dtype::f32 : Dtype::f64);
    const Tensor tokens = random_ids({2, 9}, 11, number), changed = clone(tokens);
    copy_into(slice(changed, 1, 5, 9), random_ids({2, 4}, 11, number + 77));
    for (const Form form : kForms) {
      const Tensor before = model.forward(tokens, in_form(form)).value();
      const Tensor after = model.forward(changed, in_form(form)).value();
      CHECK(bit_difference(slice(after, 1, 0, 5), slice(before, 1, 0, 5)) == "");
      CHECK(error(slice(after, 1, 5, 9), slice(before, 1, 5, 9)) > 1e-4);
    }
  }
}

TEST_CASE("Law 3: a sequence gets the same logits alone or in a batch, bit for bit", "[law3]") {
  for (unsigned number = 0; number < 8; ++number) {
    RetNet model = random_model(random_choices(number), number + 1, Dtype::f32);
    const Tensor tokens = random_ids({5, 8}, 11, number);
    for (const Form form : kForms) {
      const Tensor together = model.forward(tokens, in_form(form)).value();
      for (std::int64_t b = 0; b < 5; ++b)
        CHECK(bit_difference(model.forward(slice(tokens, 0, b, b + 1), in_form(form)).value(),
                             slice(together, 0, b, b + 1)) == "");
    }
  }
}

TEST_CASE("Law 4: gradients of the loss by every parameter, under every choice", "[law4][eq8][eq9]") {
  for (unsigned number = 0; number < 12; ++number) {
    Config config = random_choices(number);
    config.layers = 1;
    RetNet model = random_model(config, number + 1);
    const Tensor tokens = random_ids({2, 5}, 11, number), targets = random_ids({2, 5}, 11, number + 1);
    std::vector<Parameter> parameters = model.parameters();
    std::vector<Tensor> values;
    for (const Parameter& p : parameters) values.push_back(p.variable.value());
    const auto loss = model.loss(tokens, targets, in_form(kForms[number % 3]));
    backward(loss);
    CAPTURE(number, to_json(config).dump());
    for (Parameter& p : parameters) {
      INFO(p.name);
      // Central differences of a few elements, moved in place of the whole tensor.
      const std::vector<double> gradient = p.variable.grad().to_vector<double>();
      const Tensor original = p.variable.value();
      double largest = 0;
      for (std::int64_t e = 0; e < original.size(); e += std::max<std::int64_t>(1, original.size() / 5)) {
        double losses[2];
        for (const int side : {0, 1}) {
          std::vector<double> moved = original.to_vector<double>();
          moved[static_cast<std::size_t>(e)] += side ? 1e-5 : -1e-5;
          p.variable.set_value(Tensor::from(moved, original.shape()));
          const NoGrad no_grad;
          losses[side] = model.loss(tokens, targets, in_form(kForms[number % 3])).value().item();
        }
        p.variable.set_value(original);
        const double numeric = (losses[1] - losses[0]) / 2e-5, rule = gradient[static_cast<std::size_t>(e)];
        CHECK(std::abs(numeric - rule) <= 1e-6 * std::max({1.0, std::abs(numeric), std::abs(rule)}));
        largest = std::max(largest, std::abs(numeric));
      }
      // A relu can be dead for one unit and a token can be absent, but not everywhere at once.
      if (p.name != "embed.weight") CHECK(sum_squares(contiguous(p.variable.grad())) > 1e-16);
    }
  }
}

TEST_CASE("Holding c constant changes gradients with eps, and nothing at eps = 0", "[eqR4]") {
  // The head norm is scale-invariant only without eps: then c cancels, and with it its gradient.
  for (const double eps : {0.0, 1e-2}) {
    Config config = small_config();
    config.head_norm_eps = eps;
    double apart[2] = {0, 0};
    std::vector<Tensor> kept[2];
    for (const bool differentiate : {false, true}) {
      config.score_norm_gradient = differentiate;
      RetNet model = random_model(config, 3);
      backward(model.loss(random_ids({2, 9}, 11, 1), random_ids({2, 9}, 11, 2)));
      for (const Parameter& p : model.parameters()) kept[differentiate].push_back(p.variable.grad());
    }
    for (std::size_t i = 0; i < kept[0].size(); ++i)
      apart[0] = std::max(apart[0], error(kept[0][i], kept[1][i]));
    if (eps == 0) {
      CHECK(apart[0] <= 1e-11);
    } else {
      CHECK(apart[0] > 1e-6);
    }
  }
}

TEST_CASE("At eps = 0 the score norm cancels; with eps it does not", "[eqR4]") {
  for (const double eps : {0.0, 1e-2}) {
    Config config = small_config();
    config.head_norm_eps = eps;
    const Tensor tokens = random_ids({2, 9}, 11, 1);
    const Tensor with = random_model(config, 3).forward(tokens).value();
    config.score_norm = ScoreNorm::none;
    const double apart = error(random_model(config, 3).forward(tokens).value(), with);
    if (eps == 0) {
      CHECK(apart <= 1e-11);
    } else {
      CHECK(apart > 1e-4);
    }
  }
}

TEST_CASE("Recomputing activations changes no bit of loss or gradients, and needs less memory",
          "[recompute]") {
  Config config = small_config();
  config.layers = 6;
  ForwardOptions options;
  options.dropout = {0.2, {9, 100}};
  Tensor losses[2];
  std::vector<Tensor> kept[2];
  std::int64_t peak[2];
  for (const bool recompute : {false, true}) {
    RetNet model = random_model(config, 4, Dtype::f32);
    options.recompute = recompute;
    reset_peak_memory();
    const std::int64_t before = memory_stats().live;
    const Variable loss = model.loss(random_ids({8, 32}, 11, 1), random_ids({8, 32}, 11, 2), options);
    losses[recompute] = loss.value();
    backward(loss, Graph::release);
    peak[recompute] = memory_stats().peak - before;
    for (const Parameter& p : model.parameters()) kept[recompute].push_back(p.variable.grad());
  }
  CHECK(bit_difference(losses[1], losses[0]) == "");
  for (std::size_t i = 0; i < kept[0].size(); ++i) CHECK(bit_difference(kept[1][i], kept[0][i]) == "");
  CHECK(peak[1] < peak[0] / 2);
}

TEST_CASE("Dropout is a function of its key", "[dropout]") {
  RetNet model = random_model(small_config(), 4);
  const Tensor tokens = random_ids({2, 6}, 11, 1);
  const auto logits = [&](double p, std::uint64_t stream) {
    ForwardOptions options;
    options.dropout = {p, {9, stream}};
    return model.forward(tokens, options).value();
  };
  CHECK(bit_difference(logits(0.3, 5), logits(0.3, 5)) == "");
  CHECK(error(logits(0.3, 5), logits(0.3, 1000)) > 1e-3);
  CHECK(bit_difference(logits(0, 5), model.forward(tokens).value()) == "");
}

TEST_CASE("Weights depend on the seed alone, and their number is what the config says", "[model]") {
  for (unsigned number = 0; number < 20; ++number) {
    const Config config = random_choices(number);
    RetNet a(config, 7), b(config, 7), c(config, 8);
    std::int64_t total = 0;
    const auto pa = a.parameters(), pb = b.parameters(), pc = c.parameters();
    for (std::size_t i = 0; i < pa.size(); ++i) {
      CHECK(bit_difference(pa[i].variable.value(), pb[i].variable.value()) == "");
      if (pa[i].variable.rank() == 2) CHECK(error(pa[i].variable.value(), pc[i].variable.value()) > 0.1);
      total += pa[i].variable.size();
    }
    CHECK(total == config.parameters());
  }
}

TEST_CASE("Hand-offs between forms on whole models stay within law 1's bounds", "[law1]") {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    RetNet model = random_model(random_choices(0), 5, dtype);
    for (const FormDifference& d : compare_model(model, {})) {
      INFO(d.name);
      CHECK(d.worst() <= form_bound(dtype));
    }
  }
}

TEST_CASE("A fresh small model predicts about uniformly: loss near ln V", "[model]") {
  RetNet model(preset("tiny"));
  const NoGrad no_grad;
  const double loss = model.loss(random_ids({2, 64}, 256, 1), random_ids({2, 64}, 256, 2)).value().item();
  CHECK(std::abs(loss - std::log(256.0)) < 0.6);
}

}  // namespace retnet::test
