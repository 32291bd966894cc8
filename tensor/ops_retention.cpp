#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/retention.h"
#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

/// True iff the elements of x, in some order of its dimensions, are all of one stretch of memory, and its
/// last dimension is the dense one: heads inside steps, say, as projections leave them.
bool is_permuted_dense(const Tensor& x) {
  std::vector<std::pair<std::int64_t, std::int64_t>> dims;  // (stride, size), the innermost first
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] != 1) dims.emplace_back(x.strides()[i], x.shape()[i]);
  std::sort(dims.begin(), dims.end());
  std::int64_t step = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != step) return false;
    step *= size;
  }
  return x.shape().back() == 1 || x.strides().back() == 1;
}

Tensor readable(const Tensor& x) { return is_permuted_dense(x) ? x : contiguous(x); }

/// A tensor of x's shape, strides and dtype with memory of its own.
Tensor empty_like(const Tensor& x) {
  return {std::make_shared<Storage>(x.size() * size_of(x.dtype()), x.device()), 0, x.shape(), x.strides(),
          x.dtype()};
}

kernels::RetentionLayout layout(const Tensor& x) { return {x.strides()[0], x.strides()[1], x.strides()[2]}; }

/// [B, H, N, d] with heads inside steps, so that a transposition makes it the input of the next projection.
Tensor empty_by_step(std::int64_t B, std::int64_t H, std::int64_t N, std::int64_t d, Dtype dtype,
                     Device device) {
  return transpose(Tensor::empty({B, N, H, d}, dtype, device), 1, 2);
}

RetentionInputs prepared(const RetentionInputs& in) {
  const std::int64_t B = in.q.dim(0), H = in.q.dim(1), N = in.q.dim(2), dk = in.q.dim(3), dv = in.v.dim(3);
  const std::int64_t C = in.mask.dim(1);
  const auto need = [](const Tensor& x, const Shape& shape, const char* what) {
    require(x.shape() == shape, "retention", what, " must be ", shape, ", got ", x.shape());
  };
  need(in.k, {B, H, N, dk}, "k"), need(in.v, {B, H, N, dv}, "v");
  need(in.S, {B, H, dk, dv}, "S"), need(in.z, {B, H, dk}, "z");
  need(in.mask, {H, C, C}, "the mask"), need(in.from_state, {H, C, 1}, "from_state");
  need(in.to_state, {H, C, 1}, "to_state");
  if (in.root_s.defined()) need(in.root_s, {H, N, 1}, "root_s");
  RetentionInputs out{readable(in.q),
                      readable(in.k),
                      readable(in.v),
                      contiguous(in.S),
                      contiguous(in.z),
                      contiguous(in.mask),
                      contiguous(in.from_state),
                      contiguous(in.to_state),
                      Tensor(),
                      in.divisor_gradient};
  if (in.root_s.defined()) out.root_s = contiguous(in.root_s);
  for (const Tensor* x : {&in.k, &in.v, &in.S, &in.z, &in.mask, &in.from_state, &in.to_state})
    require(x->dtype() == in.q.dtype(), "retention", "dtypes differ, got ", in.q.dtype(), " and ",
            x->dtype());
  return out;
}

template <class T>
kernels::Retention<T> plan(const RetentionInputs& in, const Tensor& o) {
  kernels::Retention<T> s;
  s.batch = in.q.dim(0), s.heads = in.q.dim(1), s.n = in.q.dim(2), s.dk = in.q.dim(3), s.dv = in.v.dim(3);
  s.chunk = in.mask.dim(1);
  s.q = layout(in.q), s.k = layout(in.k), s.v = layout(in.v), s.o = layout(o);
  s.mask = in.mask.data<T>(), s.from_state = in.from_state.data<T>(), s.to_state = in.to_state.data<T>();
  if (in.root_s.defined()) s.root_s = in.root_s.data<T>();
  s.divisor_gradient = in.divisor_gradient;
  return s;
}

template <class T>
kernels::RetentionTensors<T> pointers(const RetentionInputs& in) {
  return {in.q.data<T>(), in.k.data<T>(), in.v.data<T>(), in.S.data<T>(), in.z.data<T>()};
}

}  // namespace

RetentionOutputs retention(const RetentionInputs& inputs) {
  const RetentionInputs in = prepared(inputs);
  const std::int64_t B = in.q.dim(0), H = in.q.dim(1), N = in.q.dim(2), dv = in.v.dim(3);
  const Dtype dtype = in.q.dtype();
  RetentionOutputs out{empty_by_step(B, H, N, dv, dtype, in.q.device()), Tensor::empty({B, H, N}, dtype),
                       Tensor::empty(in.S.shape(), dtype), Tensor::empty(in.z.shape(), dtype)};
  dispatch_real("retention", in.q, [&]<class T>(auto exec, Type<T>) {
    kernels::retention(exec, plan<T>(in, out.o), pointers<T>(in), out.o.data<T>(), out.row_sums.data<T>(),
                       out.S.data<T>(), out.z.data<T>());
  });
  return out;
}

std::vector<Tensor> retention_grad(const RetentionInputs& inputs, const RetentionOutputs& out,
                                   const Tensor& do_) {
  const RetentionInputs in = prepared(inputs);
  require(do_.shape() == out.o.shape() && do_.dtype() == out.o.dtype(), "retention_grad", "needs do ",
          out.o.shape(), " ", out.o.dtype(), ", got ", do_.shape(), " ", do_.dtype());
  const Tensor cotangent = readable(do_);
  const Tensor dq = empty_like(in.q), dk = empty_like(in.k), dv = empty_like(in.v);
  const Tensor dS = Tensor::empty(in.S.shape(), in.S.dtype()), dz = Tensor::empty(in.z.shape(), in.z.dtype());
  dispatch_real("retention_grad", in.q, [&]<class T>(auto exec, Type<T>) {
    kernels::retention_grad(exec, plan<T>(in, out.o), pointers<T>(in), static_cast<const T*>(out.o.data<T>()),
                            static_cast<const T*>(out.row_sums.data<T>()),
                            static_cast<const T*>(cotangent.data<T>()), layout(cotangent), dq.data<T>(),
                            dk.data<T>(), dv.data<T>(), dS.data<T>(), dz.data<T>());
  });
  return {dq, dk, dv, dS, dz};
}

}  // namespace retnet
