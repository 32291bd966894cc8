#include "kernels/embedding.h"

#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

const std::int32_t* require_ids(const char* op, const Tensor& ids, std::int64_t n) {
  require(ids.dtype() == Dtype::i32, op, "ids must be i32, got ", ids.dtype(),
          "; convert them with astype()");
  const std::int32_t* p = ids.data<std::int32_t>();
  for (std::int64_t i = 0; i < ids.size(); ++i)
    require(p[i] >= 0 && p[i] < n, op, "ids must be in 0 .. ", n - 1, ", got ", p[i]);
  return p;
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
  require(table.rank() == 2, "embedding", "needs a table [V, d], got ", table.shape());
  const Tensor rows = contiguous(table), index = contiguous(ids);
  const std::int32_t* p = require_ids("embedding", index, table.dim(0));
  Shape shape = ids.shape();
  shape.push_back(table.dim(1));
  Tensor y = Tensor::empty(shape, table.dtype(), table.device());
  dispatch("embedding", table, [&]<class T>(auto exec, Type<T>) {
    kernels::embedding(exec, y.data<T>(), static_cast<const T*>(rows.data<T>()), p, ids.size(), table.dim(1));
  });
  return y;
}

Tensor embedding_grad(const Tensor& dy, const Tensor& ids, std::int64_t vocab) {
  require(dy.rank() >= 1 && Shape(dy.shape().begin(), dy.shape().end() - 1) == ids.shape(), "embedding_grad",
          "dy [.., d] needs ids [..], got ", dy.shape(), " and ", ids.shape());
  const Tensor grad = contiguous(dy), index = contiguous(ids);
  const std::int32_t* p = require_ids("embedding_grad", index, vocab);
  Tensor dtable = Tensor::zeros({vocab, dy.dim(-1)}, dy.dtype(), dy.device());
  dispatch("embedding_grad", dy, [&]<class T>(auto exec, Type<T>) {
    kernels::embedding_grad(exec, dtable.data<T>(), static_cast<const T*>(grad.data<T>()), p, ids.size(),
                            dy.dim(-1));
  });
  return dtable;
}

Tensor gather(const Tensor& x, const Tensor& ids) {
  require(x.rank() >= 1 && Shape(x.shape().begin(), x.shape().end() - 1) == ids.shape(), "gather",
          "x [.., n] needs ids [..], got ", x.shape(), " and ", ids.shape());
  const Tensor rows = contiguous(x), index = contiguous(ids);
  const std::int32_t* p = require_ids("gather", index, x.dim(-1));
  Tensor y = Tensor::empty(ids.shape(), x.dtype(), x.device());
  dispatch("gather", x, [&]<class T>(auto exec, Type<T>) {
    kernels::gather(exec, y.data<T>(), static_cast<const T*>(rows.data<T>()), p, ids.size(), x.dim(-1));
  });
  return y;
}

Tensor gather_grad(const Tensor& dy, const Tensor& ids, std::int64_t n) {
  require(dy.shape() == ids.shape(), "gather_grad", "dy and ids need one shape, got ", dy.shape(), " and ",
          ids.shape());
  const Tensor grad = contiguous(dy), index = contiguous(ids);
  const std::int32_t* p = require_ids("gather_grad", index, n);
  Shape shape = dy.shape();
  shape.push_back(n);
  Tensor dx = Tensor::zeros(shape, dy.dtype(), dy.device());
  dispatch("gather_grad", dy, [&]<class T>(auto exec, Type<T>) {
    kernels::gather_grad(exec, dx.data<T>(), static_cast<const T*>(grad.data<T>()), p, ids.size(), n);
  });
  return dx;
}

}  // namespace retnet
