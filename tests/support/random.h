/// @file
/// Random inputs in every memory layout that a view can have.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>

#include "tensor/ops.h"
#include "tests/support/array.h"

namespace retnet::test {

/// How a tensor lies in its storage.
enum class Layout {
  dense,       ///< row-major, from the first element of its storage
  offset,      ///< row-major, in the middle of a larger storage
  transposed,  ///< the first dimension is the dense one
  stepped,     ///< every other element of every dimension of something larger
  broadcast,   ///< the first of several dimensions has a stride of 0; the values repeat as well
};
inline constexpr Layout kLayouts[] = {Layout::dense, Layout::offset, Layout::transposed, Layout::stepped,
                                      Layout::broadcast};

/// What values a function wants.
enum class Domain {
  any,       ///< N(0, 1)
  positive,  ///< at least 0.5
  off_zero,  ///< of both signs, at least 0.5 away from 0; the first is positive
};

/// An uninitialised tensor of a layout. Its storage begins as NaN while poisoning is on, also between its
/// elements.
inline Tensor empty_in_layout(const Shape& shape, Layout layout, Dtype dtype, Device device = Device::cpu) {
  const int rank = shape.rank();
  Strides strides = shape;
  std::int64_t step = 1, offset = 0;
  const std::int64_t spread = layout == Layout::stepped ? 2 : 1;
  for (int i = 0; i < rank; ++i) {
    const int d = layout == Layout::transposed ? i : rank - 1 - i;
    strides[d] = step * spread;
    step *= std::max<std::int64_t>(1, shape[d]) * spread;
  }
  if (layout == Layout::offset) offset = 3;
  if (layout == Layout::stepped && rank > 0) offset = 1;
  if (layout == Layout::broadcast && rank > 1) strides[0] = 0;
  const std::int64_t bytes = (step + offset + 2) * size_of(dtype);
  return {std::make_shared<Storage>(bytes, device), offset, shape, strides, dtype};
}

/// The same values in another layout (not `broadcast`) and dtype; i32 stays i32. Those on a GPU stay dense.
inline Tensor in_layout(const Tensor& x, Layout layout, Dtype dtype) {
  if (x.device() != Device::cpu) return x.dtype() == Dtype::i32 ? x : astype(x, dtype);
  const Tensor y = empty_in_layout(x.shape(), layout, x.dtype() == Dtype::i32 ? Dtype::i32 : dtype);
  write(y, array_of(x));
  return y;
}

/// The same values, strides and offset in another dtype; i32 stays i32. Those on a GPU become dense.
inline Tensor in_dtype(const Tensor& x, Dtype dtype) {
  if (x.dtype() == Dtype::i32) return x;
  if (x.device() != Device::cpu) return astype(x, dtype);
  const std::int64_t bytes = x.storage()->bytes() / size_of(x.dtype()) * size_of(dtype);
  const Tensor y(std::make_shared<Storage>(bytes, Device::cpu), x.offset(), x.shape(), x.strides(), dtype);
  write(y, array_of(x));
  return y;
}

/// Uniform in (0, 1), the same on every platform.
inline double uniform(std::mt19937_64& bits) { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; }

inline double normal(std::mt19937_64& bits) {
  const double radius = std::sqrt(-2 * std::log(uniform(bits)));
  return radius * std::cos(6.283185307179586 * uniform(bits));
}

inline double draw(std::mt19937_64& bits, Domain domain, bool first) {
  const double x = normal(bits);
  if (domain == Domain::any) return x;
  return domain == Domain::positive || first || x > 0 ? 0.5 + std::abs(x) : -0.5 - std::abs(x);
}

/// A random tensor; the same for the same arguments.
inline Tensor random(const Shape& shape, unsigned seed, Layout layout = Layout::dense,
                     Dtype dtype = Dtype::f64, Domain domain = Domain::any) {
  std::mt19937_64 bits(seed);
  const Tensor x = empty_in_layout(shape, layout, dtype);
  Shape distinct = shape;
  if (layout == Layout::broadcast && shape.rank() > 1) distinct[0] = std::min<std::int64_t>(1, shape[0]);
  bool first = true;
  const Array values = make_array(distinct, [&](const Index&) {
    const double value = draw(bits, domain, first);
    first = false;
    return value;
  });
  write(x, make_array(shape, [&](const Index& index) { return element(values, index); }));
  return x;
}

/// Random i32 numbers in 0 .. below-1; 0 and below-1 occur where there is room.
inline Tensor random_ids(const Shape& shape, std::int64_t below, unsigned seed,
                         Layout layout = Layout::dense) {
  std::mt19937_64 bits(seed);
  const Tensor x = empty_in_layout(shape, layout == Layout::broadcast ? Layout::dense : layout, Dtype::i32);
  std::int64_t i = 0;
  write(x, make_array(shape, [&](const Index&) {
          const auto id = static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(below));
          return static_cast<double>(i++ == 0 ? below - 1 : i == 2 ? 0 : id);
        }));
  return x;
}

}  // namespace retnet::test
