/// @file
/// Shapes, strides, and the arithmetic on them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <vector>

#include "kernels/exec.h"

namespace retnet {

using kernels::kMaxRank;

/// Up to kMaxRank integers without an allocation: the sizes of a tensor, or its strides.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values) : Dims(values.begin(), values.end()) {}
  explicit Dims(const std::vector<std::int64_t>& values)
      : Dims(values.data(), values.data() + values.size()) {}
  Dims(const std::int64_t* begin, const std::int64_t* end);  ///< throws Error beyond kMaxRank

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return values_[static_cast<std::size_t>(i)]; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + rank_; }
  std::int64_t* begin() { return values_.data(); }
  std::int64_t* end() { return values_.data() + rank_; }
  std::int64_t back() const { return (*this)[rank_ - 1]; }

  void push_back(std::int64_t value);             ///< throws Error beyond kMaxRank
  void insert(int position, std::int64_t value);  ///< throws Error beyond kMaxRank
  void erase(int position);

  friend bool operator==(const Dims& a, const Dims& b);

 private:
  std::array<std::int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

using Shape = Dims;    ///< sizes, outermost first; rank 0 is a scalar
using Strides = Dims;  ///< distance in elements between neighbours along each dimension

/// "[2, 3, 4]"; "[]" for a scalar.
std::ostream& operator<<(std::ostream& out, const Dims& dims);

/// Number of elements: the product of the sizes, 1 for a scalar. @throws Error on a negative size or an
/// overflow.
std::int64_t count(const Shape& shape);

/// Strides of a contiguous tensor (row-major: the last dimension is dense).
Strides contiguous_strides(const Shape& shape);

/// The shape that `a` and `b` broadcast to by NumPy's rule: aligned at the last dimension, sizes equal or 1.
/// @throws Error in the name of `op` when they do not broadcast
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

/// Axis counted from the front: -1 is the last. @throws Error in the name of `op` when out of range.
int normalize_axis(const char* op, int axis, int rank);

}  // namespace retnet
