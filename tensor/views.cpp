#include "tensor/views.h"

#include "tensor/ops.h"

namespace retnet {
namespace {

Tensor view(const Tensor& x, std::int64_t offset, const Shape& shape, const Strides& strides) {
  return {x.storage(), offset, shape, strides, x.dtype()};
}

/// Replaces a size of -1 by what the others leave for it.
Shape resolve(const Tensor& x, Shape shape) {
  int unknown = -1;
  std::int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1) {
      require(unknown < 0, "reshape", "only one size may be -1, got ", shape);
      unknown = i;
    } else {
      known *= shape[i];
    }
  }
  if (unknown >= 0 && known > 0 && x.size() % known == 0) shape[unknown] = x.size() / known;
  require((unknown < 0 || shape[unknown] >= 0) && count(shape) == x.size(), "reshape", "cannot turn ",
          x.shape(), " (", x.size(), " elements) into ", shape);
  return shape;
}

/// Finds strides that show x in row-major order under `shape`. Both shapes are split, from the back, into the
/// smallest groups of equal element count; a group of x must be dense in itself to be split otherwise.
bool reshaped_strides(const Tensor& x, const Shape& shape, Strides& strides) {
  strides = contiguous_strides(shape);
  int i = x.rank() - 1, j = shape.rank() - 1;
  while (i >= 0 && j >= 0) {
    std::int64_t old_count = x.shape()[i], new_count = shape[j];
    const int new_last = j;
    const std::int64_t step = x.strides()[i];
    while (old_count != new_count) {
      if (old_count < new_count) {
        if (x.strides()[i - 1] != x.strides()[i] * x.shape()[i]) return false;
        old_count *= x.shape()[--i];
      } else {
        new_count *= shape[--j];
      }
    }
    std::int64_t stride = step;
    for (int d = new_last; d >= j; --d) {
      strides[d] = stride;
      stride *= shape[d];
    }
    --i, --j;
  }
  return true;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& requested) {
  const Shape shape = resolve(x, requested);
  if (x.is_contiguous()) return view(x, x.offset(), shape, contiguous_strides(shape));
  Strides strides;
  // Sizes of 1 have arbitrary strides, and would break up dense groups for nothing.
  Shape dense_shape;
  Strides dense_strides;
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] != 1) dense_shape.push_back(x.shape()[i]), dense_strides.push_back(x.strides()[i]);
  const Tensor dense = view(x, x.offset(), dense_shape, dense_strides);
  if (reshaped_strides(dense, shape, strides)) return view(x, x.offset(), shape, strides);
  return view(contiguous(x), 0, shape, contiguous_strides(shape));
}

Tensor transpose(const Tensor& x, int axis_a, int axis_b) {
  const int a = normalize_axis("transpose", axis_a, x.rank()),
            b = normalize_axis("transpose", axis_b, x.rank());
  Shape shape = x.shape();
  Strides strides = x.strides();
  std::swap(shape[a], shape[b]);
  std::swap(strides[a], strides[b]);
  return view(x, x.offset(), shape, strides);
}

Tensor permute(const Tensor& x, const std::vector<int>& order) {
  require(static_cast<int>(order.size()) == x.rank(), "permute", "needs ", x.rank(), " axes for ", x.shape(),
          ", got ", order.size());
  Shape shape;
  Strides strides;
  std::vector<bool> seen(order.size(), false);
  for (const int axis : order) {
    const int a = normalize_axis("permute", axis, x.rank());
    require(!seen[static_cast<std::size_t>(a)], "permute", "axis ", a, " is given twice");
    seen[static_cast<std::size_t>(a)] = true;
    shape.push_back(x.shape()[a]);
    strides.push_back(x.strides()[a]);
  }
  return view(x, x.offset(), shape, strides);
}

Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step) {
  const int a = normalize_axis("slice", axis, x.rank());
  require(0 <= begin && begin <= end && end <= x.shape()[a] && step >= 1, "slice",
          "needs 0 <= begin <= end <= ", x.shape()[a], " and step >= 1 in dimension ", a, " of ", x.shape(),
          ", got begin ", begin, ", end ", end, ", step ", step);
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[a] = (end - begin + step - 1) / step;
  strides[a] *= step;
  return view(x, x.offset() + begin * x.strides()[a], shape, strides);
}

Tensor select(const Tensor& x, int axis, std::int64_t index) {
  const int a = normalize_axis("select", axis, x.rank());
  require(index >= 0 && index < x.shape()[a], "select", "index ", index, " is out of range in dimension ", a,
          " of ", x.shape());
  return squeeze(slice(x, a, index, index + 1), a);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  const int shift = shape.rank() - x.rank();
  Strides strides = shape;
  bool ok = shift >= 0;
  for (int i = 0; ok && i < shape.rank(); ++i) {
    const std::int64_t size = i < shift ? 1 : x.shape()[i - shift];
    ok = size == shape[i] || size == 1;
    strides[i] = i < shift || size == 1 ? 0 : x.strides()[i - shift];
  }
  require(ok, "broadcast_to", "cannot broadcast ", x.shape(), " to ", shape);
  return view(x, x.offset(), shape, strides);
}

Tensor unsqueeze(const Tensor& x, int axis) {
  const int a = normalize_axis("unsqueeze", axis, x.rank() + 1);
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape.insert(a, 1);
  strides.insert(a, 1);
  return view(x, x.offset(), shape, strides);
}

Tensor squeeze(const Tensor& x, int axis) {
  const int a = normalize_axis("squeeze", axis, x.rank());
  require(x.shape()[a] == 1, "squeeze", "dimension ", a, " of ", x.shape(), " is not 1");
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape.erase(a);
  strides.erase(a);
  return view(x, x.offset(), shape, strides);
}

}  // namespace retnet
