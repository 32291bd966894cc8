#include "tensor/shape.h"

#include <algorithm>

#include "tensor/error.h"

namespace retnet {

Dims::Dims(const std::int64_t* begin, const std::int64_t* end) : rank_(static_cast<int>(end - begin)) {
  require(end - begin <= kMaxRank, "shape", "at most ", kMaxRank, " dimensions are possible, got ",
          end - begin);
  std::copy(begin, end, values_.begin());
}

void Dims::push_back(std::int64_t value) { insert(rank_, value); }

void Dims::insert(int position, std::int64_t value) {
  require(rank_ < kMaxRank, "shape", "at most ", kMaxRank, " dimensions are possible, got one more");
  for (int i = rank_; i > position; --i) (*this)[i] = (*this)[i - 1];
  (*this)[position] = value;
  ++rank_;
}

void Dims::erase(int position) {
  for (int i = position; i + 1 < rank_; ++i) (*this)[i] = (*this)[i + 1];
  --rank_;
}

bool operator==(const Dims& a, const Dims& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

std::ostream& operator<<(std::ostream& out, const Dims& dims) {
  out << '[';
  for (int i = 0; i < dims.rank(); ++i) out << (i ? ", " : "") << dims[i];
  return out << ']';
}

std::int64_t count(const Shape& shape) {
  for (const std::int64_t size : shape)
    require(size >= 0, "shape", "sizes must not be negative, got ", shape);
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::int64_t n = 1;
  for (const std::int64_t size : shape)
    require(!__builtin_mul_overflow(n, size, &n), "shape", "the number of elements of ", shape,
            " does not fit 64 bits");
  return n;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = shape;
  // Without elements strides are never used, and the product of the other sizes may fit no integer.
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= empty ? 1 : shape[i];
  }
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  Shape result = a.rank() >= b.rank() ? a : b;
  const Shape& other = a.rank() >= b.rank() ? b : a;
  const int shift = result.rank() - other.rank();
  for (int i = 0; i < other.rank(); ++i) {
    std::int64_t& size = result[i + shift];
    require(size == other[i] || size == 1 || other[i] == 1, op, "shapes do not broadcast, got ", a, " and ",
            b, "; aligned at the last dimension, sizes must be equal or 1");
    if (size == 1) size = other[i];
  }
  return result;
}

int normalize_axis(const char* op, int axis, int rank) {
  require(axis >= -rank && axis < rank, op, "axis ", axis, " is out of range for ", rank, " dimensions");
  return axis < 0 ? axis + rank : axis;
}

}  // namespace retnet
