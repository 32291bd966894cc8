/// @file
/// Compares gradient rules with central differences.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace retnet {

/// The function under test: variables in, one variable out. It must give the same value each time.
using CheckedFunction = std::function<Variable(const std::vector<Variable>&)>;

struct GradcheckOptions {
  double tolerance = 1e-6;         ///< largest relative error allowed
  std::uint64_t seed = 1;          ///< of the random cotangent
  std::int64_t most_elements = 0;  ///< elements checked per input, spread evenly; 0 checks all
};

/// What gradcheck() found. `ok` is false also when nothing could be proven.
struct GradcheckResult {
  bool ok = false;
  double worst = 0;          ///< largest |numeric - rule| / max(1, |numeric|, |rule|)
  std::int64_t checked = 0;  ///< elements compared
  std::string message;       ///< one line: the worst element, or why the check failed
};

/// Checks every input that requires a gradient: L = sum(f(inputs) w) with a random cotangent w ~ N(0, 1), so
/// that a function whose outputs sum to a constant (softmax) cannot pass by accident; dL/dx by the rules
/// against (L(x + h) - L(x - h)) / 2h with h = 1e-5 max(1, |x|). Truncation and rounding leave about 1e-9 of
/// relative error.
///
/// Refuses to be vacuous: fails when all numeric gradients of an input that has elements are below 1e-6, on
/// any NaN, and when two backward passes over the same graph differ. Size-0 inputs pass with an empty
/// gradient.
/// @param inputs  leaves in f64; cost: two evaluations of f per checked element
/// @throws Error for inputs that are not f64, or when no input requires a gradient
GradcheckResult gradcheck(const CheckedFunction& f, const std::vector<Variable>& inputs,
                          const GradcheckOptions& options = {});

/// The same with the cotangent given: for showing what a bad cotangent lets pass.
GradcheckResult gradcheck(const CheckedFunction& f, const std::vector<Variable>& inputs,
                          const Tensor& cotangent, const GradcheckOptions& options);

}  // namespace retnet
