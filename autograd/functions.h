/// @file
/// Differentiable functions, under the names of their value-level operations in tensor/ops.h, which state
/// shapes and errors. Each one's gradient rule stands in the same function as its value, in functions_*.cpp.
#pragma once

#include "autograd/variable.h"
#include "tensor/ops.h"

namespace retnet {

/// @name Elementwise, one operand
/// @{
Variable neg(const Variable& x);                               ///< -x
Variable exp(const Variable& x);                               ///< e^x
Variable log(const Variable& x);                               ///< natural logarithm
Variable sqrt(const Variable& x);                              ///< square root; the gradient at 0 is infinite
Variable abs(const Variable& x);                               ///< the gradient at 0 is 0
Variable square(const Variable& x);                            ///< x^2
Variable tanh(const Variable& x);                              ///< hyperbolic tangent
Variable sigmoid(const Variable& x);                           ///< 1 / (1 + e^-x)
Variable relu(const Variable& x);                              ///< the gradient at 0 is 0
Variable swish(const Variable& x);                             ///< gradient: @eq{G6}
Variable gelu(const Variable& x);                              ///< gradient: @eq{G7}
Variable add(const Variable& x, double c);                     ///< x + c
Variable mul(const Variable& x, double c);                     ///< c x
Variable dropout(const Variable& x, double p, RandomKey key);  ///< x itself when p = 0
Variable astype(const Variable& x, Dtype dtype);               ///< the gradient is converted back
/// @}

/// @name Elementwise, two operands, broadcast; an operand that was repeated receives the sum, @eq{G2}
/// @{
Variable add(const Variable& a, const Variable& b);      ///< a + b
Variable sub(const Variable& a, const Variable& b);      ///< a - b
Variable mul(const Variable& a, const Variable& b);      ///< a b
Variable div(const Variable& a, const Variable& b);      ///< a / b
Variable maximum(const Variable& a, const Variable& b);  ///< where the two are equal, the gradient goes to a
Variable minimum(const Variable& a, const Variable& b);  ///< where the two are equal, the gradient goes to a
/// @}

/// @name Views
/// @{
Variable reshape(const Variable& x, const Shape& shape);                  ///< gradient: reshape back
Variable transpose(const Variable& x, int axis_a = -2, int axis_b = -1);  ///< gradient: transpose back
Variable permute(const Variable& x, const std::vector<int>& order);       ///< gradient: the inverse order
/// Gradient: dy among zeros.
Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1);
Variable select(const Variable& x, int axis, std::int64_t index);  ///< gradient: dy among zeros
Variable broadcast_to(const Variable& x, const Shape& shape);      ///< gradient: @eq{G2}
Variable unsqueeze(const Variable& x, int axis);                   ///< gradient: squeeze
Variable squeeze(const Variable& x, int axis);                     ///< gradient: unsqueeze
Variable concat(const std::vector<Variable>& parts, int axis);     ///< gradient: a slice for each part
/// Consecutive pieces of `size` along an axis, the last one shorter if need be. Built from halves of halves,
/// so that the gradient of all n pieces costs O(n log n) and not O(n^2).
std::vector<Variable> split(const Variable& x, int axis, std::int64_t size);
/// @}

/// @name Reductions
/// @{
Variable sum(const Variable& x);                                ///< gradient: dy, repeated
Variable sum(const Variable& x, int axis, bool keep = false);   ///< gradient: dy, repeated
Variable mean(const Variable& x);                               ///< gradient: dy / n, repeated
Variable mean(const Variable& x, int axis, bool keep = false);  ///< gradient: dy / n, repeated
/// @}

/// The matrix product, gradient: @eq{G1}; of A and B transposed where asked.
Variable matmul(const Variable& a, const Variable& b, bool transpose_a = false, bool transpose_b = false);

/// @name Rows: along the last axis
/// @{
Variable softmax(const Variable& x);                                    ///< gradient: @eq{G3}
Variable log_sum_exp(const Variable& x);                                ///< gradient: dy softmax(x)
Variable normalize(const Variable& x, double eps, bool center = true);  ///< gradient: @eq{G5}
Variable cross_entropy(const Variable& logits, const Tensor& targets);  ///< per row, in nats; @eq{G4}
/// @}

/// @name Indexing and rotation
/// @{
Variable embedding(const Variable& table, const Tensor& ids);                    ///< gradient: @eq{G9}
Variable gather(const Variable& x, const Tensor& ids);                           ///< gradient: dy among zeros
Variable rotate(const Variable& x, const Tensor& cosines, const Tensor& sines);  ///< gradient: @eq{G8}
/// @}

/// @name Fused: what layers are made of, in one pass over memory each; f32 and f64
/// @{

/// Gradient: @eq{G5}, and for the gate @eq{G6} or @eq{G7}. Undefined variables stand for what there is not.
Variable group_norm(const Variable& x, const Variable& weight, const Variable& bias, const Variable& gate,
                    const GroupNormOptions& options);
Variable linear(const Variable& x, const Variable& weight,
                const Variable& residual = Variable());                                     ///< gradient: @eq{G1}
Variable linear(const Variable& x, const Variable& weight, Activation activation);  ///< act(x W^T); @eq{G1}
Variable activate(Activation activation, const Variable& x);                        ///< x itself for none
/// @}

/// f(inputs), computed twice: backward() runs f again instead of keeping what it saved. Saves the memory of
/// all intermediate values of f for the time of one more forward pass.
/// @param f  uses no variable that requires a gradient except its inputs, and gives the same value each time
Variable recompute(const std::function<Variable(const std::vector<Variable>&)>& f,
                   const std::vector<Variable>& inputs);

}  // namespace retnet
