/// @file
/// Numbers as the tests' own references see them: a shape and doubles in row-major order, read and written
/// through index arithmetic alone, so that no copy, view or broadcast of the library is trusted to judge
/// itself.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace retnet::test {

using Index = std::vector<std::int64_t>;  ///< one position per dimension

struct Array {
  Shape shape;
  std::vector<double> values;
};

/// Product of the sizes.
inline std::int64_t elements(const Shape& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return n;
}

/// Calls `body(index)` for every index of a shape, the last dimension fastest.
template <class Body>
void for_each_index(const Shape& shape, Body&& body) {
  Index index(static_cast<std::size_t>(shape.rank()), 0);
  const std::int64_t n = elements(shape);
  for (std::int64_t i = 0; i < n; ++i) {
    body(std::as_const(index));
    for (int d = shape.rank() - 1; d >= 0 && ++index[static_cast<std::size_t>(d)] == shape[d]; --d)
      index[static_cast<std::size_t>(d)] = 0;
  }
}

/// The array of a shape whose elements are `f(index)`.
template <class F>
Array make_array(const Shape& shape, F&& f) {
  Array y{shape, {}};
  for_each_index(shape, [&](const Index& index) { y.values.push_back(f(index)); });
  return y;
}

/// One element; where the index has more dimensions than x, or x a size of 1, x is repeated as by NumPy's
/// rule.
inline double element(const Array& x, const Index& index) {
  const std::size_t shift = index.size() - static_cast<std::size_t>(x.shape.rank());
  std::int64_t at = 0;
  for (int d = 0; d < x.shape.rank(); ++d)
    at = at * x.shape[d] + (x.shape[d] == 1 ? 0 : index[shift + static_cast<std::size_t>(d)]);
  return x.values[static_cast<std::size_t>(at)];
}

/// Offset of an element in a tensor's storage, in elements.
inline std::int64_t position(const Tensor& x, const Index& index) {
  std::int64_t at = x.offset();
  for (std::size_t d = 0; d < index.size(); ++d) at += index[d] * x.strides()[static_cast<int>(d)];
  return at;
}

/// Calls `body(storage)` with the storage of x as an array of its C++ type.
template <class Body>
void visit_storage(const Tensor& x, Body&& body) {
  void* data = x.storage()->data();
  switch (x.dtype()) {
    case Dtype::f32:
      return body(static_cast<float*>(data));
    case Dtype::f64:
      return body(static_cast<double*>(data));
    case Dtype::bf16:
      return body(static_cast<bf16*>(data));
    case Dtype::i32:
      return body(static_cast<std::int32_t*>(data));
  }
}

inline Array array_of(const Tensor& on_any_device) {
  const Tensor x = on_any_device.to(Device::cpu);
  Array y{x.shape(), {}};
  visit_storage(x, [&](const auto* data) {
    for_each_index(x.shape(), [&](const Index& index) {
      y.values.push_back(static_cast<double>(data[position(x, index)]));
    });
  });
  return y;
}

/// Writes the elements of `from`, of x's shape, to where x views them.
inline void write(const Tensor& x, const Array& from) {
  visit_storage(x, [&]<class T>(T* data) {
    std::size_t i = 0;
    for_each_index(x.shape(),
                   [&](const Index& index) { data[position(x, index)] = static_cast<T>(from.values[i++]); });
  });
}

}  // namespace retnet::test
