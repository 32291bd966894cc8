#include "kernels/matmul.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

Shape leading(const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); }

/// Steps of one operand along the batch dimensions of the result; 0 where it is repeated.
void batch_steps(const Tensor& x, const Shape& batch, std::int64_t* steps) {
  const int shift = batch.rank() - (x.rank() - 2);
  for (int i = 0; i < batch.rank(); ++i)
    steps[i] = i < shift || x.shape()[i - shift] == 1 ? 0 : x.strides()[i - shift];
}

/// A single right-hand matrix meets all rows of a contiguous batch at once: [B, T, k] times [k, n] is one
/// product of B T rows, which fills the kernel's tiles better than B products of T rows.
bool folds(const Tensor& a, const Tensor& b, bool transpose_a) {
  return a.rank() > 2 && b.rank() == 2 && !transpose_a && a.is_contiguous();
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  require(a.defined() && b.defined(), "matmul", "an operand is undefined");
  require(a.rank() >= 2 && b.rank() >= 2, "matmul", "needs at least two dimensions, got ", a.shape(), " and ",
          b.shape());
  require(a.dtype() == b.dtype(), "matmul", "dtypes differ, got ", a.dtype(), " and ", b.dtype(),
          "; convert one with astype()");
  require_one_device("matmul", {&a, &b});
  if (folds(a, b, transpose_a)) {
    Shape shape = a.shape();
    const std::int64_t rows = count(Shape(shape.begin(), shape.end() - 1));  // not -1: k may be 0
    const Tensor y = matmul(reshape(a, {rows, a.dim(-1)}), b, false, transpose_b);
    shape[shape.rank() - 1] = y.dim(-1);
    return reshape(y, shape);
  }
  const Tensor left = transpose_a ? transpose(a) : a, right = transpose_b ? transpose(b) : b;
  const Shape batch = broadcast_shapes("matmul", leading(left.shape()), leading(right.shape()));
  require(left.dim(-1) == right.dim(-2), "matmul", "inner dimensions differ, ", left.dim(-1), " from ",
          a.shape(), transpose_a ? " transposed" : "", " against ", right.dim(-2), " from ", b.shape(),
          transpose_b ? " transposed" : "");

  kernels::Matmul s;
  s.m = left.dim(-2), s.k = left.dim(-1), s.n = right.dim(-1);
  Shape shape = batch;
  shape.push_back(s.m);
  shape.push_back(s.n);
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  s.a_row = left.strides()[left.rank() - 2], s.a_col = left.strides()[left.rank() - 1];
  s.b_row = right.strides()[right.rank() - 2], s.b_col = right.strides()[right.rank() - 1];
  s.c_row = s.n;
  s.batch_rank = batch.rank();
  for (int i = 0; i < batch.rank(); ++i) s.batch[i] = batch[i];
  batch_steps(left, batch, s.a_batch);
  batch_steps(right, batch, s.b_batch);
  batch_steps(y, batch, s.c_batch);
  if (y.size() == 0) return y;
  dispatch("matmul", a, [&]<class T>(auto exec, Type<T>) {
    kernels::matmul(exec, s, y.data<T>(), static_cast<const T*>(left.data<T>()),
                    static_cast<const T*>(right.data<T>()));
  });
  return y;
}

}  // namespace retnet
