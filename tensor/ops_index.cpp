#include "kernels/embedding.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

/// Ids as a kernel of `device` reads them: on that device, and dense. On the host they are checked; those
/// that are on a GPU already are not, since that would be to wait for them, and its kernels make NaN of a bad
/// one.
Tensor usable_ids(const char* op, const Tensor& ids, std::int64_t n, Device device) {
  require(ids.dtype() == Dtype::i32, op, "ids must be i32, got ", ids.dtype(),
          "; convert them with astype()");
  const Tensor index = contiguous(device == Device::cpu ? ids.to(device) : ids);
  if (index.device() == Device::cpu) {
    const std::int32_t* p = index.data<std::int32_t>();
    for (std::int64_t i = 0; i < index.size(); ++i)
      require(p[i] >= 0 && p[i] < n, op, "ids must be in 0 .. ", n - 1, ", got ", p[i]);
  }
  return index.to(device);
}

const std::int32_t* pointer(const Tensor& ids) { return ids.data<std::int32_t>(); }

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
  require(table.rank() == 2, "embedding", "needs a table [V, d], got ", table.shape());
  const Tensor rows = contiguous(table), index = usable_ids("embedding", ids, table.dim(0), table.device());
  Shape shape = ids.shape();
  shape.push_back(table.dim(1));
  Tensor y = Tensor::empty(shape, table.dtype(), table.device());
  dispatch("embedding", table, [&]<class T>(auto exec, Type<T>) {
    kernels::embedding(exec, y.data<T>(), static_cast<const T*>(rows.data<T>()), pointer(index), table.dim(0),
                       ids.size(), table.dim(1));
  });
  return y;
}

Tensor embedding_grad(const Tensor& dy, const Tensor& ids, std::int64_t vocab) {
  require(dy.rank() >= 1 && Shape(dy.shape().begin(), dy.shape().end() - 1) == ids.shape(), "embedding_grad",
          "dy [.., d] needs ids [..], got ", dy.shape(), " and ", ids.shape());
  const Tensor grad = contiguous(dy), index = usable_ids("embedding_grad", ids, vocab, dy.device());
  Tensor dtable = Tensor::zeros({vocab, dy.dim(-1)}, dy.dtype(), dy.device());
  dispatch("embedding_grad", dy, [&]<class T>(auto exec, Type<T>) {
    kernels::embedding_grad(exec, dtable.data<T>(), static_cast<const T*>(grad.data<T>()), pointer(index),
                            vocab, ids.size(), dy.dim(-1));
  });
  return dtable;
}

Tensor gather(const Tensor& x, const Tensor& ids) {
  require(x.rank() >= 1 && Shape(x.shape().begin(), x.shape().end() - 1) == ids.shape(), "gather",
          "x [.., n] needs ids [..], got ", x.shape(), " and ", ids.shape());
  const Tensor rows = contiguous(x), index = usable_ids("gather", ids, x.dim(-1), x.device());
  Tensor y = Tensor::empty(ids.shape(), x.dtype(), x.device());
  dispatch("gather", x, [&]<class T>(auto exec, Type<T>) {
    kernels::gather(exec, y.data<T>(), static_cast<const T*>(rows.data<T>()), pointer(index), ids.size(),
                    x.dim(-1));
  });
  return y;
}

Tensor gather_grad(const Tensor& dy, const Tensor& ids, std::int64_t n) {
  require(dy.shape() == ids.shape(), "gather_grad", "dy and ids need one shape, got ", dy.shape(), " and ",
          ids.shape());
  const Tensor grad = contiguous(dy), index = usable_ids("gather_grad", ids, n, dy.device());
  Shape shape = dy.shape();
  shape.push_back(n);
  Tensor dx = Tensor::zeros(shape, dy.dtype(), dy.device());
  dispatch("gather_grad", dy, [&]<class T>(auto exec, Type<T>) {
    kernels::gather_grad(exec, dx.data<T>(), static_cast<const T*>(grad.data<T>()), pointer(index),
                         ids.size(), n);
  });
  return dx;
}

}  // namespace retnet
