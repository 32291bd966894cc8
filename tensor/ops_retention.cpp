#include <vector>

#include "kernels/retention.h"
#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

/// The kernel takes any strides but along a row.
Tensor readable(const Tensor& x) {
  return x.shape().back() == 1 || x.strides().back() == 1 ? x : contiguous(x);
}

kernels::RetentionLayout layout(const Tensor& x) { return {x.strides()[0], x.strides()[1], x.strides()[2]}; }

/// [B, H, N, d] with heads inside steps, so that a transposition makes it the input of the next projection.
Tensor empty_by_step(std::int64_t B, std::int64_t H, std::int64_t N, std::int64_t d, Dtype dtype,
                     Device device) {
  return transpose(Tensor::empty({B, N, H, d}, dtype, device), 1, 2);
}

RetentionInputs prepared(const RetentionInputs& in) {
  const std::int64_t B = in.q.dim(0), H = in.q.dim(1), N = in.q.dim(2), dk = in.q.dim(3), dv = in.v.dim(3);
  require(H >= 1 && dk >= 1 && dv >= 1, "retention",
          "needs at least one head of at least one channel, got q ", in.q.shape(), " and v ", in.v.shape());
  require(in.powers.rank() == 2 && (in.powers.dim(1) >= 2 || N == 0), "retention",
          "powers must be [H, C+1] with C >= 1, got ", in.powers.shape());
  const auto need = [](const Tensor& x, const Shape& shape, const char* what) {
    require(x.shape() == shape, "retention", what, " must be ", shape, ", got ", x.shape());
  };
  need(in.k, {B, H, N, dk}, "k"), need(in.v, {B, H, N, dv}, "v");
  need(in.S, {B, H, dk, dv}, "S"), need(in.z, {B, H, dk}, "z");
  need(in.powers, {H, in.powers.dim(1)}, "powers");
  if (in.root_s.defined()) need(in.root_s, {H, N, 1}, "root_s");
  RetentionInputs out{readable(in.q),   readable(in.k),        readable(in.v), contiguous(in.S),
                      contiguous(in.z), contiguous(in.powers), Tensor(),       in.divisor_gradient};
  if (in.root_s.defined()) out.root_s = contiguous(in.root_s);
  for (const Tensor* x : {&in.k, &in.v, &in.S, &in.z, &in.powers})
    require(x->dtype() == in.q.dtype(), "retention", "dtypes differ, got ", in.q.dtype(), " and ",
            x->dtype());
  require_one_device("retention", {&in.q, &in.k, &in.v, &in.S, &in.z, &in.powers, &in.root_s});
  return out;
}

template <class T>
kernels::Retention<T> plan(const RetentionInputs& in, const Tensor& o) {
  kernels::Retention<T> s;
  s.batch = in.q.dim(0), s.heads = in.q.dim(1), s.n = in.q.dim(2), s.dk = in.q.dim(3), s.dv = in.v.dim(3);
  s.chunk = in.powers.dim(1) - 1;
  s.q = layout(in.q), s.k = layout(in.k), s.v = layout(in.v), s.o = layout(o);
  s.powers = in.powers.data<T>();
  if (in.root_s.defined()) s.root_s = in.root_s.data<T>();
  s.divisor_gradient = in.divisor_gradient;
  return s;
}

template <class T>
kernels::RetentionTensors<T> pointers(const RetentionInputs& in) {
  return {in.q.data<T>(), in.k.data<T>(), in.v.data<T>(), in.S.data<T>(), in.z.data<T>()};
}

/// Allocates and calls `kernel(exec, plan, inputs, output)`.
template <class Kernel>
RetentionOutputs run(const char* op, const RetentionInputs& inputs, Kernel kernel) {
  const RetentionInputs in = prepared(inputs);
  const std::int64_t B = in.q.dim(0), H = in.q.dim(1), N = in.q.dim(2), dv = in.v.dim(3);
  const Dtype dtype = in.q.dtype();
  const Device device = in.q.device();
  RetentionOutputs out{empty_by_step(B, H, N, dv, dtype, device), Tensor::empty({B, H, N}, dtype, device),
                       Tensor::empty(in.S.shape(), dtype, device),
                       Tensor::empty(in.z.shape(), dtype, device)};
  if (B * N == 0) {  // no step: the state stays what it was
    copy_into(out.S, in.S), copy_into(out.z, in.z);
    return out;
  }
  dispatch_real(op, in.q, [&]<class T>(auto exec, Type<T>) {
    kernel(exec, plan<T>(in, out.o), pointers<T>(in),
           kernels::RetentionOutput<T>{out.o.data<T>(), out.row_sums.data<T>(), out.S.data<T>(),
                                       out.z.data<T>()});
  });
  return out;
}

}  // namespace

RetentionOutputs retention(const RetentionInputs& in) {
  return run("retention", in, [](auto... args) { kernels::retention(args...); });
}

RetentionOutputs retention_parallel(const RetentionInputs& in) {
  require(in.powers.dim(1) == in.q.dim(2) + 1, "retention_parallel", "needs gamma^0 .. gamma^N for q ",
          in.q.shape(), ", got powers ", in.powers.shape());
  return run("retention_parallel", in, [](auto... args) { kernels::retention_parallel(args...); });
}

std::vector<Tensor> retention_grad(const RetentionInputs& inputs, const RetentionOutputs& out,
                                   const Tensor& do_, bool state_gradient, const RetentionMemory& memory) {
  const RetentionInputs in = prepared(inputs);
  require(do_.shape() == out.o.shape() && do_.dtype() == out.o.dtype(), "retention_grad", "needs do ",
          out.o.shape(), " ", out.o.dtype(), ", got ", do_.shape(), " ", do_.dtype());
  require_one_device("retention_grad", {&in.q, &do_, &memory.dq, &memory.dk, &memory.dv});
  const Tensor cotangent = readable(do_);
  const auto memory_for = [](const Tensor& given, const Tensor& x) {
    if (!given.defined())  // as x lies, so that a leaf can keep it
      return x.is_contiguous() ? Tensor::empty(x.shape(), x.dtype(), x.device())
                               : empty_by_step(x.dim(0), x.dim(1), x.dim(2), x.dim(3), x.dtype(), x.device());
    require(given.shape() == x.shape() && given.dtype() == x.dtype() &&
                (x.dim(3) == 1 || given.strides()[3] == 1),
            "retention_grad", "needs memory ", x.shape(), " ", x.dtype(), " with dense rows, got ",
            given.shape(), " ", given.dtype());
    return given;
  };
  const Tensor dq = memory_for(memory.dq, in.q), dk = memory_for(memory.dk, in.k),
               dv = memory_for(memory.dv, in.v);
  Tensor dS, dz;
  if (state_gradient)
    dS = Tensor::empty(in.S.shape(), in.S.dtype(), in.S.device()),
    dz = Tensor::empty(in.z.shape(), in.z.dtype(), in.z.device());
  if (in.q.dim(0) * in.q.dim(2) == 0) {  // no output depends on the state
    if (state_gradient) fill(dS, 0), fill(dz, 0);
    return {dq, dk, dv, dS, dz};
  }
  dispatch_real("retention_grad", in.q, [&]<class T>(auto exec, Type<T>) {
    const kernels::RetentionResults<T> results{out.o.data<T>(), out.row_sums.data<T>(), cotangent.data<T>(),
                                               layout(cotangent)};
    kernels::RetentionGradients<T> to{dq.data<T>(), dk.data<T>(), dv.data<T>(),
                                      layout(dq),   layout(dk),   layout(dv)};
    if (state_gradient) to.dS = dS.data<T>(), to.dz = dz.data<T>();
    kernels::retention_grad(exec, plan<T>(in, out.o), pointers<T>(in), results, to);
  });
  return {dq, dk, dv, dS, dz};
}

}  // namespace retnet
