#include "kernels/matmul.h"
#include "kernels/matmul_epilogue.h"
#include "kernels/norm.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

/// Distance between the rows of x, all leading dimensions counted as one; -1 if it is not constant or the
/// rows are not dense.
std::int64_t row_distance(const Tensor& x) {
  if (x.size() == 0) return 0;
  std::int64_t distance = 0, rows = 1;
  bool regular = x.dim(-1) == 1 || x.strides()[x.rank() - 1] == 1;
  for (int d = x.rank() - 2; d >= 0; --d) {
    if (x.shape()[d] == 1) continue;
    if (distance == 0) distance = x.strides()[d];
    regular = regular && x.strides()[d] == distance * rows;
    rows *= x.shape()[d];
  }
  return regular ? distance : -1;
}

kernels::GroupNorm plan(const GroupNormInputs& in) {
  const GroupNormOptions& how = in.options;
  require(in.x.defined() && in.x.rank() >= 1 && how.groups >= 1 && in.x.dim(-1) >= 1 &&
              in.x.dim(-1) % how.groups == 0,
          "group_norm", "needs rows of one or more elements in ", how.groups, " equal groups, got ",
          in.x.shape());
  kernels::GroupNorm s;
  s.groups = how.groups, s.n = in.x.dim(-1) / how.groups, s.rows = in.x.size() / in.x.dim(-1);
  s.eps = how.eps, s.center = how.center, s.gate = how.activation;
  s.shared_weight = in.weight.defined() && in.weight.size() == s.n;
  const Shape weights{s.shared_weight ? s.n : s.groups * s.n};
  for (const Tensor* w : {&in.weight, &in.bias})
    require(!w->defined() || (w->shape() == weights && w->dtype() == in.x.dtype()), "group_norm",
            in.x.shape(), " ", in.x.dtype(), " needs weights ", weights, ", got ", w->shape(), " ",
            w->dtype());
  require(in.weight.defined() || !in.bias.defined(), "group_norm", "a bias needs a weight");
  require(in.gate.defined() == (how.activation != Activation::none), "group_norm",
          "needs a gate and its activation, or neither");
  require(!in.gate.defined() || (in.gate.shape() == in.x.shape() && in.gate.dtype() == in.x.dtype()),
          "group_norm", "needs a gate ", in.x.shape(), " ", in.x.dtype(), ", got ", in.gate.shape(), " ",
          in.gate.dtype());
  require_one_device("group_norm", {&in.x, &in.weight, &in.bias, &in.gate});
  return s;
}

/// The inputs with the memory that the kernel expects.
GroupNormInputs prepared(const GroupNormInputs& in) {
  const auto dense = [](const Tensor& x) { return x.defined() ? contiguous(x) : x; };
  const bool rows = in.gate.defined() && row_distance(in.gate) >= 0;
  return {contiguous(in.x), dense(in.weight), dense(in.bias), rows ? in.gate : dense(in.gate), in.options};
}

template <class T>
T* pointer(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

template <class T>
kernels::GroupNormTensors<T> pointers(const GroupNormInputs& in) {
  return {pointer<T>(in.weight), pointer<T>(in.bias), pointer<T>(in.gate)};
}

}  // namespace

GroupNormOutputs group_norm(const GroupNormInputs& inputs) {
  kernels::GroupNorm s = plan(inputs);
  const GroupNormInputs in = prepared(inputs);
  if (in.gate.defined()) s.gate_row = row_distance(in.gate);
  const Dtype dtype = in.x.dtype();
  GroupNormOutputs out{Tensor::empty(in.x.shape(), dtype, in.x.device()),
                       Tensor::empty({s.rows, s.groups}, dtype, in.x.device()),
                       Tensor::empty({s.rows, s.groups}, dtype, in.x.device())};
  dispatch_real("group_norm", in.x, [&]<class T>(auto exec, Type<T>) {
    kernels::group_norm(exec, s, out.y.data<T>(), out.mean.data<T>(), out.rstd.data<T>(),
                        static_cast<const T*>(in.x.data<T>()), pointers<T>(in));
  });
  return out;
}

std::vector<Tensor> group_norm_grad(const GroupNormInputs& inputs, const GroupNormOutputs& out,
                                    const Tensor& dy, const Tensor& dgate_memory) {
  kernels::GroupNorm s = plan(inputs);
  const GroupNormInputs in = prepared(inputs);
  require(dy.shape() == in.x.shape() && dy.dtype() == in.x.dtype(), "group_norm_grad", "needs dy ",
          in.x.shape(), " ", in.x.dtype(), ", got ", dy.shape(), " ", dy.dtype());
  require_one_device("group_norm_grad", {&in.x, &dy, &dgate_memory});
  const Tensor cotangent = contiguous(dy);
  const auto like = [](const Tensor& x) {
    return x.defined() ? Tensor::empty(x.shape(), x.dtype(), x.device()) : x;
  };
  const Tensor dx = like(in.x), dweight = like(in.weight), dbias = like(in.bias);
  Tensor gate = in.gate, dgate = dgate_memory;
  if (gate.defined() && !dgate.defined()) gate = contiguous(gate), dgate = like(gate);
  if (gate.defined()) {
    s.gate_row = row_distance(gate);
    require(
        dgate.shape() == gate.shape() && dgate.dtype() == gate.dtype() && row_distance(dgate) == s.gate_row,
        "group_norm_grad", "needs memory for dgate that is laid out as the gate, got ", dgate.shape(), " ",
        dgate.dtype());
  }
  dispatch_real("group_norm_grad", in.x, [&]<class T>(auto exec, Type<T>) {
    kernels::GroupNormTensors<T> tensors = pointers<T>(in);
    tensors.gate = pointer<T>(gate);
    kernels::group_norm_grad(
        exec, s, {dx.data<T>(), pointer<T>(dweight), pointer<T>(dbias), pointer<T>(dgate)},
        static_cast<const T*>(cotangent.data<T>()), static_cast<const T*>(in.x.data<T>()),
        static_cast<const T*>(out.mean.data<T>()), static_cast<const T*>(out.rstd.data<T>()), tensors);
  });
  return {dx, dweight, dbias, dgate};
}

namespace {

/// y = x W^T with what `epilogue(Type<T>)` makes of each element; y is new memory.
template <class Epilogue>
Tensor product(const Tensor& input, const Tensor& weight, Epilogue&& epilogue) {
  require(input.defined() && weight.defined() && input.rank() >= 1 && weight.rank() == 2 &&
              input.dim(-1) == weight.dim(1) && input.dtype() == weight.dtype(),
          "linear", "needs x [.., in] and W [out, in] of one dtype, got ", input.shape(), " ", input.dtype(),
          " and ", weight.shape(), " ", weight.dtype());
  require_one_device("linear", {&input, &weight});
  const Tensor x = contiguous(input);
  Shape shape = x.shape();
  shape[shape.rank() - 1] = weight.dim(0);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  if (y.size() == 0) return y;
  kernels::Matmul s;
  s.n = weight.dim(0), s.k = weight.dim(1), s.m = y.size() / s.n;
  s.a_row = s.k, s.b_row = weight.strides()[1], s.b_col = weight.strides()[0], s.c_row = s.n;
  dispatch("linear", x, [&]<class T>(auto exec, Type<T> type) {
    kernels::matmul(exec, s, y.data<T>(), static_cast<const T*>(x.data<T>()),
                    static_cast<const T*>(weight.data<T>()), epilogue(type));
  });
  return y;
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& residual) {
  if (!residual.defined()) return product(x, weight, []<class T>(Type<T>) { return kernels::NoEpilogue{}; });
  require(x.defined() && weight.defined() && x.rank() >= 1 && weight.rank() == 2, "linear",
          "needs x [.., in] and W [out, in]");
  Shape result = x.shape();
  result[result.rank() - 1] = weight.dim(0);
  require(residual.shape() == result && residual.dtype() == x.dtype(), "linear",
          "the residual must have the shape and dtype of the result, got ", residual.shape(), " ",
          residual.dtype(), " for ", x.shape(), " and ", weight.shape());
  require_one_device("linear", {&x, &residual});
  const Tensor r = contiguous(residual);
  return product(x, weight, [&]<class T>(Type<T>) { return kernels::AddResidual<T>{r.data<T>()}; });
}

Tensor linear_weight_grad(const Tensor& dy, const Tensor& x) {
  const auto rows = [](const Tensor& t) {
    // Not -1 for the number of rows: they may be empty.
    return reshape(t, {count(Shape(t.shape().begin(), t.shape().end() - 1)), t.dim(-1)});
  };
  return matmul(rows(dy), rows(x), true, false);
}

Activated linear(const Tensor& x, const Tensor& weight, Activation activation) {
  if (activation != Activation::gelu && activation != Activation::swish) {
    const Tensor pre = linear(x, weight);
    return {pre, activate(activation, pre)};
  }
  require(x.defined() && weight.defined() && x.rank() >= 1 && weight.rank() == 2, "linear",
          "needs x [.., in] and W [out, in]");
  Shape shape = x.shape();
  shape[shape.rank() - 1] = weight.dim(0);
  const Tensor pre = Tensor::empty(shape, x.dtype(), x.device());
  if (activation == Activation::gelu)
    return {pre, product(x, weight, [&]<class T>(Type<T>) {
              return kernels::Activate<kernels::Gelu, T>{{}, pre.data<T>()};
            })};
  return {pre, product(x, weight, [&]<class T>(Type<T>) {
            return kernels::Activate<kernels::Swish, T>{{}, pre.data<T>()};
          })};
}

Tensor activate(Activation activation, const Tensor& x) {
  switch (activation) {
    case Activation::swish:
      return swish(x);
    case Activation::gelu:
      return gelu(x);
    case Activation::relu:
      return relu(x);
    case Activation::none:
      break;
  }
  return x;
}

Tensor activate_grad(Activation activation, const Tensor& x, const Tensor& dy) {
  switch (activation) {
    case Activation::swish:
      return swish_grad(x, dy);
    case Activation::gelu:
      return gelu_grad(x, dy);
    case Activation::relu:
      return relu_grad(x, dy);
    case Activation::none:
      break;
  }
  return dy;
}

}  // namespace retnet
