#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {

Tensor rand_uniform(const Shape& shape, RandomKey key, double low, double high, Dtype dtype) {
  Tensor x = Tensor::empty(shape, dtype);
  dispatch_real("rand_uniform", x, [&]<class T>(auto exec, Type<T>) {
    kernels::fill_uniform(exec, x.data<T>(), x.size(), key, low, high);
  });
  return x;
}

Tensor rand_normal(const Shape& shape, RandomKey key, double mean, double deviation, Dtype dtype) {
  Tensor x = Tensor::empty(shape, dtype);
  dispatch_real("rand_normal", x, [&]<class T>(auto exec, Type<T>) {
    kernels::fill_normal(exec, x.data<T>(), x.size(), key, mean, deviation);
  });
  return x;
}

Tensor dropout(const Tensor& input, double p, RandomKey key) {
  require(p >= 0 && p < 1, "dropout", "the probability must be in [0, 1), got ", p);
  const Tensor x = contiguous(input);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  dispatch("dropout", x, [&]<class T>(auto exec, Type<T>) {
    kernels::dropout(exec, y.data<T>(), static_cast<const T*>(x.data<T>()), x.size(), key, p);
  });
  return y;
}

void adamw_update(const kernels::AdamW& settings, const Tensor& w, const Tensor& m, const Tensor& v,
                  const Tensor& gradient) {
  for (const Tensor* x : {&m, &v, &gradient})
    require(x->shape() == w.shape() && x->dtype() == w.dtype() && x->is_contiguous() && w.is_contiguous(),
            "adamw", "needs contiguous tensors of one shape and dtype, got ", w.shape(), " ", w.dtype(),
            " and ", x->shape(), " ", x->dtype());
  dispatch_real("adamw", w, [&]<class T>(auto exec, Type<T>) {
    kernels::adamw(exec, settings, w.data<T>(), m.data<T>(), v.data<T>(),
                   static_cast<const T*>(gradient.data<T>()), w.size());
  });
}

}  // namespace retnet
