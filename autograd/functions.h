/// @file
/// Differentiable functions, under the names of their value-level operations in tensor/ops.h, which state
/// shapes and errors. Each one's gradient rule stands in the same function as its value, in functions_*.cpp.
#pragma once

#include "autograd/variable.h"
#include "tensor/ops.h"

namespace retnet {

/// @name Elementwise, one operand
/// @{
Variable neg(const Variable& x);
Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable sqrt(const Variable& x);
Variable abs(const Variable& x);  ///< the gradient at 0 is 0
Variable square(const Variable& x);
Variable tanh(const Variable& x);
Variable sigmoid(const Variable& x);
Variable relu(const Variable& x);  ///< the gradient at 0 is 0
Variable swish(const Variable& x);
Variable gelu(const Variable& x);
Variable add(const Variable& x, double c);
Variable mul(const Variable& x, double c);
Variable dropout(const Variable& x, double p, RandomKey key);  ///< x itself when p = 0
Variable astype(const Variable& x, Dtype dtype);               ///< the gradient is converted back
/// @}

/// @name Elementwise, two operands, broadcast
/// @{
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
Variable maximum(const Variable& a, const Variable& b);  ///< where the two are equal, the gradient goes to a
Variable minimum(const Variable& a, const Variable& b);  ///< where the two are equal, the gradient goes to a
/// @}

/// @name Views
/// @{
Variable reshape(const Variable& x, const Shape& shape);
Variable transpose(const Variable& x, int axis_a = -2, int axis_b = -1);
Variable permute(const Variable& x, const std::vector<int>& order);
Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1);
Variable select(const Variable& x, int axis, std::int64_t index);
Variable broadcast_to(const Variable& x, const Shape& shape);
Variable unsqueeze(const Variable& x, int axis);
Variable squeeze(const Variable& x, int axis);
Variable concat(const std::vector<Variable>& parts, int axis);
/// Consecutive pieces of `size` along an axis, the last one shorter if need be. Built from halves of halves,
/// so that the gradient of all n pieces costs O(n log n) and not O(n^2).
std::vector<Variable> split(const Variable& x, int axis, std::int64_t size);
/// @}

/// @name Reductions
/// @{
Variable sum(const Variable& x);
Variable sum(const Variable& x, int axis, bool keep = false);
Variable mean(const Variable& x);
Variable mean(const Variable& x, int axis, bool keep = false);
/// @}

Variable matmul(const Variable& a, const Variable& b, bool transpose_a = false, bool transpose_b = false);

/// @name Rows: along the last axis
/// @{
Variable softmax(const Variable& x);
Variable log_sum_exp(const Variable& x);
Variable normalize(const Variable& x, double eps, bool center = true);
Variable cross_entropy(const Variable& logits, const Tensor& targets);  ///< per row, in nats
/// @}

/// @name Indexing and rotation
/// @{
Variable embedding(const Variable& table, const Tensor& ids);
Variable gather(const Variable& x, const Tensor& ids);
Variable rotate(const Variable& x, const Tensor& cosines, const Tensor& sines);
/// @}

/// f(inputs), computed twice: backward() runs f again instead of keeping what it saved. Saves the memory of
/// all intermediate values of f for the time of one more forward pass.
/// @param f  uses no variable that requires a gradient except its inputs, and gives the same value each time
Variable recompute(const std::function<Variable(const std::vector<Variable>&)>& f,
                   const std::vector<Variable>& inputs);

}  // namespace retnet
