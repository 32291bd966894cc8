#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "tensor/ops.h"
#include "tensor/text.h"

namespace retnet {
namespace {

constexpr double kVacuous = 1e-6;

/// L = sum(f(inputs) w), in double, with input `index` replaced by `value`.
double loss(const CheckedFunction& f, std::vector<Variable> inputs, std::size_t index, const Tensor& value,
            const Tensor& cotangent) {
  const NoGrad no_grad;
  inputs[index] = Variable(value);
  return sum(mul(f(inputs).value(), cotangent)).item();
}

double numeric_gradient(const CheckedFunction& f, const std::vector<Variable>& inputs, std::size_t index,
                        std::int64_t element, const Tensor& cotangent) {
  // The perturbed copy keeps the input's layout if it is a strided view, so that the same code paths run.
  const Tensor x = inputs[index].value();
  std::vector<double> values = x.to_vector<double>();
  double& value = values[static_cast<std::size_t>(element)];
  const double center = value, h = 1e-5 * std::max(1.0, std::abs(center));
  const auto with = [&](double v) {
    value = v;
    const Tensor dense = Tensor::from(values, x.shape()).to(x.device());
    const bool repeats = std::count(x.strides().begin(), x.strides().end(), 0) > 0;
    if (x.is_contiguous() || repeats) return loss(f, inputs, index, dense, cotangent);
    const Tensor strided(std::make_shared<Storage>(x.storage()->bytes(), x.device()), x.offset(), x.shape(),
                         x.strides(), x.dtype());
    copy_into(strided, dense);
    return loss(f, inputs, index, strided, cotangent);
  };
  const double up = with(center + h), down = with(center - h);
  return (up - down) / ((center + h) - (center - h));
}

/// Gradients of all inputs by the rules, from two passes over one graph.
std::pair<std::vector<Tensor>, bool> rule_gradients(const CheckedFunction& f,
                                                    const std::vector<Variable>& inputs,
                                                    const Tensor& cotangent) {
  const Variable y = f(inputs);
  require(y.dtype() == Dtype::f64, "gradcheck", "the function must return f64, got ", y.dtype());
  std::vector<Tensor> wanted = gradients(y, cotangent, inputs);
  const std::vector<Tensor> again = gradients(y, cotangent, inputs);
  bool same = true;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].defined() != again[i].defined()) same = false;
    if (!wanted[i].defined() || !again[i].defined()) continue;
    const auto a = wanted[i].to_vector<double>(), b = again[i].to_vector<double>();
    for (std::size_t j = 0; j < a.size(); ++j) same &= a[j] == b[j] || (std::isnan(a[j]) && std::isnan(b[j]));
  }
  return {wanted, same};
}

/// Checks one input; returns false and fills the message when it fails.
bool check_input(const CheckedFunction& f, const std::vector<Variable>& inputs, std::size_t index,
                 const Tensor& gradient, const Tensor& cotangent, const GradcheckOptions& options,
                 GradcheckResult& result) {
  const std::int64_t size = inputs[index].size();
  if (size == 0) return true;
  std::ostringstream message;
  if (!gradient.defined()) {
    message << "input " << index << ": the rules gave no gradient";
    result.message = message.str();
    return false;
  }
  const std::vector<double> analytic = gradient.to_vector<double>();
  const std::int64_t limit = options.most_elements > 0 ? std::min(size, options.most_elements) : size;
  double largest = 0;
  bool ok = true;
  for (std::int64_t c = 0; c < limit; ++c) {
    const std::int64_t element = c * size / limit;
    const double numeric = numeric_gradient(f, inputs, index, element, cotangent);
    const double rule = analytic[static_cast<std::size_t>(element)];
    const double error = std::abs(numeric - rule) / std::max({1.0, std::abs(numeric), std::abs(rule)});
    largest = std::max(largest, std::abs(numeric));
    ++result.checked;
    if (!(error <= result.worst) || result.message.empty()) {
      if (!(error <= result.worst)) result.worst = error;
      message.str("");
      message << "input " << index << ", element " << element << ": central difference "
              << number_text(numeric) << ", rule " << number_text(rule) << ", relative error "
              << number_text(error);
      result.message = message.str();
    }
    if (!(error <= options.tolerance)) ok = false;
    if (std::isnan(error)) return false;
  }
  if (ok && !(largest >= kVacuous)) {
    message.str("");
    message << "input " << index << ": all " << limit
            << " central differences are about 0, so this check can prove nothing; use other inputs or "
               "another cotangent";
    result.message = message.str();
    return false;
  }
  return ok;
}

}  // namespace

GradcheckResult gradcheck(const CheckedFunction& f, const std::vector<Variable>& inputs,
                          const Tensor& cotangent, const GradcheckOptions& options) {
  bool any = false;
  for (const Variable& input : inputs) {
    any |= input.requires_grad();
    require(!input.requires_grad() || input.dtype() == Dtype::f64, "gradcheck", "inputs must be f64, got ",
            input.dtype());
  }
  require(any, "gradcheck", "no input requires a gradient");
  const auto [rules, repeatable] = rule_gradients(f, inputs, cotangent);
  GradcheckResult result;
  if (!repeatable) {
    result.message = "two backward passes over one graph gave different gradients";
    return result;
  }
  result.ok = true;
  for (std::size_t i = 0; i < inputs.size() && result.ok; ++i)
    if (inputs[i].requires_grad())
      result.ok = check_input(f, inputs, i, rules[i], cotangent, options, result);
  return result;
}

GradcheckResult gradcheck(const CheckedFunction& f, const std::vector<Variable>& inputs,
                          const GradcheckOptions& options) {
  Tensor y;
  {
    const NoGrad no_grad;
    y = f(inputs).value();
  }
  const Tensor cotangent = rand_normal(y.shape(), {options.seed, 0}, 0, 1, Dtype::f64);
  return gradcheck(f, inputs, cotangent.to(y.device()), options);
}

}  // namespace retnet
