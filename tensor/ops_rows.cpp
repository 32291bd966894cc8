#include "kernels/norm.h"
#include "kernels/rotation.h"
#include "kernels/softmax.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

Shape without_last(const Shape& shape) { return Shape(shape.begin(), shape.end() - 1); }

/// Length of the rows of x. @throws Error in the name of `op` unless there is at least one element in a row
std::int64_t row_length(const char* op, const Tensor& x) {
  require(x.defined() && x.rank() >= 1 && x.dim(-1) >= 1, op,
          "needs rows of at least one element, got shape ", x.shape());
  return x.dim(-1);
}

void require_like(const char* op, const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape() && a.dtype() == b.dtype(), op, "operands differ, got ", a.shape(), " ",
          a.dtype(), " and ", b.shape(), " ", b.dtype());
  require_one_device(op, {&a, &b});
}

Dtype accum_dtype(Dtype dtype) { return dtype == Dtype::bf16 ? Dtype::f32 : dtype; }

/// Targets as a kernel on the logits' device reads them: there, and dense. They are checked on the host only:
/// a GPU's kernel makes the loss of a bad one NaN.
Tensor usable_targets(const Tensor& logits, const Tensor& targets) {
  const std::int64_t n = row_length("cross_entropy", logits);
  require(targets.dtype() == Dtype::i32, "cross_entropy", "targets must be i32, got ", targets.dtype());
  require(targets.shape() == without_last(logits.shape()), "cross_entropy", "logits ", logits.shape(),
          " need targets ", without_last(logits.shape()), ", got ", targets.shape());
  const Tensor index = contiguous(logits.device() == Device::cpu ? targets.to(Device::cpu) : targets);
  if (index.device() == Device::cpu) {
    const std::int32_t* t = index.data<std::int32_t>();
    for (std::int64_t i = 0; i < index.size(); ++i)
      require(t[i] >= 0 && t[i] < n, "cross_entropy", "targets must be in 0 .. ", n - 1, ", got ", t[i]);
  }
  return index.to(logits.device());
}

}  // namespace

Tensor softmax(const Tensor& input) {
  const std::int64_t n = row_length("softmax", input);
  const Tensor x = contiguous(input);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  dispatch("softmax", x, [&]<class T>(auto exec, Type<T>) {
    kernels::softmax(exec, y.data<T>(), static_cast<const T*>(x.data<T>()), x.size() / n, n);
  });
  return y;
}

Tensor softmax_grad(const Tensor& output, const Tensor& dy) {
  require_like("softmax_grad", output, dy);
  const std::int64_t n = row_length("softmax_grad", output);
  const Tensor y = contiguous(output), grad = contiguous(dy);
  Tensor dx = Tensor::empty(y.shape(), y.dtype(), y.device());
  dispatch("softmax_grad", y, [&]<class T>(auto exec, Type<T>) {
    kernels::softmax_grad(exec, dx.data<T>(), static_cast<const T*>(grad.data<T>()),
                          static_cast<const T*>(y.data<T>()), y.size() / n, n);
  });
  return dx;
}

Tensor log_sum_exp(const Tensor& input) {
  const std::int64_t n = row_length("log_sum_exp", input);
  const Tensor x = contiguous(input);
  Tensor y = Tensor::empty(without_last(x.shape()), x.dtype(), x.device());
  dispatch("log_sum_exp", x, [&]<class T>(auto exec, Type<T>) {
    kernels::log_sum_exp(exec, y.data<T>(), static_cast<const T*>(x.data<T>()), y.size(), n);
  });
  return y;
}

Normalized normalize(const Tensor& input, double eps, bool center) {
  const std::int64_t n = row_length("normalize", input);
  const Tensor x = contiguous(input);
  Normalized result{Tensor::empty(x.shape(), x.dtype(), x.device()),
                    Tensor::empty(without_last(x.shape()), accum_dtype(x.dtype()), x.device())};
  dispatch("normalize", x, [&]<class T>(auto exec, Type<T>) {
    kernels::normalize(exec, result.y.data<T>(), result.rstd.data<accum_t<T>>(),
                       static_cast<const T*>(x.data<T>()), x.size() / n, n, eps, center);
  });
  return result;
}

Tensor normalize_grad(const Normalized& saved, const Tensor& dy, bool center) {
  require_like("normalize_grad", saved.y, dy);
  const std::int64_t n = row_length("normalize_grad", dy);
  require(saved.rstd.size() * n == dy.size(), "normalize_grad", dy.shape(), " needs one rstd a row, got ",
          saved.rstd.shape());
  require_one_device("normalize_grad", {&saved.rstd, &dy});
  const Tensor grad = contiguous(dy), y = contiguous(saved.y), rstd = contiguous(saved.rstd);
  Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  dispatch("normalize_grad", dy, [&]<class T>(auto exec, Type<T>) {
    kernels::normalize_grad(
        exec, dx.data<T>(), static_cast<const T*>(grad.data<T>()), static_cast<const T*>(y.data<T>()),
        static_cast<const accum_t<T>*>(rstd.data<accum_t<T>>()), dy.size() / n, n, center);
  });
  return dx;
}

CrossEntropy cross_entropy(const Tensor& input, const Tensor& target_ids) {
  const Tensor x = contiguous(input), targets = usable_targets(x, target_ids);
  CrossEntropy result{Tensor::empty(targets.shape(), x.dtype(), x.device()),
                      Tensor::empty(targets.shape(), x.dtype(), x.device())};
  dispatch("cross_entropy", x, [&]<class T>(auto exec, Type<T>) {
    kernels::cross_entropy(
        exec, result.loss.data<T>(), result.lse.data<T>(), static_cast<const T*>(x.data<T>()),
        static_cast<const std::int32_t*>(targets.data<std::int32_t>()), targets.size(), x.dim(-1));
  });
  return result;
}

Tensor cross_entropy_grad(const CrossEntropy& saved, const Tensor& logits, const Tensor& target_ids,
                          const Tensor& dloss) {
  const Tensor x = contiguous(logits), targets = usable_targets(x, target_ids), grad = contiguous(dloss);
  const Tensor lse = contiguous(saved.lse);
  require_like("cross_entropy_grad", saved.loss, dloss);
  require_like("cross_entropy_grad", saved.lse, dloss);
  require(dloss.shape() == targets.shape() && dloss.dtype() == x.dtype(), "cross_entropy_grad", "logits ",
          x.shape(), " ", x.dtype(), " need a gradient ", targets.shape(), ", got ", dloss.shape(), " ",
          dloss.dtype());
  require_one_device("cross_entropy_grad", {&x, &dloss});
  Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
  dispatch("cross_entropy_grad", x, [&]<class T>(auto exec, Type<T>) {
    kernels::cross_entropy_grad(exec, dx.data<T>(), static_cast<const T*>(grad.data<T>()),
                                static_cast<const T*>(x.data<T>()), static_cast<const T*>(lse.data<T>()),
                                static_cast<const std::int32_t*>(targets.data<std::int32_t>()),
                                targets.size(), x.dim(-1));
  });
  return dx;
}

namespace {

kernels::Rotation plan_rotation(const char* op, const Tensor& x, const Tensor& cosines, const Tensor& sines) {
  require(x.rank() == 4 && x.dim(3) % 2 == 0, op, "needs [B, T, H, dk] with an even dk, got ", x.shape());
  const Shape table{x.dim(1), x.dim(3) / 2};
  require(cosines.shape() == table && sines.shape() == table, op, x.shape(), " needs tables of shape ", table,
          ", got ", cosines.shape(), " and ", sines.shape());
  require(cosines.dtype() == accum_dtype(x.dtype()) && sines.dtype() == cosines.dtype(), op, x.dtype(),
          " needs tables in ", accum_dtype(x.dtype()), ", got ", cosines.dtype());
  require_one_device(op, {&x, &cosines, &sines});
  kernels::Rotation s;
  s.batch = x.dim(0), s.n = x.dim(1), s.heads = x.dim(2), s.dk = x.dim(3);
  s.x_row = s.y_row = s.heads * s.dk;
  return s;
}

void run_rotation(const kernels::Rotation& s, const Tensor& y, const Tensor& x, const Tensor& cosines,
                  const Tensor& sines) {
  const Tensor c = contiguous(cosines), sn = contiguous(sines);
  dispatch("rotate", x, [&]<class T>(auto exec, Type<T>) {
    using A = accum_t<T>;
    kernels::rotate(exec, s, y.data<T>(), static_cast<const T*>(x.data<T>()),
                    static_cast<const A*>(c.data<A>()), static_cast<const A*>(sn.data<A>()));
  });
}

}  // namespace

Tensor rotate(const Tensor& input, const Tensor& cosines, const Tensor& sines, bool inverse) {
  kernels::Rotation s = plan_rotation("rotate", input, cosines, sines);
  s.inverse = inverse;
  const Tensor x = contiguous(input);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  run_rotation(s, y, x, cosines, sines);
  return y;
}

void rotate_in_place(const Tensor& x, const Tensor& cosines, const Tensor& sines, double scale,
                     bool inverse) {
  kernels::Rotation s = plan_rotation("rotate_in_place", x, cosines, sines);
  if (x.size() == 0) return;
  s.inverse = inverse, s.scale = scale;
  s.x_row = s.y_row = x.strides()[1];
  require(x.strides()[3] == 1 && x.strides()[2] == s.dk && x.strides()[0] == s.n * s.x_row, "rotate_in_place",
          "needs steps a constant distance apart, got strides ", x.strides()[0], ", ", x.strides()[1], ", ",
          x.strides()[2], " and ", x.strides()[3], " for ", x.shape());
  run_rotation(s, x, x, cosines, sines);
}

}  // namespace retnet
