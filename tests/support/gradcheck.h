/// @file
/// The library's gradcheck (autograd/gradcheck.h), phrased for a CHECK.
#pragma once

#include <string>
#include <vector>

#include "autograd/gradcheck.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {

/// "" when the gradient rules of f agree with central differences at f64 leaves of the given values, else why
/// not. i32 values are constants.
inline std::string gradient_problem(const CheckedFunction& f, const std::vector<Tensor>& values,
                                    const GradcheckOptions& options = {}) {
  std::vector<Variable> leaves;
  for (const Tensor& value : values) leaves.emplace_back(value, is_floating(value.dtype()));
  const GradcheckResult result = gradcheck(f, leaves, options);
  return result.ok ? "" : result.message.empty() ? "gradcheck failed without a message" : result.message;
}

}  // namespace retnet::test
