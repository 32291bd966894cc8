// The operation table: operations on values that have no differentiable counterpart.

#include <numeric>

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

Array same(const std::vector<Array>& in) { return in[0]; }

void add_copies(std::vector<Operation>& table) {
  table.push_back(value_only(
      "contiguous", {"contiguous(Tensor)"}, unary_cases, [](const auto& in) { return contiguous(in[0]); },
      same));
  table.push_back(value_only(
      "clone", {"clone(Tensor)"}, unary_cases, [](const auto& in) { return clone(in[0]); }, same));
  table.push_back(value_only(
      "astype to i32", {"astype(Tensor, Dtype)"}, unary_cases,
      [](const auto& in) { return astype(in[0], Dtype::i32); },
      each([](double x) { return std::trunc(x); })));
  table.push_back(value_only(
      "fill", {"fill(Tensor, double)"}, unary_cases,
      [](const auto& in) {
        const Tensor x = clone(in[0]);
        fill(x, 1.25);
        return x;
      },
      each([](double) { return 1.25; })));
  table.push_back(value_only(
      "copy_into", {"copy_into(Tensor, Tensor)"}, unary_cases,
      [](const auto& in) {
        const Tensor to = empty_in_layout(in[0].shape(), Layout::stepped, in[0].dtype(), in[0].device());
        copy_into(to, in[0]);
        return to;
      },
      same));
  table.push_back(value_only(
      "add_into", {"add_into(Tensor, Tensor)"}, same_shape_cases,
      [](const auto& in) {
        const Tensor a = clone(in[0]);
        add_into(a, in[1]);
        return a;
      },
      each_pair([](double a, double b) { return a + b; })));
}

using Row = std::vector<double>;

double dot(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

Row softmax_gradient(const Row& y, const Row& dy) {
  Row dx = dy;
  const double along_y = dot(y, dy);
  for (std::size_t i = 0; i < y.size(); ++i) dx[i] = y[i] * (dy[i] - along_y);
  return dx;
}

Row normalize_gradient(const Row& y, double rstd, const Row& dy, bool center) {
  const double n = static_cast<double>(y.size());
  const double mean = center ? std::accumulate(dy.begin(), dy.end(), 0.0) / n : 0, along_y = dot(y, dy) / n;
  Row dx = dy;
  for (std::size_t i = 0; i < y.size(); ++i) dx[i] = rstd * (dy[i] - mean - y[i] * along_y);
  return dx;
}

Row cross_entropy_gradient(const Row& x, double target, double dloss) {
  Row dx;
  double total = 0;
  for (const double logit : x) total += std::exp(logit);
  for (std::size_t i = 0; i < x.size(); ++i)
    dx.push_back(dloss * (std::exp(x[i]) / total - (static_cast<double>(i) == target ? 1 : 0)));
  return dx;
}

void add_row_gradients(std::vector<Operation>& table) {
  table.push_back(value_only(
      "softmax_grad", {"softmax_grad(Tensor, Tensor)"}, same_shape_cases,
      [](const auto& in) { return softmax_grad(in[0], in[1]); },
      each_rows([](const std::vector<Row>& in) { return softmax_gradient(in[0], in[1]); })));
  for (const bool center : {true, false})
    table.push_back(value_only(
        center ? "normalize_grad" : "normalize_grad without centring",
        {"normalize_grad(Normalized, Tensor, bool)"},
        [](std::int64_t n) {
          return std::vector<Case>{{{3, n}, {3}, {3, n}}, {{2, 3, n}, {2, 3}, {2, 3, n}}};
        },
        [center](const auto& in) {
          const Tensor rstd = in[1].dtype() == Dtype::bf16 ? in_dtype(in[1], Dtype::f32) : in[1];
          return normalize_grad(Normalized{in[0], rstd}, in[2], center);
        },
        each_rows([center](const std::vector<Row>& in) {
          return normalize_gradient(in[0], in[1][0], in[2], center);
        })));
  // From the logits, not from a given log-sum-exp: in bf16 that would be a rounding of its own.
  table.push_back(value_only(
      "cross_entropy_grad", {"cross_entropy_grad(CrossEntropy, Tensor, Tensor, Tensor)"},
      [](std::int64_t n) {
        return std::vector<Case>{{{4, n}, Input({4}, n), {4}}, {{n}, Input({}, n), {}}};
      },
      [](const auto& in) {
        CrossEntropy saved = cross_entropy(in[0], in[1]);
        saved.lse = in_layout(saved.lse, Layout::stepped, saved.lse.dtype());
        return cross_entropy_grad(saved, in[0], in[1], in[2]);
      },
      each_rows(
          [](const std::vector<Row>& in) { return cross_entropy_gradient(in[0], in[1][0], in[2][0]); })));
  for (std::size_t i = table.size() - 4; i < table.size(); ++i) table[i].smallest = 1;
}

void add_index_gradients(std::vector<Operation>& table) {
  table.push_back(value_only(
      "embedding_grad", {"embedding_grad(Tensor, Tensor, int64_t)"},
      [](std::int64_t n) {
        return std::vector<Case>{{{2, 3, n}, Input({2, 3}, 5)}, {{n, 3}, Input({n}, 5)}};
      },
      [](const auto& in) { return embedding_grad(in[0], in[1], 5); },
      [](const std::vector<Array>& in) {
        Array dtable = make_array({5, in[0].shape.back()}, [](const Index&) { return 0.0; });
        for_each_index(in[0].shape, [&](const Index& i) {
          const Index row(i.begin(), i.end() - 1);
          const double at =
              element(in[1], row) * static_cast<double>(in[0].shape.back()) + static_cast<double>(i.back());
          dtable.values[static_cast<std::size_t>(at)] += element(in[0], i);
        });
        return dtable;
      }));
  // Fewer tokens than for the rest: bf16 rounds every partial sum, so its error grows with their number.
  table.back().large = 2003;
  table.push_back(value_only(
      "gather_grad", {"gather_grad(Tensor, Tensor, int64_t)"},
      [](std::int64_t n) {
        return std::vector<Case>{{{n}, Input({n}, 4)}, {{2, n}, Input({2, n}, 4)}};
      },
      [](const auto& in) { return gather_grad(in[0], in[1], 4); },
      [](const std::vector<Array>& in) {
        Shape shape = in[0].shape;
        shape.push_back(4);
        return make_array(shape, [&](const Index& i) {
          const Index row(i.begin(), i.end() - 1);
          return element(in[1], row) == static_cast<double>(i.back()) ? element(in[0], row) : 0.0;
        });
      }));
}

/// w, m and v after one step, one after the other; in[] = w, m, v, gradient.
Tensor stepped(const kernels::AdamW& settings, const std::vector<Tensor>& in) {
  // The kernel has no bf16: parameters and their state stay in f32.
  const Dtype dtype = in[0].dtype() == Dtype::bf16 ? Dtype::f32 : in[0].dtype();
  std::vector<Tensor> x;
  for (const Tensor& t : in) x.push_back(clone(astype(t, dtype)));
  // Two parameters: the second is one element, and must not be touched by the first.
  const Device device = in[0].device();
  const Tensor w = Tensor::full({1}, 1, dtype, device), zero = Tensor::zeros({1}, dtype, device);
  const std::vector<AdamWParameter> parameters{{x[0], x[1], x[2], x[3]},
                                               {w, clone(zero), clone(zero), zero, false}};
  // Half of the factor comes as a setting, half where the gradients are. One that is not finite stops it all.
  adamw_update(settings, parameters, Tensor::scalar(std::nan(""), Dtype::f64, device));
  adamw_update(settings, parameters, Tensor::scalar(0.5, Dtype::f64, device));
  require(w.item() == 1, "stepped", "a parameter without gradient and decay has moved");
  return concat({x[0], x[1], x[2]}, 0);
}

Array stepped(const kernels::AdamW& s, const std::vector<Array>& in) {
  Array w = in[0], m = in[1], v = in[2];
  for (std::size_t i = 0; i < w.values.size(); ++i) {
    const double g = in[3].values[i] * s.gradient_scale * 0.5;
    m.values[i] += (1 - s.beta1) * (g - m.values[i]);
    v.values[i] += (1 - s.beta2) * (g * g - v.values[i]);
    const double m_hat = m.values[i] / (1 - std::pow(s.beta1, static_cast<double>(s.step)));
    const double v_hat = v.values[i] / (1 - std::pow(s.beta2, static_cast<double>(s.step)));
    w.values[i] -= s.learning_rate * (m_hat / (std::sqrt(v_hat) + s.eps) + s.weight_decay * w.values[i]);
  }
  w.shape[0] *= 3;
  w.values.insert(w.values.end(), m.values.begin(), m.values.end());
  w.values.insert(w.values.end(), v.values.begin(), v.values.end());
  return w;
}

void add_updates(std::vector<Operation>& table) {
  const kernels::AdamW settings{0.1, 0.8, 0.95, 0.01, 0.3, 0.5, 3};
  table.push_back(value_only(
      "adamw_update", {"adamw_update(AdamW, vector<AdamWParameter>, Tensor)"},
      [](std::int64_t n) {
        return std::vector<Case>{{{n, 3}, {n, 3}, {n, 3}, {n, 3}}};
      },
      [settings](const std::vector<Tensor>& in) { return stepped(settings, in); },
      [settings](const std::vector<Array>& in) { return stepped(settings, in); }));
  table.back().domain = Domain::positive;
  table.push_back(value_only(
      "clip_by_norm", {"clip_by_norm(Tensor, double)"},
      [](std::int64_t n) { return std::vector<Case>{{{n}}}; },
      [](const auto& in) {
        const Tensor squares = contiguous(square(astype(in[0], Dtype::f64)));
        const Clipping clipped = clip_by_norm(squares, 1), unclipped = clip_by_norm(squares, 0);
        return concat(
            {reshape(clipped.norm, {1}), reshape(clipped.scale, {1}), reshape(unclipped.scale, {1})}, 0);
      },
      [](const std::vector<Array>& in) {
        double total = 0;
        for (const double value : in[0].values) total += value * value;
        const double norm = std::sqrt(total);
        return Array{{3}, {norm, norm > 1 ? 1 / norm : 1, 1}};
      }));
}

void add_random(std::vector<Operation>& table) {
  // Values are only shape and dtype here; tests/tensor/random_test.cpp knows the numbers and their
  // distribution.
  const RandomKey key{11, 5};
  table.push_back(value_only(
      "rand_uniform", {"rand_uniform(Shape, RandomKey, double, double, Dtype, Device)"}, unary_cases,
      [key](const auto& in) {
        const Dtype dtype = in[0].dtype() == Dtype::bf16 ? Dtype::f32 : in[0].dtype();
        return rand_uniform(in[0].shape(), key, -2, 3, dtype, in[0].device());
      },
      [key](const std::vector<Array>& in) {
        std::uint64_t i = 0;
        return make_array(in[0].shape, [&](const Index&) {
          return -2 + 5 * (kernels::random_bits(key, i++) / 4294967296.0);
        });
      }));
  table.push_back(value_only(
      "rand_normal", {"rand_normal(Shape, RandomKey, double, double, Dtype, Device)"}, unary_cases,
      [key](const auto& in) {
        const Dtype dtype = in[0].dtype() == Dtype::bf16 ? Dtype::f32 : in[0].dtype();
        return rand_normal(in[0].shape(), key, 0.5, 2, dtype, in[0].device());
      },
      [key](const std::vector<Array>& in) {
        std::uint64_t i = 0;
        return make_array(in[0].shape, [&](const Index&) {
          const double u = (kernels::random_bits(key, 4 * i) + 1.0) / 4294967296.0;
          const double turn = kernels::random_bits(key, 4 * i + 1) / 4294967296.0;
          ++i;
          return 0.5 + 2 * std::sqrt(-2 * std::log(u)) * std::cos(2 * std::acos(-1.0) * turn);
        });
      }));
}

}  // namespace

void add_values(std::vector<Operation>& table) {
  add_copies(table);
  add_row_gradients(table);
  add_index_gradients(table);
  add_updates(table);
  add_random(table);
}

}  // namespace retnet::test
