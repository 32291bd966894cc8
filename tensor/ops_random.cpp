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

void adamw_update(const kernels::AdamW& settings, const std::vector<AdamWParameter>& parameters) {
  if (parameters.empty()) return;
  for (const AdamWParameter& p : parameters)
    for (const Tensor* x : {&p.w, &p.m, &p.v, &p.gradient})
      require(x->shape() == p.w.shape() && x->dtype() == parameters[0].w.dtype() && x->is_contiguous(),
              "adamw", "needs contiguous tensors of one shape and dtype, got ", p.w.shape(), " ",
              parameters[0].w.dtype(), " and ", x->shape(), " ", x->dtype());
  dispatch_real("adamw", parameters[0].w, [&]<class T>(auto exec, Type<T>) {
    std::vector<kernels::AdamWParameter<T>> list;
    for (const AdamWParameter& p : parameters)
      list.push_back(
          {p.w.data<T>(), p.m.data<T>(), p.v.data<T>(), p.gradient.data<T>(), p.w.size(), p.decays});
    kernels::adamw(exec, settings, static_cast<const kernels::AdamWParameter<T>*>(list.data()),
                   static_cast<std::int64_t>(list.size()));
  });
}

}  // namespace retnet
