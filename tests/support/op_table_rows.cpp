// The operation table: functions of whole rows, indexing, rotation and recomputation.

#include <numeric>

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

using Row = std::vector<double>;

double log_sum_exp_of(const Row& row) {
  const double top = *std::max_element(row.begin(), row.end());
  double total = 0;
  for (const double value : row) total += std::exp(value - top);
  return std::log(total) + top;
}

Row softmax_of(const Row& row) {
  Row y = row;
  const double lse = log_sum_exp_of(row);
  for (double& value : y) value = std::exp(value - lse);
  return y;
}

Row normalized(const Row& row, double eps, bool center) {
  const double n = static_cast<double>(row.size());
  const double mean = center ? std::accumulate(row.begin(), row.end(), 0.0) / n : 0;
  double variance = 0;
  for (const double value : row) variance += (value - mean) * (value - mean) / n;
  Row y = row;
  for (double& value : y) value = (value - mean) / std::sqrt(variance + eps);
  return y;
}

// The value-level functions return what the gradient needs as well.
Variable rows_of(const Variable& y) { return y; }
Tensor rows_of(const Normalized& n) { return n.y; }
Variable loss_of(const Variable& loss) { return loss; }
Tensor loss_of(const CrossEntropy& c) { return c.loss; }

void add_softmax(std::vector<Operation>& table) {
  table.push_back(differentiable(
      "softmax", "softmax(X)", row_cases, [](const auto& in) { return softmax(in[0]); },
      each_row(softmax_of)));
  table.push_back(differentiable(
      "log_sum_exp", "log_sum_exp(X)", row_cases, [](const auto& in) { return log_sum_exp(in[0]); },
      each_row_to_one(log_sum_exp_of)));
  // eps is large enough for a wrong use of it to show.
  table.push_back(differentiable(
      "normalize", "normalize(X, double, bool)", row_cases,
      [](const auto& in) { return rows_of(normalize(in[0], 0.1)); },
      each_row([](const Row& row) { return normalized(row, 0.1, true); })));
  table.push_back(differentiable(
      "normalize without centring", "normalize(X, double, bool)", row_cases,
      [](const auto& in) { return rows_of(normalize(in[0], 0.1, false)); },
      each_row([](const Row& row) { return normalized(row, 0.1, false); })));
  for (std::size_t i = table.size() - 4; i < table.size(); ++i)
    table[i].smallest = 1, table[i].informative = 2;
}

std::vector<Case> logits_cases(std::int64_t n) {
  return {
      {{n}, Input({}, n)}, {{4, n}, Input({4}, n)}, {{2, 3, n}, Input({2, 3}, n)}, {{0, n}, Input({0}, n)}};
}

/// One number per row of in[0], by the row and the id that in[1] has for it.
template <class F>
Array per_row(const std::vector<Array>& in, F f) {
  return make_array(in[1].shape, [&](Index index) {
    const auto id = static_cast<std::size_t>(element(in[1], index));
    Row row;
    index.push_back(0);
    for (; index.back() < in[0].shape.back(); ++index.back()) row.push_back(element(in[0], index));
    return f(row, id);
  });
}

void add_indexing(std::vector<Operation>& table) {
  Operation cross_entropy_op = differentiable(
      "cross_entropy", "cross_entropy(X, Tensor)", logits_cases,
      [](const auto& in) { return loss_of(cross_entropy(in[0], ids_of(in[1]))); },
      [](const std::vector<Array>& in) {
        return per_row(in, [](const Row& row, std::size_t id) { return log_sum_exp_of(row) - row[id]; });
      });
  cross_entropy_op.smallest = 1, cross_entropy_op.informative = 2;
  table.push_back(cross_entropy_op);

  table.push_back(differentiable(
      "gather", "gather(X, Tensor)", logits_cases,
      [](const auto& in) { return gather(in[0], ids_of(in[1])); },
      [](const std::vector<Array>& in) {
        return per_row(in, [](const Row& row, std::size_t id) { return row[id]; });
      }));
  table.back().smallest = 1;

  table.push_back(differentiable(
      "embedding", "embedding(X, Tensor)",
      [](std::int64_t n) {
        return std::vector<Case>{
            {{5, n}, Input({2, 3}, 5)}, {{n + 1, 3}, Input({4}, n + 1)}, {{5, 3}, Input({n}, 5)}};
      },
      [](const auto& in) { return embedding(in[0], ids_of(in[1])); },
      [](const std::vector<Array>& in) {
        Shape shape = in[1].shape;
        shape.push_back(in[0].shape[1]);
        return make_array(shape, [&](Index index) {
          const std::int64_t column = index.back();
          index.pop_back();
          return element(in[0], {static_cast<std::int64_t>(element(in[1], index)), column});
        });
      }));
}

double angle(std::int64_t t, std::int64_t j) {
  return 0.3 * static_cast<double>(t % 100 + 1) / static_cast<double>(j + 1);
}

/// The tables for x [B, T, H, dk], transposed in memory, in the dtype that x computes in.
Tensor rotation_table(const Tensor& x, double (*f)(double)) {
  const Tensor table = empty_in_layout({x.dim(1), x.dim(3) / 2}, Layout::transposed,
                                       x.dtype() == Dtype::bf16 ? Dtype::f32 : x.dtype());
  write(table, make_array(table.shape(), [&](const Index& i) { return f(angle(i[0], i[1])); }));
  return table.to(x.device());
}
Tensor cosines(const Tensor& x) {
  return rotation_table(x, [](double a) { return std::cos(a); });
}
Tensor sines(const Tensor& x) {
  return rotation_table(x, [](double a) { return std::sin(a); });
}

/// Every pair as a complex number, times e^(i angle).
Array rotated(const Array& x, double sign) {
  return make_array(x.shape, [&](Index index) {
    const double a = sign * angle(index[1], index[3] / 2);
    const bool odd = index[3] % 2;
    index[3] -= odd;
    const double re = element(x, index);
    ++index[3];
    const double im = element(x, index);
    return odd ? re * std::sin(a) + im * std::cos(a) : re * std::cos(a) - im * std::sin(a);
  });
}

void add_rotation(std::vector<Operation>& table) {
  const auto cases = [](std::int64_t n) {
    return std::vector<Case>{{{2, n, 3, 4}}, {{1, 2, n, 2}}, {{2, 3, 1, 2 * n}}};
  };
  Operation op;
  op.name = "rotate";
  op.declared = {"rotate(Variable, Tensor, Tensor)"};
  op.cases = cases;
  op.function = [](const std::vector<Variable>& in) {
    return rotate(in[0], cosines(in[0].value()), sines(in[0].value()));
  };
  op.value = [](const std::vector<Tensor>& in) { return rotate(in[0], cosines(in[0]), sines(in[0])); };
  op.reference = [](const std::vector<Array>& in) { return rotated(in[0], 1); };
  op.large = 3001;
  table.push_back(op);
  table.push_back(value_only(
      "rotate back", {"rotate(Tensor, Tensor, Tensor, bool)"}, cases,
      [](const auto& in) { return rotate(in[0], cosines(in[0]), sines(in[0]), true); },
      [](const std::vector<Array>& in) { return rotated(in[0], -1); }));
  table.back().large = 3001;
}

void add_recompute(std::vector<Operation>& table) {
  Operation op;
  op.name = "recompute";
  op.declared = {"recompute(function<Variable(vector<Variable>)>, vector<Variable>)"};
  op.cases = same_shape_cases;
  op.function = [](const std::vector<Variable>& in) {
    const auto f = [](const std::vector<Variable>& x) { return mul(tanh(x[0]), add(x[1], x[0])); };
    return mul(recompute(f, in), in[0]);
  };
  op.value = [f = op.function](const std::vector<Tensor>& in) {
    return f({Variable(in[0]), Variable(in[1])}).value();
  };
  op.reference = each_pair([](double a, double b) { return std::tanh(a) * (a + b) * a; });
  table.push_back(op);
}

}  // namespace

void add_rows(std::vector<Operation>& table) {
  add_softmax(table);
  add_indexing(table);
  add_rotation(table);
  add_recompute(table);
}

}  // namespace retnet::test
