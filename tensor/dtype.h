/// @file
/// Element types and devices.
#pragma once

#include <cstdint>
#include <ostream>

#include "kernels/bf16.h"

namespace retnet {

/// Type of a tensor's elements. There is no promotion: operands of different dtypes are an error.
enum class Dtype {
  f32,   ///< float, the default
  f64,   ///< double: exactness tests and reference runs
  bf16,  ///< bfloat16 storage, float arithmetic
  i32,   ///< token ids and indices
};

/// Where a tensor's elements are stored.
enum class Device { cpu, hip };

/// A type as a value, to hand to a generic lambda.
template <class T>
struct Type {};

namespace detail {
template <class T>
struct DtypeOf;
template <>
struct DtypeOf<float> {
  static constexpr Dtype value = Dtype::f32;
};
template <>
struct DtypeOf<double> {
  static constexpr Dtype value = Dtype::f64;
};
template <>
struct DtypeOf<bf16> {
  static constexpr Dtype value = Dtype::bf16;
};
template <>
struct DtypeOf<std::int32_t> {
  static constexpr Dtype value = Dtype::i32;
};
}  // namespace detail

/// The Dtype that stores elements of C++ type `T`.
template <class T>
inline constexpr Dtype dtype_of = detail::DtypeOf<T>::value;

/// Bytes per element.
constexpr std::int64_t size_of(Dtype dtype) { return dtype == Dtype::f64 ? 8 : dtype == Dtype::bf16 ? 2 : 4; }

/// True iff arithmetic and gradients are defined: every dtype but i32.
constexpr bool is_floating(Dtype dtype) { return dtype != Dtype::i32; }

/// "f32", "f64", "bf16" or "i32".
constexpr const char* name(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return "f32";
    case Dtype::f64:
      return "f64";
    case Dtype::bf16:
      return "bf16";
    case Dtype::i32:
      return "i32";
  }
  return "?";
}

/// "cpu" or "hip".
constexpr const char* name(Device device) { return device == Device::cpu ? "cpu" : "hip"; }

inline std::ostream& operator<<(std::ostream& out, Dtype dtype) { return out << name(dtype); }
inline std::ostream& operator<<(std::ostream& out, Device device) { return out << name(device); }

}  // namespace retnet
