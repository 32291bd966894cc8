#include "kernels/copy.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

void run_copy(const Tensor& to, const Tensor& from) {
  // Neighbouring dimensions that both sides walk through without a jump are one longer dimension.
  kernels::Copy s;
  for (int i = 0; i < from.rank(); ++i) {
    if (from.shape()[i] == 1) continue;
    const int d = s.rank - 1;
    if (d >= 0 && s.to_stride[d] == to.strides()[i] * to.shape()[i] &&
        s.from_stride[d] == from.strides()[i] * from.shape()[i]) {
      s.dims[d] *= from.shape()[i];
      s.to_stride[d] = to.strides()[i];
      s.from_stride[d] = from.strides()[i];
    } else {
      s.dims[s.rank] = from.shape()[i];
      s.to_stride[s.rank] = to.strides()[i];
      s.from_stride[s.rank] = from.strides()[i];
      ++s.rank;
    }
  }
  require_one_device("copy", {&to, &from});
  if (from.size() == 0) return;
  dispatch_all("copy", to.dtype(), to.device(), [&]<class To>(auto exec, Type<To>) {
    with_any_type("copy", from.dtype(), [&]<class From>(Type<From>) {
      kernels::copy(exec, to.data<To>(), static_cast<const From*>(from.data<From>()), s);
    });
  });
}

}  // namespace

Tensor clone(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  run_copy(y, x);
  return y;
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor astype(const Tensor& x, Dtype dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  run_copy(y, x);
  return y;
}

void fill(const Tensor& x, double value) {
  require(x.is_contiguous(), "fill", "needs a contiguous tensor; use copy_into() for a strided one");
  dispatch_all("fill", x.dtype(), x.device(),
               [&]<class T>(auto exec, Type<T>) { kernels::fill(exec, x.data<T>(), T(value), x.size()); });
}

void copy_into(const Tensor& to, const Tensor& from) {
  require(to.shape() == from.shape(), "copy_into", "shapes differ, got ", to.shape(), " and ", from.shape());
  run_copy(to, from);
}

Tensor concat(const std::vector<Tensor>& parts, int axis) {
  require(!parts.empty(), "concat", "needs at least one tensor");
  const int a = normalize_axis("concat", axis, parts[0].rank());
  Shape shape = parts[0].shape();
  shape[a] = 0;
  for (const Tensor& part : parts) {
    require(part.dtype() == parts[0].dtype(), "concat", "dtypes differ, got ", parts[0].dtype(), " and ",
            part.dtype(), "; convert one with astype()");
    Shape expected = parts[0].shape();
    if (part.rank() == expected.rank()) expected[a] = part.shape()[a];
    require(part.shape() == expected, "concat", "shapes differ outside dimension ", a, ", got ",
            parts[0].shape(), " and ", part.shape());
    shape[a] += part.shape()[a];
  }
  Tensor y = Tensor::empty(shape, parts[0].dtype(), parts[0].device());
  std::int64_t begin = 0;
  for (const Tensor& part : parts) {
    run_copy(slice(y, a, begin, begin + part.shape()[a]), part);
    begin += part.shape()[a];
  }
  return y;
}

}  // namespace retnet
