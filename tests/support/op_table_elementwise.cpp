// The operation table: elementwise functions.

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
/// Phi, the distribution function of N(0, 1).
double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

/// Philox4x32-10, written a second time from the paper: number `i` of the block `block` of a stream.
std::uint32_t philox_word(RandomKey key, std::uint64_t block, int word) {
  std::uint64_t c[4] = {block & 0xffffffff, block >> 32, key.stream & 0xffffffff, key.stream >> 32};
  std::uint64_t k[2] = {key.seed & 0xffffffff, key.seed >> 32};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = c[0] * 0xD2511F53u, b = c[2] * 0xCD9E8D57u;
    const std::uint64_t next[4] = {(b >> 32) ^ c[1] ^ k[0], b & 0xffffffff, (a >> 32) ^ c[3] ^ k[1],
                                   a & 0xffffffff};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k[0] = (k[0] + 0x9E3779B9u) & 0xffffffff;
    k[1] = (k[1] + 0xBB67AE85u) & 0xffffffff;
  }
  return static_cast<std::uint32_t>(c[word]);
}

template <class F>
void add_unary(std::vector<Operation>& table, const std::string& name, Domain domain, F f,
               double (*reference)(double)) {
  table.push_back(differentiable(name, name + "(X)", unary_cases, f, each(reference)));
  table.back().domain = domain;
}

template <class F>
void add_binary(std::vector<Operation>& table, const std::string& name, Domain domain, F f,
                double (*reference)(double, double)) {
  table.push_back(differentiable(name, name + "(X, X)", binary_cases, f, each_pair(reference)));
  table.back().domain = domain;
}

void add_one_operand(std::vector<Operation>& table) {
  const Domain any = Domain::any, positive = Domain::positive, off_zero = Domain::off_zero;
  add_unary(
      table, "neg", any, [](const auto& in) { return neg(in[0]); }, [](double x) { return -x; });
  add_unary(
      table, "exp", any, [](const auto& in) { return exp(in[0]); }, [](double x) { return std::exp(x); });
  add_unary(
      table, "log", positive, [](const auto& in) { return log(in[0]); },
      [](double x) { return std::log(x); });
  add_unary(
      table, "sqrt", positive, [](const auto& in) { return sqrt(in[0]); },
      [](double x) { return std::sqrt(x); });
  add_unary(
      table, "abs", off_zero, [](const auto& in) { return abs(in[0]); },
      [](double x) { return std::fabs(x); });
  add_unary(
      table, "square", off_zero, [](const auto& in) { return square(in[0]); },
      [](double x) { return x * x; });
  add_unary(
      table, "tanh", any, [](const auto& in) { return tanh(in[0]); }, [](double x) { return std::tanh(x); });
  add_unary(
      table, "sigmoid", any, [](const auto& in) { return sigmoid(in[0]); }, sigmoid_of);
  add_unary(
      table, "relu", off_zero, [](const auto& in) { return relu(in[0]); },
      [](double x) { return x > 0 ? x : 0.0; });
  add_unary(
      table, "swish", any, [](const auto& in) { return swish(in[0]); },
      [](double x) { return x * sigmoid_of(x); });
  // With the exact normal distribution function, not its approximation by tanh.
  add_unary(
      table, "gelu", any, [](const auto& in) { return gelu(in[0]); },
      [](double x) { return x * normal_cdf(x); });
}

void add_constants(std::vector<Operation>& table) {
  table.push_back(differentiable(
      "add a constant", "add(X, double)", unary_cases, [](const auto& in) { return add(in[0], 0.75); },
      each([](double x) { return x + 0.75; })));
  table.push_back(differentiable(
      "mul by a constant", "mul(X, double)", unary_cases, [](const auto& in) { return mul(in[0], -1.5); },
      each([](double x) { return -1.5 * x; })));
  // The first number of this stream keeps its element, so that the gradient is not zero at size 1.
  table.push_back(differentiable(
      "dropout", "dropout(X, double, RandomKey)", unary_cases,
      [](const auto& in) {
        return dropout(in[0], 0.25, {7, 3});
      },
      [](const std::vector<Array>& in) {
        std::uint64_t i = 0;
        return make_array(in[0].shape, [&](const Index& index) {
          const double u = philox_word({7, 3}, i / 4, static_cast<int>(i % 4)) / 4294967296.0;
          ++i;
          return u < 0.25 ? 0 : element(in[0], index) / 0.75;
        });
      }));
  // Out and back, so that the result has a gradient in the input's dtype; f64 comes back rounded to f32.
  table.push_back(differentiable(
      "astype to f32", "astype(X, Dtype)", unary_cases,
      [](const auto& in) { return astype(astype(in[0], Dtype::f32), in[0].dtype()); },
      each([](double x) { return static_cast<double>(static_cast<float>(x)); })));
  table.back().smooth = false;
  table.push_back(differentiable(
      "astype to f64", "astype(X, Dtype)", unary_cases,
      [](const auto& in) { return astype(astype(in[0], Dtype::f64), in[0].dtype()); },
      each([](double x) { return x; })));
}

void add_two_operands(std::vector<Operation>& table) {
  const Domain any = Domain::any;
  add_binary(
      table, "add", any, [](const auto& in) { return add(in[0], in[1]); },
      [](double a, double b) { return a + b; });
  add_binary(
      table, "sub", any, [](const auto& in) { return sub(in[0], in[1]); },
      [](double a, double b) { return a - b; });
  add_binary(
      table, "mul", any, [](const auto& in) { return mul(in[0], in[1]); },
      [](double a, double b) { return a * b; });
  add_binary(
      table, "div", Domain::off_zero, [](const auto& in) { return div(in[0], in[1]); },
      [](double a, double b) { return a / b; });
  add_binary(
      table, "maximum", any, [](const auto& in) { return maximum(in[0], in[1]); },
      [](double a, double b) { return a > b ? a : b; });
  table.back().informative = 7;  // before that, one side may win everywhere
  add_binary(
      table, "minimum", any, [](const auto& in) { return minimum(in[0], in[1]); },
      [](double a, double b) { return a < b ? a : b; });
  table.back().informative = 7;
  table.push_back(value_only(
      "greater_equal", {"greater_equal(Tensor, Tensor)"}, binary_cases,
      [](const auto& in) { return greater_equal(in[0], in[1]); },
      each_pair([](double a, double b) { return a >= b ? 1.0 : 0.0; })));
  table.push_back(value_only(
      "greater_equal of equals", {"greater_equal(Tensor, Tensor)"}, unary_cases,
      [](const auto& in) { return greater_equal(in[0], in[0]); }, each([](double) { return 1.0; })));
}

void add_derivative(std::vector<Operation>& table, const std::string& name,
                    Tensor (*f)(const Tensor&, const Tensor&), double (*reference)(double, double)) {
  table.push_back(value_only(
      name, {name + "(Tensor, Tensor)"}, same_shape_cases,
      [f](const std::vector<Tensor>& in) { return f(in[0], in[1]); }, each_pair(reference)));
  table.back().domain = Domain::off_zero;
}

void add_derivatives(std::vector<Operation>& table) {
  add_derivative(table, "exp_grad", exp_grad, [](double y, double dy) { return y * dy; });
  add_derivative(table, "sqrt_grad", sqrt_grad, [](double y, double dy) { return dy / (2 * y); });
  add_derivative(table, "abs_grad", abs_grad, [](double x, double dy) { return std::copysign(1.0, x) * dy; });
  add_derivative(table, "square_grad", square_grad, [](double x, double dy) { return 2 * x * dy; });
  add_derivative(table, "tanh_grad", tanh_grad, [](double y, double dy) { return (1 - y * y) * dy; });
  add_derivative(table, "sigmoid_grad", sigmoid_grad, [](double y, double dy) { return (y - y * y) * dy; });
  add_derivative(table, "relu_grad", relu_grad, [](double x, double dy) { return x > 0 ? dy : 0.0; });
  add_derivative(table, "swish_grad", swish_grad, [](double x, double dy) {
    return (sigmoid_of(x) + x * sigmoid_of(x) * sigmoid_of(-x)) * dy;
  });
  add_derivative(table, "gelu_grad", gelu_grad, [](double x, double dy) {
    return (normal_cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0))) * dy;
  });
}

}  // namespace

void add_elementwise(std::vector<Operation>& table) {
  add_one_operand(table);
  add_constants(table);
  add_two_operands(table);
  add_derivatives(table);
}

}  // namespace retnet::test
