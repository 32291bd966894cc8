/// @file
/// Operations on values. None of them records gradients; autograd/functions.h has the differentiable ones
/// under the same names. All of them return new tensors unless they say otherwise, take any strides, and
/// throw Error on dtypes or shapes that do not fit. Operands must share dtype and device: there is no
/// promotion. On a GPU they are queued; only what returns a number to the host waits.
#pragma once

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/random.h"
#include "tensor/tensor.h"
#include "tensor/views.h"

namespace retnet {

using kernels::RandomKey;

/// @name Copies and conversions
/// @{
Tensor contiguous(const Tensor& x);  ///< x itself if its elements are dense in row-major order, else a copy
Tensor clone(const Tensor& x);       ///< always a copy, contiguous
Tensor astype(const Tensor& x,
              Dtype dtype);                ///< converted, rounded to nearest; x itself if it has that dtype
void fill(const Tensor& x, double value);  ///< overwrites every element of x, which is contiguous
void copy_into(const Tensor& to,
               const Tensor& from);  ///< overwrites the elements that `to` views; equal shapes
/// Joins tensors along an axis; the other sizes must agree.
Tensor concat(const std::vector<Tensor>& parts, int axis);
/// @}

/// @name Elementwise, one operand
/// @{
Tensor neg(const Tensor& x);            ///< -x
Tensor exp(const Tensor& x);            ///< e^x
Tensor log(const Tensor& x);            ///< natural logarithm
Tensor sqrt(const Tensor& x);           ///< square root
Tensor abs(const Tensor& x);            ///< magnitude
Tensor square(const Tensor& x);         ///< x^2
Tensor tanh(const Tensor& x);           ///< hyperbolic tangent
Tensor sigmoid(const Tensor& x);        ///< 1 / (1 + e^-x)
Tensor relu(const Tensor& x);           ///< max(x, 0), NaN for NaN
Tensor swish(const Tensor& x);          ///< x sigmoid(x), the gate of Eq. (8)
Tensor gelu(const Tensor& x);           ///< x Phi(x), exact, of Eq. (9)
Tensor add(const Tensor& x, double c);  ///< x + c
Tensor mul(const Tensor& x, double c);  ///< c x
/// Zeroes each element with probability p and divides the others by 1 - p; the mask is a function of `key`.
Tensor dropout(const Tensor& x, double p, RandomKey key);
/// @}

/// @name Elementwise, two operands, broadcast by NumPy's rule
/// @{
Tensor add(const Tensor& a, const Tensor& b);            ///< a + b
Tensor sub(const Tensor& a, const Tensor& b);            ///< a - b
Tensor mul(const Tensor& a, const Tensor& b);            ///< a b
Tensor div(const Tensor& a, const Tensor& b);            ///< a / b
Tensor maximum(const Tensor& a, const Tensor& b);        ///< NaN if either is
Tensor minimum(const Tensor& a, const Tensor& b);        ///< NaN if either is
Tensor greater_equal(const Tensor& a, const Tensor& b);  ///< 1 where a >= b, else 0
/// a += b without an allocation; a is contiguous, b has its shape.
void add_into(const Tensor& a, const Tensor& b);
/// @}

/// @name Derivatives of elementwise operations: dx from dy and the saved input x or output y
/// @{
Tensor exp_grad(const Tensor& y, const Tensor& dy);      ///< dy y
Tensor sqrt_grad(const Tensor& y, const Tensor& dy);     ///< dy / (2 y)
Tensor abs_grad(const Tensor& x, const Tensor& dy);      ///< dy sign(x), 0 at 0
Tensor square_grad(const Tensor& x, const Tensor& dy);   ///< 2 x dy
Tensor tanh_grad(const Tensor& y, const Tensor& dy);     ///< dy (1 - y^2)
Tensor sigmoid_grad(const Tensor& y, const Tensor& dy);  ///< dy y (1 - y)
Tensor relu_grad(const Tensor& x, const Tensor& dy);     ///< dy where x > 0, else 0
Tensor swish_grad(const Tensor& x, const Tensor& dy);    ///< Eq. (G6)
Tensor gelu_grad(const Tensor& x, const Tensor& dy);     ///< Eq. (G7)
/// @}

/// @name Reductions; sums accumulate in double, in an order that only the shape decides
/// @{
Tensor sum(const Tensor& x);  ///< of all elements, shape []
Tensor sum(const Tensor& x, int axis,
           bool keep = false);  ///< along an axis, which goes, or stays with size 1
Tensor mean(const Tensor& x);   ///< of all elements, shape []
Tensor mean(const Tensor& x, int axis, bool keep = false);  ///< along an axis, as sum()
Tensor max(const Tensor& x, int axis, bool keep = false);   ///< NaN if any is
Tensor argmax(const Tensor& x);                             ///< i32 index of the largest along the last axis
/// Sums out what broadcasting `shape` to x's shape repeated: the gradient of broadcast_to(), @eq{G2}.
Tensor sum_to(const Tensor& x, const Shape& shape);
double sum_squares(const Tensor& x);  ///< of all elements, in double; x is contiguous
/// The same of each of several tensors, f64 [n], on their device.
Tensor sum_squares(const std::vector<Tensor>& parts);
/// @}

/// C = A B over the last two dimensions, after transposing those of A or B if asked; the leading ones
/// broadcast. No operand is copied for its strides. Cost 2 m n k operations per matrix.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);

/// @name Rows: along the last axis
/// @{
Tensor softmax(const Tensor& x);                         ///< e^x / sum e^x
Tensor softmax_grad(const Tensor& y, const Tensor& dy);  ///< Eq. (G3)
Tensor log_sum_exp(const Tensor& x);                     ///< the last axis goes
/// What normalize() computes and its gradient needs.
struct Normalized {
  Tensor y;     ///< (x - mean) rstd
  Tensor rstd;  ///< 1 / sqrt(variance + eps) per row
};
/// Rows with mean 0 and variance 1; without `center` the mean stays and the mean square becomes 1 (RMSNorm).
Normalized normalize(const Tensor& x, double eps, bool center = true);
Tensor normalize_grad(const Normalized& n, const Tensor& dy, bool center = true);  ///< Eq. (G5)
/// What cross_entropy() computes and its gradient needs.
struct CrossEntropy {
  Tensor loss;  ///< per row, in nats
  Tensor lse;   ///< log-sum-exp per row
};
/// -log softmax(logits)[target] per row.  logits [.., V], targets i32 [..]; throws Error on a target outside
/// 0 .. V-1
CrossEntropy cross_entropy(const Tensor& logits, const Tensor& targets);
/// dx of cross_entropy(), Eq. (G4).
Tensor cross_entropy_grad(const CrossEntropy& saved, const Tensor& logits, const Tensor& targets,
                          const Tensor& dloss);
/// @}

/// @name Indexing
/// @{

// Ids and targets that are on the host move to the other operand's device by themselves, checked. Those that
// are on a GPU are not checked: a bad one gives NaN, and no gradient.

/// table[ids]: [V, d] and i32 [..] give [.., d]. @throws Error on an id outside 0 .. V-1
Tensor embedding(const Tensor& table, const Tensor& ids);
Tensor embedding_grad(const Tensor& dy, const Tensor& ids, std::int64_t vocab);  ///< [vocab, d]
/// x[.., ids]: one element of each row.  x [.., n], ids i32 [..]
Tensor gather(const Tensor& x, const Tensor& ids);
Tensor gather_grad(const Tensor& dy, const Tensor& ids, std::int64_t n);  ///< [.., n]
/// @}

/// Rotates pairs of neighbours of x [B, T, H, dk] by the angles behind the tables [T, dk/2]; see R1.
/// The tables have x's dtype (f32 for bf16). `inverse` turns the other way.
Tensor rotate(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool inverse = false);
/// The same in place, times `scale`. x may be some columns of a wider matrix: only its steps need be a
/// constant distance apart.
void rotate_in_place(const Tensor& x, const Tensor& cosines, const Tensor& sines, double scale, bool inverse);

/// @name Fused: several of the operations above in one pass over memory; f32 and f64
/// @{
/// How group_norm() normalises.
struct GroupNormOptions {
  std::int64_t groups = 1;  ///< equal parts of a row, each normalised on its own
  double eps = 1e-5;
  bool center = true;                        ///< false: RMSNorm
  Activation activation = Activation::none;  ///< of the gate
};
/// What it reads.
struct GroupNormInputs {
  Tensor x;             ///< [.., groups n]
  Tensor weight, bias;  ///< [n], the same for every group, or [groups n]; undefined where there is none
  Tensor gate;          ///< x's shape, rows a constant distance apart; undefined where there is none
  GroupNormOptions options;
};
/// What it computes and its gradient needs.
struct GroupNormOutputs {
  Tensor y;           ///< act(gate) . (normalize(x) weight + bias), x's shape
  Tensor mean, rstd;  ///< [rows, groups]
};
/// Norm, weights and gate of Eq. (8), or the norm of Eq. (9), in one pass.
GroupNormOutputs group_norm(const GroupNormInputs& in);
/// dx, dweight, dbias and dgate, undefined where the input is. @param dgate  memory for the gate's gradient,
/// laid out as the gate; undefined: new memory
std::vector<Tensor> group_norm_grad(const GroupNormInputs& in, const GroupNormOutputs& out, const Tensor& dy,
                                    const Tensor& dgate = Tensor());
/// y = x W^T, plus the residual where it is defined.  x [.., in], W [out, in], residual [.., out]
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& residual = Tensor());
/// dW [out, in] of linear(): dy^T x, summed over all rows.
Tensor linear_weight_grad(const Tensor& dy, const Tensor& x);
/// What linear() with an activation computes and its gradient needs.
struct Activated {
  Tensor pre, y;  ///< x W^T, and act(pre)
};
/// act(x W^T), applied as the product is stored.
Activated linear(const Tensor& x, const Tensor& weight, Activation activation);
Tensor activate(Activation activation, const Tensor& x);  ///< act(x), x itself for none
Tensor activate_grad(Activation activation, const Tensor& x, const Tensor& dy);  ///< dy act'(x)
/// @}

/// @name Fused retention, Eq. (7) and Eq. (5)
/// @{
/// What it reads: everything that retnet/retention.h says of retention_chunkwise(), with the decays as
/// tables.
struct RetentionInputs {
  Tensor q, k, v;  ///< [B, H, N, dk], the same, [B, H, N, dv]; f32 or f64, rows dense; B or N may be 0
  Tensor S, z;                   ///< the state before the first step: [B, H, dk, dv] and [B, H, dk]
  Tensor powers;                 ///< gamma^0 .. gamma^C: [H, C+1], where C >= 1 is the length of a chunk
  Tensor root_s;                 ///< sqrt(s_n): [H, N, 1]; undefined: no score norm
  bool divisor_gradient = true;  ///< false: the divisor c is held constant by the gradient
};
/// What it returns.
struct RetentionOutputs {
  Tensor o;         ///< [B, H, N, dv]
  Tensor row_sums;  ///< q_n z_n: [B, H, N], kept for the gradient
  Tensor S, z;      ///< the state after the last step
};
/// Memory for its gradients, [B, H, N, dk], the same, and [B, H, N, dv].
struct RetentionMemory {
  Tensor dq, dk, dv;
};
/// Eq. (7), and Eq. (R4) where root_s is defined.
RetentionOutputs retention(const RetentionInputs& in);
/// Eq. (5) in the same sense, all N steps as one chunk: C = N.
RetentionOutputs retention_parallel(const RetentionInputs& in);
/// dq, dk, dv, dS and dz, in this order, from do; dS and dz are undefined unless `state_gradient`. The
/// gradient of the state after the last step is not part of it.
/// @param memory  where dq, dk and dv go: views with dense rows, or undefined for new memory, by head or by
/// step
///                as the operand lies
std::vector<Tensor> retention_grad(const RetentionInputs& in, const RetentionOutputs& out, const Tensor& do_,
                                   bool state_gradient = true,
                                   const RetentionMemory& memory = RetentionMemory());
/// @}

/// @name Random tensors: pure functions of shape and key
/// @{

/// Uniform in [low, high).
Tensor rand_uniform(const Shape& shape, RandomKey key, double low = 0, double high = 1,
                    Dtype dtype = Dtype::f32, Device device = Device::cpu);
/// Normal.
Tensor rand_normal(const Shape& shape, RandomKey key, double mean = 0, double deviation = 1,
                   Dtype dtype = Dtype::f32, Device device = Device::cpu);
/// @}

/// One parameter of an AdamW update: contiguous tensors of one shape.
struct AdamWParameter {
  Tensor w, m, v, gradient;
  bool decays = true;  ///< false: the settings' weight decay does not apply
};
/// One AdamW update in place of all parameters, all in f32 or all in f64.
/// @param scale  f64 []: where it is defined, one more factor of all gradients; not finite: nothing is
/// updated
void adamw_update(const kernels::AdamW& settings, const std::vector<AdamWParameter>& parameters,
                  const Tensor& scale = Tensor());
/// What clip_by_norm() computes, each f64 [].
struct Clipping {
  Tensor norm;   ///< root of the sum of all squares
  Tensor scale;  ///< what the gradients are to be multiplied by; NaN where the norm is not finite
};
/// Clipping by the global norm, from sum_squares() of all gradients: nothing is read by the host.
/// @param clip  the largest norm; 0 does not clip
Clipping clip_by_norm(const Tensor& squares, double clip);

}  // namespace retnet
