#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {

Tensor rand_uniform(const Shape& shape, RandomKey key, double low, double high, Dtype dtype, Device device) {
  Tensor x = Tensor::empty(shape, dtype, device);
  dispatch_real("rand_uniform", x, [&]<class T>(auto exec, Type<T>) {
    kernels::fill_uniform(exec, x.data<T>(), x.size(), key, low, high);
  });
  return x;
}

Tensor rand_normal(const Shape& shape, RandomKey key, double mean, double deviation, Dtype dtype,
                   Device device) {
  Tensor x = Tensor::empty(shape, dtype, device);
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

Clipping clip_by_norm(const Tensor& squares, double clip) {
  require(squares.rank() == 1 && squares.dtype() == Dtype::f64 && squares.is_contiguous(), "clip_by_norm",
          "needs contiguous sums of squares [n] in f64, got ", squares.shape(), " ", squares.dtype());
  const Clipping result{Tensor::empty({}, Dtype::f64, squares.device()),
                        Tensor::empty({}, Dtype::f64, squares.device())};
  on_device("clip_by_norm", squares.device(), [&](auto exec) {
    kernels::clip_by_norm(exec, result.norm.data<double>(), result.scale.data<double>(),
                          squares.data<double>(), squares.size(), clip);
  });
  return result;
}

void adamw_update(const kernels::AdamW& given, const std::vector<AdamWParameter>& parameters,
                  const Tensor& scale) {
  if (parameters.empty()) return;
  const Tensor& first = parameters[0].w;
  for (const AdamWParameter& p : parameters)
    for (const Tensor* x : {&p.w, &p.m, &p.v, &p.gradient}) {
      require(x->shape() == p.w.shape() && x->dtype() == first.dtype() && x->is_contiguous(), "adamw",
              "needs contiguous tensors of one shape and dtype, got ", p.w.shape(), " ", first.dtype(),
              " and ", x->shape(), " ", x->dtype());
      require_one_device("adamw", {&first, x, &scale});
    }
  kernels::AdamW settings = given;
  if (scale.defined()) settings.scale = scale.data<double>();
  dispatch_real("adamw", first, [&]<class T>(auto exec, Type<T>) {
    std::vector<kernels::AdamWParameter<T>> list;
    for (const AdamWParameter& p : parameters)
      list.push_back(
          {p.w.data<T>(), p.m.data<T>(), p.v.data<T>(), p.gradient.data<T>(), p.w.size(), p.decays});
    kernels::adamw(exec, settings, static_cast<const kernels::AdamWParameter<T>*>(list.data()),
                   static_cast<std::int64_t>(list.size()));
  });
}

}  // namespace retnet
