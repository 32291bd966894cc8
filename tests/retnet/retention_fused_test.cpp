// The fused kernels against the composed forms, on sizes around those of their register tiles and blocks, and
// on inputs as projections leave them.

#include "kernels/parallel.h"
#include "tensor/storage.h"
#include "tests/support/retention_cases.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// How a fused form and its specification are called.
constexpr Way kPairs[][2] = {{kWays[2], kWays[3]}, {kWays[0], kWays[4]}};

/// [B, H, N, d] as column slices of one buffer of rows: heads inside steps, and other columns between the
/// rows.
void share_rows(RetentionCase& c) {
  const std::int64_t B = c.B, H = c.H, N = c.N, dk = c.dk, dv = c.dv;
  const Tensor rows = random({B, N, H * (2 * dk + 2 * dv)}, 99, Layout::dense, c.q.dtype());
  const auto columns = [&](std::int64_t from, std::int64_t d) {
    return transpose(reshape(slice(rows, 2, from, from + H * d), {B, N, H, d}), 1, 2);
  };
  c.q = columns(0, dk), c.k = columns(H * dk, dk), c.v = columns(2 * H * dk, dv);
}

/// A problem whose sizes are picked from these; `number` chooses.
RetentionCase tile_case(unsigned number, Dtype dtype) {
  RetentionCase c = random_case(number, dtype);
  std::mt19937_64 bits(number + 77);
  const auto pick = [&](std::initializer_list<std::int64_t> sizes) {
    return sizes.begin()[bits() % sizes.size()];
  };
  c.B = pick({1, 1, 2, 7, 33}), c.N = pick({1, 7, 33, 70, 150, 300}), c.C = pick({1, 2, 7, 33, 64, 100});
  c.dk = pick({1, 2, 7, 16, 33, 40}), c.dv = pick({1, 7, 32, 33, 72});
  if (c.B == 33) c.N = std::min<std::int64_t>(c.N, 33), c.dv = std::min<std::int64_t>(c.dv, 33);
  const unsigned seed = 100 * number;
  const auto fill = [&](Tensor& x, const Shape& shape, unsigned more) {
    x = random(shape, seed + more, Layout::dense, dtype);
  };
  fill(c.q, {c.B, c.H, c.N, c.dk}, 1), fill(c.k, {c.B, c.H, c.N, c.dk}, 2),
      fill(c.v, {c.B, c.H, c.N, c.dv}, 3);
  fill(c.S, {c.B, c.H, c.dk, c.dv}, 4), fill(c.z, {c.B, c.H, c.dk}, 5);
  fill(c.do_, {c.B, c.H, c.N, c.dv}, 6), fill(c.dS, {c.B, c.H, c.dk, c.dv}, 7),
      fill(c.dz, {c.B, c.H, c.dk}, 8);
  if (bits() % 2) share_rows(c);
  // Slow decays, and no scale-invariant outputs of a single step: results that vanish have no relative error.
  for (double& gamma : c.options.gamma) gamma = 0.8 + 0.2 * gamma;
  if (c.N > 1 && bits() % 4 == 0)
    c.S = Tensor::zeros(c.S.shape(), dtype), c.z = Tensor::zeros(c.z.shape(), dtype),
    c.s.assign(c.s.size(), 0.0);
  return c;
}

RetentionResult run_whole(const RetentionCase& c, const Way& way) {
  return run_with_gradients(c, {{way, c.N}});
}

RetentionCase only_row(const RetentionCase& c, std::int64_t b) {
  RetentionCase alone = c;
  alone.B = 1;
  for (Tensor* x : {&alone.q, &alone.k, &alone.v, &alone.S, &alone.z, &alone.do_, &alone.dS, &alone.dz})
    *x = slice(*x, 0, b, b + 1);
  return alone;
}

void check_same_bits(const RetentionResult& a, const RetentionResult& b) {
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    INFO(kResultNames[i]);
    CHECK(bit_difference(contiguous(a.tensors[i]), contiguous(b.tensors[i])) == "");
  }
}

}  // namespace

TEST_CASE("Fused forms equal the composed ones, with all gradients", "[fused][eq5][eq7][eqG12][eqG13]") {
  for (unsigned number = 0; number < 80; ++number) {
    const Dtype dtype = number % 2 ? Dtype::f32 : Dtype::f64;
    const RetentionCase c = tile_case(7000 + number, dtype);
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    for (const Way(&pair)[2] : kPairs) {
      const RetentionResult fused = run_whole(c, pair[0]), composed = run_whole(c, pair[1]);
      for (std::size_t i = 0; i < fused.tensors.size(); ++i) {
        INFO(pair[0].name << ": " << kResultNames[i]);
        CHECK(difference(fused.tensors[i], composed.tensors[i], dtype == Dtype::f32 ? 2e-5 : 1e-12) == "");
      }
    }
  }
}

TEST_CASE("Law 3 for gradients too: few heads are cut into chunks, many are not, and no bit differs",
          "[fused][law3]") {
  for (unsigned number = 0; number < 16; ++number) {
    RetentionCase c = tile_case(8000 + number, number % 2 ? Dtype::f32 : Dtype::f64);
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    for (const Way(&pair)[2] : kPairs) {
      INFO(pair[0].name);
      const RetentionResult batch = run_whole(c, pair[0]);
      for (const std::int64_t b : {std::int64_t{0}, c.B - 1}) {
        RetentionResult row = batch;
        for (Tensor& x : row.tensors) x = slice(x, 0, b, b + 1);
        check_same_bits(run_whole(only_row(c, b), pair[0]), row);
      }
    }
  }
}

TEST_CASE("Fused forms: any number of threads gives the same bits", "[fused][threads]") {
  const int before = kernels::num_threads();
  for (unsigned number = 0; number < 12; ++number) {
    const RetentionCase c = tile_case(9000 + number, Dtype::f32);
    CAPTURE(number, c.B, c.H, c.N, c.dk, c.dv, c.C);
    for (const Way(&pair)[2] : kPairs) {
      INFO(pair[0].name);
      kernels::set_num_threads(1);
      const RetentionResult one = run_whole(c, pair[0]);
      for (const int threads : {2, 3, 8}) {
        kernels::set_num_threads(threads);
        check_same_bits(run_whole(c, pair[0]), one);
      }
    }
  }
  kernels::set_num_threads(before);
}

TEST_CASE("Law 2 across blocks of the fused parallel form", "[fused][law2]") {
  RetentionCase c = random_case(2, Dtype::f32);
  c.B = 1, c.H = 2, c.N = 300, c.dk = 8, c.dv = 17, c.C = 64;
  c.options.gamma = {0.97, 1.0}, c.s = {0, 0};
  const auto outputs = [&](const Tensor& q, const Tensor& k, const Tensor& v, const Way& way) {
    return run(way, Variable(q), Variable(k), Variable(v), initial_state(1, 2, 8, 17), c.options, c.C)
        .o.value();
  };
  const auto numbers = [](std::int64_t d, unsigned seed) {
    return random({1, 2, 300, d}, seed, Layout::dense, Dtype::f32);
  };
  const Tensor q = numbers(8, 1), k = numbers(8, 2), v = numbers(17, 3);
  for (const std::int64_t n : {1, 63, 64, 127, 128, 200, 299})
    for (const Way(&pair)[2] : kPairs) {
      CAPTURE(n, pair[0].name);
      const Tensor other_k = clone(k), other_v = clone(v);
      copy_into(slice(other_k, 2, n, 300), slice(numbers(8, 4), 2, n, 300));
      copy_into(slice(other_v, 2, n, 300), slice(numbers(17, 5), 2, n, 300));
      CHECK(bit_difference(contiguous(slice(outputs(q, other_k, other_v, pair[0]), 2, 0, n)),
                           contiguous(slice(outputs(q, k, v, pair[0]), 2, 0, n))) == "");
    }
}

TEST_CASE("The fused parallel form needs no memory for its N x N scores", "[fused][eq5]") {
  const std::int64_t n = 2048;
  const Variable q(random({1, 1, n, 4}, 1, Layout::dense, Dtype::f32), true), k(q.value()), v(q.value());
  reset_peak_memory();
  const std::int64_t before = memory_stats().live;
  RetentionOptions options;
  options.gamma = {0.99};
  const Retained r = retention(Form::parallel, q, k, v, initial_state(1, 1, 4, 4), options, 64);
  gradients(r.o, Tensor::full({1, 1, n, 4}, 1), {q});
  CHECK(memory_stats().peak - before < n * n * 4 / 20);
}

TEST_CASE("The gradients of retention lie as its operands do, by head or by step", "[fused]") {
  const std::int64_t B = 2, H = 3, N = 5;
  for (const bool by_step : {false, true}) {
    const auto operand = [&](std::int64_t d, unsigned seed) {
      return by_step ? transpose(random({B, N, H, d}, seed), 1, 2) : random({B, H, N, d}, seed);
    };
    const RetentionInputs in{operand(4, 1),
                             operand(4, 2),
                             operand(7, 3),
                             random({B, H, 4, 7}, 4),
                             random({B, H, 4}, 5),
                             Tensor::full({H, 3}, 1, Dtype::f64),
                             {}};
    const std::vector<Tensor> gradients = retention_grad(in, retention(in), operand(7, 6));
    const Tensor* const operands[] = {&in.q, &in.k, &in.v};
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(by_step, i);
      CHECK(gradients[i].strides() == operands[i]->strides());  // so a leaf keeps it without a copy
    }
  }
}

}  // namespace retnet::test
