// Views: the gradient of a view is the view's inverse, applied to the gradient.

#include <algorithm>

#include "autograd/functions.h"

namespace retnet {

Variable reshape(const Variable& x, const Shape& shape) {
  return record("reshape", reshape(x.value(), shape), {x},
                [sx = x.shape()](const Tensor& dy) { return std::vector<Tensor>{reshape(dy, sx)}; });
}

Variable transpose(const Variable& x, int axis_a, int axis_b) {
  return record("transpose", transpose(x.value(), axis_a, axis_b), {x}, [axis_a, axis_b](const Tensor& dy) {
    return std::vector<Tensor>{transpose(dy, axis_a, axis_b)};
  });
}

Variable permute(const Variable& x, const std::vector<int>& order) {
  std::vector<int> inverse(order.size());
  const Tensor y = permute(x.value(), order);
  for (std::size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<std::size_t>(normalize_axis("permute", order[i], x.rank()))] = static_cast<int>(i);
  return record("permute", y, {x},
                [inverse](const Tensor& dy) { return std::vector<Tensor>{permute(dy, inverse)}; });
}

Variable slice(const Variable& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step) {
  // What the slice left out has gradient 0.
  return record("slice", slice(x.value(), axis, begin, end, step), {x},
                [sx = x.shape(), axis, begin, end, step](const Tensor& dy) {
                  const Tensor dx = Tensor::zeros(sx, dy.dtype(), dy.device());
                  copy_into(slice(dx, axis, begin, end, step), dy);
                  return std::vector<Tensor>{dx};
                });
}

Variable select(const Variable& x, int axis, std::int64_t index) {
  return record("select", select(x.value(), axis, index), {x},
                [sx = x.shape(), axis, index](const Tensor& dy) {
                  const Tensor dx = Tensor::zeros(sx, dy.dtype(), dy.device());
                  copy_into(select(dx, axis, index), dy);
                  return std::vector<Tensor>{dx};
                });
}

Variable broadcast_to(const Variable& x, const Shape& shape) {
  return record("broadcast_to", broadcast_to(x.value(), shape), {x},
                [sx = x.shape()](const Tensor& dy) { return std::vector<Tensor>{sum_to(dy, sx)}; });
}

Variable unsqueeze(const Variable& x, int axis) {
  return record("unsqueeze", unsqueeze(x.value(), axis), {x},
                [sx = x.shape()](const Tensor& dy) { return std::vector<Tensor>{reshape(dy, sx)}; });
}

Variable squeeze(const Variable& x, int axis) {
  return record("squeeze", squeeze(x.value(), axis), {x},
                [sx = x.shape()](const Tensor& dy) { return std::vector<Tensor>{reshape(dy, sx)}; });
}

Variable concat(const std::vector<Variable>& parts, int axis) {
  std::vector<Tensor> values;
  std::vector<std::int64_t> sizes;
  for (const Variable& part : parts) values.push_back(part.value());
  const Tensor y = concat(values, axis);
  for (const Variable& part : parts) sizes.push_back(part.dim(axis));
  return record("concat", y, parts, [sizes, axis](const Tensor& dy) {
    std::vector<Tensor> gradients;
    std::int64_t begin = 0;
    for (const std::int64_t size : sizes) {
      gradients.push_back(slice(dy, axis, begin, begin + size));
      begin += size;
    }
    return gradients;
  });
}

std::vector<Variable> split(const Variable& x, int axis, std::int64_t size) {
  require(size >= 1, "split", "the size of a piece must be at least 1, got ", size);
  const std::int64_t pieces = (x.dim(axis) + size - 1) / size;
  if (pieces <= 1) return {x};
  const std::int64_t middle = pieces / 2 * size;
  std::vector<Variable> result = split(slice(x, axis, 0, middle), axis, size);
  std::vector<Variable> rest = split(slice(x, axis, middle, x.dim(axis)), axis, size);
  std::move(rest.begin(), rest.end(), std::back_inserter(result));
  return result;
}

}  // namespace retnet
