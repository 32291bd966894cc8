// Rows of zeros, gradients of zero, probabilities of zero and one, and ids that are out of range at any
// place.

#include <cmath>
#include <limits>

#include "retnet/model.h"
#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/gradcheck.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor ids_of(std::vector<std::int32_t> ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  return Tensor::from(std::move(ids), {n});
}

/// A random matrix whose row `zero` is 0.
Tensor with_zero_row(const Shape& shape, std::int64_t zero, unsigned seed, Dtype dtype = Dtype::f64) {
  const Tensor x = random(shape, seed, Layout::dense, dtype);
  fill(select(x, 0, zero), 0);
  return x;
}

/// Good ids but for one, at each place in turn, too large and negative.
template <class Body>
void for_each_bad_place(std::int64_t n, std::int32_t below, Body&& body) {
  for (std::int64_t place = 0; place < n; ++place)
    for (const std::int32_t bad : {below, -1, std::numeric_limits<std::int32_t>::min(), below + 1000}) {
      std::vector<std::int32_t> ids;
      for (std::int64_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>((i + 1) % below));
      ids[static_cast<std::size_t>(place)] = bad;
      CAPTURE(place, bad);
      body(place, ids_of(ids), std::to_string(bad));
    }
}

}  // namespace

TEST_CASE("a norm of a row of zeros, or of equal numbers, is zero with a finite gradient", "[edges][norm]") {
  constexpr double kEps = 1e-3;
  for (const bool center : {true, false})
    for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
      Tensor x = with_zero_row({3, 4}, 1, 3, dtype);
      if (center) fill(select(x, 0, 2), 2.5);
      CAPTURE(center, name(dtype));
      const Normalized y = normalize(x, kEps, center);
      CHECK(difference(select(y.y, 0, 1), Tensor::zeros({4}, dtype), 0) == "");
      if (center) CHECK(difference(select(y.y, 0, 2), Tensor::zeros({4}, dtype), 0) == "");
      CHECK(y.rstd.to(Device::cpu).at({1}) == Approx(1 / std::sqrt(kEps)).epsilon(1e-6));
      const Tensor dy = random({3, 4}, 4, Layout::dense, dtype);
      // dx = rstd (dy - mean(dy)), as y = 0 there.
      Tensor expected = mul(select(dy, 0, 1), 1 / std::sqrt(kEps));
      if (center) expected = sub(expected, mean(expected, 0, true));
      CHECK(difference(select(normalize_grad(y, dy, center), 0, 1), expected, 1e-6) == "");
      for (const bool gated : {false, true}) {
        GroupNormInputs in{
            x, random({4}, 5, Layout::dense, dtype), {}, {}, {2, kEps, center, Activation::none}};
        if (gated)
          in.bias = random({4}, 6, Layout::dense, dtype), in.gate = with_zero_row({3, 4}, 0, 7, dtype),
          in.options.activation = Activation::swish;
        const GroupNormOutputs out = group_norm(in);
        if (!gated) CHECK(difference(select(out.y, 0, 1), Tensor::zeros({4}, dtype), 0) == "");
        if (gated)  // a gate of zero closes, whatever is in the row; and a row of zeros is its bias
          CHECK(difference(select(out.y, 0, 0), Tensor::zeros({4}, dtype), 0) == "");
        if (gated)
          CHECK(difference(select(out.y, 0, 1), mul(in.bias, swish(select(in.gate, 0, 1))), 1e-6) == "");
        for (const Tensor& gradient : group_norm_grad(in, out, dy))
          if (gradient.defined()) CHECK(std::isfinite(sum_squares(contiguous(gradient))));
      }
    }
  for (const bool center : {true, false}) {
    const auto f = [&](const std::vector<Variable>& in) { return normalize(in[0], kEps, center); };
    CHECK(gradient_problem(f, {with_zero_row({3, 4}, 1, 8)}) == "");
    const auto grouped = [&](const std::vector<Variable>& in) {
      return group_norm(in[0], in[1], in[2], in[3], {2, kEps, center, Activation::swish});
    };
    CHECK(gradient_problem(grouped, {with_zero_row({3, 4}, 1, 9), random({4}, 1), random({4}, 2),
                                     with_zero_row({3, 4}, 1, 10)}) == "");
  }
}

TEST_CASE("dropout with p = 0 is its input, and so is its gradient", "[edges][dropout]") {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16}) {
    const Tensor x = astype(random({5, 7}, 1), dtype), dy = astype(random({5, 7}, 2), dtype);
    CHECK(bit_difference(dropout(x, 0, {1, 2}), x) == "");
    const Variable leaf(x, true);
    CHECK(bit_difference(gradients(mul(dropout(leaf, 0, {1, 2}), 1), dy, {leaf})[0], dy) == "");
  }
  CHECK(error_message([] { dropout(Tensor::zeros({2}), 1, {1, 2}); }) != "no error");
}

TEST_CASE("a gradient of exactly zero is not clipped, and one of exactly the limit neither",
          "[edges][optimizer]") {
  const auto clipped = [](double square, double clip) {
    const Clipping c = clip_by_norm(Tensor::from(std::vector<double>{square, 0}, {2}), clip);
    return std::pair(c.norm.item(), c.scale.item());
  };
  CHECK(clipped(0, 1) == std::pair(0.0, 1.0));
  CHECK(clipped(0, 1e-300) == std::pair(0.0, 1.0));
  CHECK(clipped(0, 0) == std::pair(0.0, 1.0));
  CHECK(clipped(9, 3) == std::pair(3.0, 1.0));
  CHECK(clipped(16, 3) == std::pair(4.0, 0.75));
  CHECK(clipped(16, 0) == std::pair(4.0, 1.0));
  CHECK(clipped(5e-324, 1).second == 1);
}

TEST_CASE("AdamW with a gradient of zero moves nothing but by decay, and eps is added to the root",
          "[edges][optimizer]") {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    kernels::AdamW s;
    s.learning_rate = 0.5, s.weight_decay = 0.25, s.beta1 = 0.8, s.beta2 = 0.9;
    const auto updated = [&](double g, double m, double v, bool decays, std::int64_t step) {
      s.step = step;
      const AdamWParameter p{Tensor::full({2}, 3, dtype), Tensor::full({2}, m, dtype),
                             Tensor::full({2}, v, dtype), Tensor::full({2}, g, dtype), decays};
      adamw_update(s, {p}, Tensor::scalar(1, Dtype::f64));
      return p.w.at({1});
    };
    CAPTURE(name(dtype));
    CHECK(updated(0, 0, 0, false, 1) == 3);  // 0 / (0 + eps), no NaN
    CHECK(updated(0, 0, 0, true, 1) == 3 * (1 - 0.125));
    const double tolerance = dtype == Dtype::f64 ? 1e-13 : 1e-6;
    // At the first step m / (1 - b1) = g and v / (1 - b2) = g^2: of g = eps the update is a half.
    CHECK(updated(1e-8, 0, 0, false, 1) == Approx(3 - 0.5 * 0.5).epsilon(tolerance));
    CHECK(updated(-1e-9, 0, 0, false, 1) == Approx(3 + 0.5 / 11).epsilon(tolerance));
    // Moments from before go on by their betas when the gradient is zero.
    const double m = 0.8 * 0.3 / (1 - std::pow(0.8, 4)), v = 0.9 * 0.04 / (1 - std::pow(0.9, 4));
    CHECK(updated(0, 0.3, 0.04, false, 4) == Approx(3 - 0.5 * m / (std::sqrt(v) + 1e-8)).epsilon(tolerance));
  }
}

TEST_CASE("a logit of -inf has no probability and no gradient; only it has none", "[edges][softmax]") {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    const Tensor x = Tensor::from(std::vector<double>{-kInfinity, 1, 2, 0, -kInfinity, -kInfinity}, {2, 3});
    const Tensor y = softmax(astype(x, dtype));
    CHECK(y.at({0, 0}) == 0);
    CHECK(y.at({0, 1}) == Approx(1 / (1 + std::exp(1.0))).epsilon(1e-6));
    CHECK(y.at({1, 0}) == 1);
    const Variable leaf(astype(x, dtype), true);
    const CrossEntropy loss = cross_entropy(leaf.value(), ids_of({2, 0}));
    CHECK(loss.loss.at({0}) == Approx(std::log(1 + std::exp(-1.0))).epsilon(1e-6));
    CHECK(loss.loss.at({1}) == 0);
    const Tensor dx = gradients(cross_entropy(leaf, ids_of({2, 0})), Tensor::full({2}, 1, dtype), {leaf})[0];
    CHECK(dx.at({0, 0}) == 0);
    CHECK(dx.at({0, 1}) == Approx(1 / (1 + std::exp(1.0))).epsilon(1e-6));
    for (const std::int64_t i : {0, 1, 2}) CHECK(dx.at({1, i}) == 0);
    CHECK(log_sum_exp(Tensor::full({1, 3}, -kInfinity, dtype)).at({0}) == -kInfinity);
  }
}

TEST_CASE("an id or target out of range is an error at any place", "[edges][ids]") {
  const Tensor table = random({6, 3}, 1), logits = random({5, 6}, 2);
  for_each_bad_place(5, 6, [&](std::int64_t, const Tensor& ids, const std::string& bad) {
    const std::string ending = " must be in 0 .. 5, got " + bad;
    CHECK(error_message([&] { embedding(table, ids); }) == "embedding: ids" + ending);
    CHECK(error_message([&] {
            embedding_grad(random({5, 3}, 3), ids, 6);
          }) == "embedding_grad: ids" + ending);
    CHECK(error_message([&] { gather(logits, ids); }) == "gather: ids" + ending);
    CHECK(error_message([&] { gather_grad(random({5}, 3), ids, 6); }) == "gather_grad: ids" + ending);
    CHECK(error_message([&] { cross_entropy(logits, ids); }) == "cross_entropy: targets" + ending);
    CHECK(error_message([&] { cross_entropy(Variable(logits, true), ids); }) ==
          "cross_entropy: targets" + ending);
  });
  const RetNet model = random_model(small_config(), 3);
  const Tensor good = ids_of({1, 2, 3, 4, 10});
  for_each_bad_place(5, 11, [&](std::int64_t, const Tensor& flat, const std::string& bad) {
    const Tensor ids = reshape(flat, {1, 5}), fine = reshape(good, {1, 5});
    CHECK(error_message([&] { model.forward(ids); }).ends_with(" must be in 0 .. 10, got " + bad));
    CHECK(error_message([&] { model.loss(ids, fine); }).ends_with(" must be in 0 .. 10, got " + bad));
    CHECK(error_message([&] { model.loss(fine, ids); }).ends_with(" must be in 0 .. 10, got " + bad));
  });
}

TEST_CASE("a bad id or target on the GPU spoils its own row and no other, at any place",
          "[gpu][edges][ids]") {
  RETNET_NEEDS_GPU();
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    const Tensor table = random({6, 3}, 1, Layout::dense, dtype),
                 logits = random({5, 6}, 2, Layout::dense, dtype);
    const Tensor dy = random({5, 3}, 3, Layout::dense, dtype), dloss = random({5}, 4, Layout::dense, dtype);
    const auto there = [](const Tensor& x) { return x.to(Device::hip); };
    for_each_bad_place(5, 6, [&](std::int64_t place, const Tensor& bad, const std::string&) {
      std::vector<std::int32_t> list = bad.to_vector<std::int32_t>();
      list[static_cast<std::size_t>(place)] = 0;
      const Tensor good = ids_of(list), ids = there(bad);
      const Tensor rows = embedding(there(table), ids).to(Device::cpu),
                   picked = gather(there(logits), ids).to(Device::cpu);
      const CrossEntropy loss = cross_entropy(there(logits), ids), right = cross_entropy(logits, good);
      const Tensor dx = cross_entropy_grad(loss, there(logits), ids, there(dloss)).to(Device::cpu),
                   expected_dx = cross_entropy_grad(right, logits, good, dloss);
      const Tensor dgather = gather_grad(there(dloss), ids, 6).to(Device::cpu);
      for (std::int64_t i = 0; i < 5; ++i) {
        CAPTURE(i);
        CHECK(std::isnan(loss.loss.to(Device::cpu).at({i})) == (i == place));
        CHECK(std::isnan(picked.at({i})) == (i == place));
        for (std::int64_t j = 0; j < 3; ++j) CHECK(std::isnan(rows.at({i, j})) == (i == place));
        if (i == place) {
          CHECK(sum_squares(contiguous(select(dgather, 0, i))) == 0);
          continue;
        }
        CHECK(bit_difference(select(rows, 0, i), select(embedding(table, good), 0, i)) == "");
        CHECK(loss.loss.to(Device::cpu).at({i}) == Approx(right.loss.at({i})).epsilon(1e-5));
        CHECK(difference(select(dx, 0, i), select(expected_dx, 0, i), 1e-5) == "");
        CHECK(bit_difference(select(dgather, 0, i), select(gather_grad(dloss, good, 6), 0, i)) == "");
      }
      // The gradient of the row that is not there goes nowhere.
      const Tensor without = clone(dy);
      fill(select(without, 0, place), 0);
      CHECK(difference(embedding_grad(there(dy), ids, 6), embedding_grad(without, good, 6), 1e-6) == "");
    });
  }
}

TEST_CASE("gradients of a model's logits, or of one layer's final S or z alone, fused as composed",
          "[edges][eq7][eq8]") {
  for (unsigned number = 0; number < 12; ++number) {
    RetNet model = random_model(random_choices(number), number + 1);
    const std::int64_t N = number % 3 == 0 ? 1 : 5;
    const Tensor tokens = random_ids({2, N}, 11, number);
    for (const bool previous : {false, true})
      for (int which = 0; which < 5; ++which) {
        CAPTURE(number, which, N, previous, to_json(model.config()).dump());
        const auto results = [&](bool reference) {
          ForwardOptions options;
          options.form.reference = reference;
          ModelState state = model.initial_state(2);
          if (previous) model.forward(random_ids({2, 3}, 11, 70 + number), state, options);
          const Variable logits = model.forward(tokens, state, options);
          const Variable y = which == 0   ? logits
                             : which <= 2 ? state.layers[static_cast<std::size_t>(which - 1)].S
                                          : state.layers[static_cast<std::size_t>(which - 3)].z;
          for (Parameter& p : model.parameters()) p.variable.zero_grad();
          backward(y, random(y.shape(), 9));
          std::vector<Tensor> flat;
          for (const Parameter& p : model.parameters())
            flat.push_back(p.variable.grad().defined()
                               ? clone(reshape(contiguous(p.variable.grad()), {p.variable.size()}))
                               : Tensor::zeros({p.variable.size()}, Dtype::f64));
          return concat(flat, 0);
        };
        const Tensor fused = results(false), composed = results(true);
        CHECK(sum_squares(composed) > 0);
        CHECK(difference(fused, composed, 1e-11) == "");
      }
  }
}

}  // namespace retnet::test
