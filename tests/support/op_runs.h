/// @file
/// Inputs for an entry of the operation table, and everything that it computes from them.
#pragma once

#include "tests/support/op_table.h"

namespace retnet::test {

/// The inputs of one case, in f64.
inline std::vector<Tensor> inputs_of(const Operation& op, const Case& shapes, Layout layout) {
  std::vector<Tensor> inputs;
  for (const Input& input : shapes) {
    const auto seed = static_cast<unsigned>(17 + inputs.size());
    if (input.ids_below > 0) {
      inputs.push_back(random_ids(input.shape, input.ids_below, seed, layout));
    } else {
      inputs.push_back(random(input.shape, seed, layout, Dtype::f64, op.domain));
    }
  }
  return inputs;
}

inline std::vector<Tensor> all_in_dtype(const std::vector<Tensor>& inputs, Dtype dtype) {
  std::vector<Tensor> converted;
  for (const Tensor& input : inputs) converted.push_back(in_dtype(input, dtype));
  return converted;
}

inline std::vector<Array> arrays_of(const std::vector<Tensor>& inputs) {
  std::vector<Array> arrays;
  for (const Tensor& input : inputs) arrays.push_back(array_of(input));
  return arrays;
}

inline std::vector<Variable> leaves_of(const std::vector<Tensor>& inputs) {
  std::vector<Variable> leaves;
  for (const Tensor& input : inputs) leaves.emplace_back(input, is_floating(input.dtype()));
  return leaves;
}

/// All gradients and, last, the value, for a random cotangent that is made when it is not given.
inline std::vector<Tensor> everything(const Operation& op, const std::vector<Tensor>& inputs,
                                      Tensor& cotangent) {
  if (!op.function) return {op.value(inputs)};
  const std::vector<Variable> leaves = leaves_of(inputs);
  const Variable y = op.function(leaves);
  if (!cotangent.defined()) cotangent = random(y.shape(), 99, Layout::dense, y.dtype()).to(y.device());
  std::vector<Tensor> result = gradients(y, cotangent, leaves);
  result.push_back(y.value());
  return result;
}

}  // namespace retnet::test
