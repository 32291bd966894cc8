// The operation table: norm, weights and gate in one pass, linear maps with what follows them, rotation in
// place.

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double swish_of(double x) { return x * sigmoid_of(x); }
double gelu_of(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }

/// eps is large enough for a wrong use of it to show.
constexpr double kEps = 0.1;

/// in[] = x, weight and, where there are more, bias and gate.
GroupNormInputs norm_inputs(const std::vector<Tensor>& given, std::int64_t groups, bool center) {
  const std::vector<Tensor> in = at_least_f32(given);
  GroupNormInputs r{in[0], in[1], {}, {}, {groups, kEps, center, Activation::none}};
  if (in.size() == 4) r.bias = in[2], r.gate = in[3], r.options.activation = Activation::swish;
  return r;
}

Variable norm_of(const std::vector<Variable>& in, std::int64_t groups, bool center) {
  if (in.size() == 4)
    return group_norm(in[0], in[1], in[2], in[3], {groups, kEps, center, Activation::swish});
  return group_norm(in[0], in[1], {}, {}, {groups, kEps, center, Activation::none});
}

/// The norm of one row in `groups` parts, times weights that may be those of one part.
Array norm_reference(const std::vector<Array>& in, std::int64_t groups, bool center) {
  const std::int64_t width = in[0].shape.back(), n = width / groups;
  Array y = in[0];
  for (std::size_t begin = 0; begin < y.values.size(); begin += static_cast<std::size_t>(n)) {
    double mean = 0, variance = 0;
    for (std::int64_t i = 0; i < n && center; ++i) mean += in[0].values[begin + i] / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i)
      variance +=
          (in[0].values[begin + i] - mean) * (in[0].values[begin + i] - mean) / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::size_t at = begin + i, channel = at % static_cast<std::size_t>(in[1].shape[0]);
      y.values[at] = (in[0].values[at] - mean) / std::sqrt(variance + kEps) * in[1].values[channel];
      if (in.size() == 4) y.values[at] = (y.values[at] + in[2].values[channel]) * swish_of(in[3].values[at]);
    }
  }
  return y;
}

Operation norm_operation(const std::string& name, std::int64_t groups, bool center,
                         std::function<std::vector<Case>(std::int64_t)> cases) {
  Operation op;
  op.name = name;
  op.declared = {"group_norm(Variable, Variable, Variable, Variable, GroupNormOptions)",
                 "group_norm(GroupNormInputs)",
                 "group_norm_grad(GroupNormInputs, GroupNormOutputs, Tensor, Tensor)"};
  op.cases = std::move(cases);
  op.function = [=](const std::vector<Variable>& in) { return norm_of(in, groups, center); };
  op.value = [=](const std::vector<Tensor>& in) { return group_norm(norm_inputs(in, groups, center)).y; };
  op.reference = [=](const std::vector<Array>& in) { return norm_reference(in, groups, center); };
  op.smallest = 1, op.informative = 2, op.large = 5003;
  return op;
}

void add_norms(std::vector<Operation>& table) {
  table.push_back(norm_operation("group_norm, gated", 2, true, [](std::int64_t n) {
    const Shape one{n}, all{2 * n};
    return std::vector<Case>{{{3, 2 * n}, {2 * n}, {2 * n}, {3, 2 * n}},
                             {{2, 2, 2 * n}, {n}, {n}, {2, 2, 2 * n}}};
  }));
  table.push_back(norm_operation("group_norm, root mean square", 1, false, [](std::int64_t n) {
    return std::vector<Case>{{{n}, {n}}, {{3, n}, {n}}, {{2, 2, n}, {n}}};
  }));
  // Rows enough for several slices of the sums over rows.
  table.push_back(norm_operation("group_norm of many rows", 3, true, [](std::int64_t n) {
    return std::vector<Case>{{{n, 6}, {6}, {6}, {n, 6}}, {{n, 6}, {2}, {2}, {n, 6}}};
  }));
  table.back().large = 1003;
}

/// The sum over p of x[.., p] w[o, p], plus the residual, through f.
Array linear_reference(const std::vector<Array>& in, double (*f)(double)) {
  Shape shape = in[0].shape;
  const std::int64_t inner = shape.back();
  shape[shape.rank() - 1] = in[1].shape[0];
  return make_array(shape, [&](const Index& i) {
    Index x = i, w{i.back(), 0};
    double total = in.size() == 3 ? element(in[2], i) : 0;
    for (std::int64_t p = 0; p < inner; ++p) {
      x.back() = w[1] = p;
      total += element(in[0], x) * element(in[1], w);
    }
    return f(total);
  });
}

void add_linear(std::vector<Operation>& table) {
  Operation op = differentiable(
      "linear with a residual", "linear(X, X, X)",
      [](std::int64_t n) {
        return std::vector<Case>{
            {{3, n}, {4, n}, {3, 4}}, {{2, 2, 3}, {n, 3}, {2, 2, n}}, {{n, 3}, {2, 3}, {n, 2}}};
      },
      [](const auto& in) { return linear(in[0], in[1], in[2]); },
      [](const std::vector<Array>& in) { return linear_reference(in, [](double x) { return x; }); });
  op.declared.push_back("linear_weight_grad(Tensor, Tensor)");
  op.large = 2003;
  table.push_back(op);

  Operation activated;
  activated.name = "linear with an activation";
  activated.declared = {"linear(Variable, Variable, Activation)", "linear(Tensor, Tensor, Activation)"};
  activated.cases = [](std::int64_t n) { return std::vector<Case>{{{3, n}, {4, n}}, {{n, 3}, {2, 3}}}; };
  activated.function = [](const std::vector<Variable>& in) { return linear(in[0], in[1], Activation::gelu); };
  activated.value = [](const std::vector<Tensor>& in) { return linear(in[0], in[1], Activation::gelu).y; };
  activated.reference = [](const std::vector<Array>& in) { return linear_reference(in, gelu_of); };
  activated.large = 2003;
  table.push_back(activated);
}

void add_activations(std::vector<Operation>& table) {
  const std::pair<Activation, double (*)(double)> kinds[] = {
      {Activation::swish, swish_of},
      {Activation::gelu, gelu_of},
      {Activation::relu, [](double x) { return x > 0 ? x : 0; }},
      {Activation::none, [](double x) { return x; }}};
  for (const auto& [kind, reference] : kinds) {
    Operation op;
    op.name = "activate, " + std::to_string(static_cast<int>(kind));
    op.declared = {"activate(Activation, Variable)", "activate(Activation, Tensor)",
                   "activate_grad(Activation, Tensor, Tensor)"};
    op.cases = unary_cases;
    op.function = [kind = kind](const std::vector<Variable>& in) { return mul(activate(kind, in[0]), 1.5); };
    op.value = [kind = kind](const std::vector<Tensor>& in) { return mul(activate(kind, in[0]), 1.5); };
    op.reference = [f = reference](const std::vector<Array>& in) {
      return make_array(in[0].shape, [&](const Index& i) { return 1.5 * f(element(in[0], i)); });
    };
    op.domain = Domain::off_zero;
    table.push_back(op);
  }
}

/// Some columns of a wider matrix, turned in place by quarter turns: (a, b) becomes (-b, a), or (b, -a)
/// backwards.
Tensor turned(const Tensor& x, bool inverse) {
  const std::int64_t B = x.dim(0), T = x.dim(1), H = x.dim(2), dk = x.dim(3);
  const Tensor wide = Tensor::empty({B, T, H + 1, dk}, x.dtype(), x.device());
  const Tensor part = slice(wide, 2, 0, H);
  copy_into(part, x);
  const Dtype table = x.dtype() == Dtype::bf16 ? Dtype::f32 : x.dtype();
  const Shape angles{T, dk / 2};
  rotate_in_place(part, Tensor::zeros(angles, table, x.device()), Tensor::full(angles, 1, table, x.device()),
                  0.5, inverse);
  return contiguous(part);
}

void add_rotation_in_place(std::vector<Operation>& table) {
  for (const bool inverse : {false, true}) {
    table.push_back(value_only(
        inverse ? "rotate_in_place, back" : "rotate_in_place",
        {"rotate_in_place(Tensor, Tensor, Tensor, double, bool)"},
        [](std::int64_t n) {
          return std::vector<Case>{{{2, n, 3, 4}}, {{2, 3, 1, 2 * n}}};
        },
        [inverse](const std::vector<Tensor>& in) { return turned(in[0], inverse); },
        [inverse](const std::vector<Array>& in) {
          return make_array(in[0].shape, [&](Index i) {
            const bool odd = i[3] % 2;
            i[3] += odd ? -1 : 1;
            return (odd == inverse ? -0.5 : 0.5) * element(in[0], i);
          });
        }));
    table.back().large = 3001;
  }
}

}  // namespace

void add_fused(std::vector<Operation>& table) {
  add_norms(table);
  add_linear(table);
  add_activations(table);
  add_rotation_in_place(table);
}

}  // namespace retnet::test
