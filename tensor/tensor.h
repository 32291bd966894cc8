/// @file
/// Tensor: a strided view of reference-counted storage.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace retnet {

/// A view of numbers: storage, offset, shape, strides, dtype. Copying a Tensor copies the view and shares the
/// numbers. A default-constructed Tensor is undefined: it has no storage and stands for "none".
class Tensor {
 public:
  Tensor() = default;

  /// @name Creation. @throws OutOfMemory naming the shape
  /// @{
  static Tensor empty(const Shape& shape, Dtype dtype = Dtype::f32,
                      Device device = Device::cpu);  ///< undefined contents
  static Tensor zeros(const Shape& shape, Dtype dtype = Dtype::f32, Device device = Device::cpu);  ///< all 0
  /// All the same value.
  static Tensor full(const Shape& shape, double value, Dtype dtype = Dtype::f32, Device device = Device::cpu);
  static Tensor scalar(double value, Dtype dtype = Dtype::f32, Device device = Device::cpu);  ///< shape []
  /// 0, 1, .., n-1
  static Tensor arange(std::int64_t n, Dtype dtype = Dtype::f32);
  /// Copies `values`, in row-major order. @throws Error unless values.size() is the number of elements
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape);
  /// A view of existing storage; the caller vouches that every element lies inside it.
  Tensor(StoragePtr storage, std::int64_t offset, const Shape& shape, const Strides& strides, Dtype dtype);
  /// @}

  /// @name Description
  /// @{
  bool defined() const { return storage_ != nullptr; }  ///< false for a default-constructed tensor
  const Shape& shape() const { return shape_; }         ///< sizes, outermost first
  const Strides& strides() const { return strides_; }   ///< in elements
  int rank() const { return shape_.rank(); }            ///< number of dimensions
  std::int64_t size() const { return size_; }           ///< number of elements
  std::int64_t dim(int axis) const;                     ///< size along an axis; -1 is the last
  Dtype dtype() const { return dtype_; }                ///< type of the elements
  Device device() const { return storage_ ? storage_->device() : Device::cpu; }  ///< where they are stored
  bool is_contiguous() const;  ///< true iff the elements are dense in row-major order
  const StoragePtr& storage() const { return storage_; }  ///< the memory it views
  std::int64_t offset() const { return offset_; }         ///< of the first element, in elements
  /// @}

  /// Pointer to the first element. @throws Error unless `T` is the C++ type of dtype()
  template <class T>
  T* data() const;

  /// The only element, as a double. @throws Error unless size() == 1
  double item() const;
  /// One element, as a double, by its index in every dimension. @throws Error when out of range
  double at(const std::vector<std::int64_t>& index) const;
  /// All elements in row-major order, converted to `T`.
  template <class T>
  std::vector<T> to_vector() const;

  /// A copy on another device, or this tensor itself when it is there already. A copy to the host waits for
  /// everything that was queued on the device, and so do item(), at() and to_vector(); nothing else does.
  Tensor to(Device device) const;

  /// Overwrites the elements with those of a tensor of any device. Memory stays where it is, which matters to
  /// a DeviceGraph. Both are contiguous, with equal shapes and dtypes.
  void assign(const Tensor& from) const;

 private:
  StoragePtr storage_;
  std::int64_t offset_ = 0, size_ = 0;
  Shape shape_;
  Strides strides_;
  Dtype dtype_ = Dtype::f32;
};

/// Shape, dtype and, per row, the numbers; long dimensions are abbreviated with "...".
std::ostream& operator<<(std::ostream& out, const Tensor& x);

}  // namespace retnet
