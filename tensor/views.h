/// @file
/// Views: other shapes and strides over the same numbers. None of them copies, unless it says so.
#pragma once

#include "tensor/tensor.h"

namespace retnet {

/// The same elements in row-major order under another shape; one size may be -1 and is computed.
/// Copies only when no strides can express it (a transposed tensor, say). @throws Error when the counts
/// differ
Tensor reshape(const Tensor& x, const Shape& shape);

/// Exchanges two axes.
Tensor transpose(const Tensor& x, int axis_a = -2, int axis_b = -1);

/// Reorders the axes: result dimension i is dimension `order[i]` of x.
Tensor permute(const Tensor& x, const std::vector<int>& order);

/// Elements begin, begin + step, .. < end along an axis; 0 <= begin <= end <= size, step >= 1.
Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1);

/// The sub-tensor at one index of an axis; that axis disappears.
Tensor select(const Tensor& x, int axis, std::int64_t index);

/// Repeats dimensions of size 1 by a stride of 0, adding dimensions in front where the shape has more.
Tensor broadcast_to(const Tensor& x, const Shape& shape);

/// Inserts a dimension of size 1 before `axis`; -1 appends it.
Tensor unsqueeze(const Tensor& x, int axis);

/// Removes a dimension of size 1.
Tensor squeeze(const Tensor& x, int axis);

}  // namespace retnet
