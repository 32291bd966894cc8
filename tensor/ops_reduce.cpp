#include "kernels/reduce.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

/// Sizes before, along and after an axis: any contiguous tensor is [outer, n, inner] to a reduction.
struct Axis {
  std::int64_t outer = 1, n = 1, inner = 1;
  Shape result;  ///< the shape with that axis reduced
};

Axis split(const Tensor& x, int axis, bool keep) {
  Axis a;
  for (int i = 0; i < axis; ++i) a.outer *= x.shape()[i];
  a.n = x.shape()[axis];
  for (int i = axis + 1; i < x.rank(); ++i) a.inner *= x.shape()[i];
  a.result = x.shape();
  if (keep) {
    a.result[axis] = 1;
  } else {
    a.result.erase(axis);
  }
  return a;
}

}  // namespace

Tensor sum(const Tensor& x, int axis, bool keep) {
  const Tensor dense = contiguous(x);
  const Axis a = split(x, normalize_axis("sum", axis, x.rank()), keep);
  Tensor y = Tensor::empty(a.result, x.dtype(), x.device());
  dispatch("sum", x, [&]<class T>(auto exec, Type<T>) {
    kernels::sum_axis(exec, y.data<T>(), static_cast<const T*>(dense.data<T>()), a.outer, a.n, a.inner);
  });
  return y;
}

Tensor sum(const Tensor& x) { return sum(reshape(x, {x.size()}), 0); }

Tensor mean(const Tensor& x) {
  require(x.size() > 0, "mean", "a tensor of shape ", x.shape(), " has no elements");
  return mul(sum(x), 1.0 / static_cast<double>(x.size()));
}

Tensor mean(const Tensor& x, int axis, bool keep) {
  require(x.dim(axis) > 0, "mean", "dimension ", axis, " of ", x.shape(), " has no elements");
  return mul(sum(x, axis, keep), 1.0 / static_cast<double>(x.dim(axis)));
}

Tensor max(const Tensor& x, int axis, bool keep) {
  require(x.dim(axis) > 0, "max", "dimension ", axis, " of ", x.shape(), " has no elements");
  const Tensor dense = contiguous(x);
  const Axis a = split(x, normalize_axis("max", axis, x.rank()), keep);
  Tensor y = Tensor::empty(a.result, x.dtype(), x.device());
  dispatch("max", x, [&]<class T>(auto exec, Type<T>) {
    kernels::max_axis(exec, y.data<T>(), static_cast<const T*>(dense.data<T>()), a.outer, a.n, a.inner);
  });
  return y;
}

Tensor argmax(const Tensor& x) {
  require(x.rank() > 0 && x.dim(-1) > 0, "argmax", "the last dimension of ", x.shape(), " has no elements");
  const Tensor dense = contiguous(x);
  Shape shape = x.shape();
  shape.erase(x.rank() - 1);
  Tensor y = Tensor::empty(shape, Dtype::i32, x.device());
  dispatch("argmax", x, [&]<class T>(auto exec, Type<T>) {
    kernels::argmax_rows(exec, y.data<std::int32_t>(), static_cast<const T*>(dense.data<T>()), y.size(),
                         x.dim(-1));
  });
  return y;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  require(broadcast_shapes("sum_to", shape, x.shape()) == x.shape(), "sum_to", "cannot sum ", x.shape(),
          " to ", shape);
  Tensor y = x;
  if (y.rank() > shape.rank()) {
    // Leading dimensions are one long dimension; summing them at once keeps a bias gradient to a single pass.
    std::int64_t leading = 1;
    Shape rest;
    for (int i = 0; i < y.rank(); ++i) {
      if (i < y.rank() - shape.rank()) {
        leading *= y.shape()[i];
      } else {
        rest.push_back(y.shape()[i]);
      }
    }
    rest.insert(0, leading);
    y = sum(reshape(y, rest), 0);
  }
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] == 1 && y.shape()[i] != 1) y = sum(y, i, true);
  return y;
}

Tensor sum_squares(const std::vector<Tensor>& parts) {
  require(!parts.empty(), "sum_squares", "needs at least one tensor");
  for (const Tensor& x : parts) {
    require(x.is_contiguous() && x.dtype() == parts[0].dtype(), "sum_squares",
            "needs contiguous tensors of one dtype, got ", parts[0].dtype(), " and ", x.dtype());
    require_one_device("sum_squares", {&parts[0], &x});
  }
  const auto count = static_cast<std::int64_t>(parts.size());
  Tensor y = Tensor::empty({count}, Dtype::f64, parts[0].device());
  dispatch("sum_squares", parts[0], [&]<class T>(auto exec, Type<T>) {
    std::vector<kernels::Part<T>> list;
    for (const Tensor& x : parts) list.push_back({x.data<T>(), x.size()});
    kernels::sum_squares(exec, y.data<double>(), static_cast<const kernels::Part<T>*>(list.data()), count);
  });
  return y;
}

double sum_squares(const Tensor& x) {
  require(x.is_contiguous(), "sum_squares", "needs a contiguous tensor");
  return sum_squares(std::vector<Tensor>{x}).item();
}

}  // namespace retnet
