#include "tensor/tensor.h"

#include <cstdio>

#include "kernels/memory.h"
#include "tensor/dispatch.h"
#include "tensor/ops.h"

namespace retnet {
namespace {

/// The same error in the name of a tensor of a shape, written without memory from the heap.
[[noreturn]] void throw_for(const Shape& shape, Dtype dtype, const OutOfMemory& error) {
  char sizes[192] = "";
  std::size_t at = 0;
  for (int i = 0; i < shape.rank(); ++i)
    at += static_cast<std::size_t>(std::snprintf(sizes + at, sizeof sizes - at, i ? ", %lld" : "%lld",
                                                 static_cast<long long>(shape[i])));
  throw OutOfMemory("a tensor [%s] %s: %s", sizes, name(dtype), error.what());
}

}  // namespace

Tensor::Tensor(StoragePtr storage, std::int64_t offset, const Shape& shape, const Strides& strides,
               Dtype dtype)
    : storage_(std::move(storage)),
      offset_(offset),
      size_(count(shape)),
      shape_(shape),
      strides_(strides),
      dtype_(dtype) {}

Tensor Tensor::empty(const Shape& shape, Dtype dtype, Device device) {
  const std::int64_t n = count(shape);
  require(n < std::int64_t{1} << 58, "empty", "a tensor of shape ", shape, " is too large for any memory");
  try {
    return {std::make_shared<Storage>(n * size_of(dtype), device), 0, shape, contiguous_strides(shape),
            dtype};
  } catch (const OutOfMemory& error) {
    throw_for(shape, dtype, error);
  }
}

Tensor Tensor::zeros(const Shape& shape, Dtype dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::full(const Shape& shape, double value, Dtype dtype, Device device) {
  Tensor x = empty(shape, dtype, device);
  fill(x, value);
  return x;
}

Tensor Tensor::scalar(double value, Dtype dtype, Device device) { return full({}, value, dtype, device); }

Tensor Tensor::arange(std::int64_t n, Dtype dtype) {
  require(n >= 0, "arange", "the number of elements must not be negative, got ", n);
  std::vector<double> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return astype(from(values, {n}), dtype);
}

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape) {
  require(static_cast<std::int64_t>(values.size()) == count(shape), "from", "shape ", shape, " needs ",
          count(shape), " values, got ", values.size());
  Tensor x = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), x.data<T>());
  return x;
}

std::int64_t Tensor::dim(int axis) const { return shape_[normalize_axis("dim", axis, rank())]; }

bool Tensor::is_contiguous() const {
  if (size_ <= 1) return true;
  std::int64_t step = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != step) return false;
    step *= shape_[i];
  }
  return true;
}

template <class T>
T* Tensor::data() const {
  require(defined(), "data", "the tensor is undefined");
  require(dtype_of<T> == dtype_, "data", "asked for ", dtype_of<T>, " but the tensor is ", dtype_);
  return static_cast<T*>(storage_->data()) + offset_;
}

double Tensor::item() const {
  require(size_ == 1 && defined(), "item", "needs exactly one element, got shape ", shape_);
  return to_vector<double>()[0];
}

double Tensor::at(const std::vector<std::int64_t>& index) const {
  require(static_cast<int>(index.size()) == rank(), "at", "needs ", rank(), " indices for ", shape_, ", got ",
          index.size());
  std::int64_t position = offset_;
  for (int i = 0; i < rank(); ++i) {
    const std::int64_t at = index[static_cast<std::size_t>(i)];
    require(at >= 0 && at < shape_[i], "at", "index ", at, " is out of range in dimension ", i, " of ",
            shape_);
    position += at * strides_[i];
  }
  return Tensor(storage_, position, {}, {}, dtype_).item();
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const Tensor dense = contiguous(astype(to(Device::cpu), dtype_of<T>));
  return std::vector<T>(dense.data<T>(), dense.data<T>() + dense.size());
}

Tensor Tensor::to(Device device) const {
  require(defined(), "to", "the tensor is undefined");
  if (device == this->device()) return *this;
  require(kHasGpu, "to", "this build has no GPU; configure with -DRETNET_GPU=amd or nvidia");
  Tensor y = empty(shape_, dtype_, device);
  y.assign(contiguous(*this));
  return y;
}

void Tensor::assign(const Tensor& from) const {
  require(is_contiguous() && from.is_contiguous() && from.shape() == shape_ && from.dtype() == dtype_,
          "assign", "needs contiguous tensors of one shape and dtype, got ", shape_, " ", dtype_, " and ",
          from.shape(), " ", from.dtype());
  if (device() == from.device()) return copy_into(*this, from);
  const std::int64_t element = size_of(dtype_), bytes = size_ * element;
  const void* source = static_cast<const char*>(from.storage()->data()) + from.offset() * element;
  void* to = static_cast<char*>(storage()->data()) + offset() * element;
  if (bytes == 0) return;
  on_device("assign", Device::hip, [&](auto exec) {
    if (device() == Device::hip)
      kernels::copy_in(exec, to, source, bytes);
    else
      kernels::copy_out(exec, to, source, bytes);
  });
}

#define RETNET_TENSOR(T)                                                \
  template Tensor Tensor::from<T>(const std::vector<T>&, const Shape&); \
  template T* Tensor::data<T>() const;                                  \
  template std::vector<T> Tensor::to_vector<T>() const;
RETNET_TENSOR(float)
RETNET_TENSOR(double)
RETNET_TENSOR(bf16)
RETNET_TENSOR(std::int32_t)

}  // namespace retnet
