/// @file
/// Vectors of the width the target has, through the vector types that g++ and clang share: no intrinsics, so
/// the same source runs on x86 and ARM. Only moves live here, no arithmetic: files that include this may be
/// compiled with different rules for fusing a product with a sum.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/bf16.h"

namespace retnet::kernels {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64, kVectorRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32, kVectorRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kVectorBytes = 16, kVectorRegisters = 32;
#else
inline constexpr int kVectorBytes = 16, kVectorRegisters = 16;
#endif

/// Elements of type `A` (float or double) in one vector.
template <class A>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(A));

namespace detail {
template <class A, int Lanes>
struct VectorOf {
  typedef A type __attribute__((vector_size(Lanes * sizeof(A))));
};
}  // namespace detail

template <class A>
using Vec = typename detail::VectorOf<A, kLanes<A>>::type;

/// The kLanes elements at `x`, at any alignment, in the type that they are computed in.
template <class T>
inline Vec<accum_t<T>> load(const T* x) {
  typename detail::VectorOf<std::conditional_t<std::is_same_v<T, bf16>, std::uint16_t, T>,
                            kLanes<accum_t<T>>>::type v;
  __builtin_memcpy(&v, x, sizeof v);
  if constexpr (std::is_same_v<T, bf16>) {
    const auto bits = __builtin_convertvector(v, Vec<std::uint32_t>)
                      << 16;  // bf16 is the upper half of a float
    Vec<float> wide;
    __builtin_memcpy(&wide, &bits, sizeof wide);
    return wide;
  } else {
    return v;
  }
}

template <class A>
inline void store(A* x, Vec<A> v) {
  __builtin_memcpy(x, &v, sizeof v);
}

namespace detail {
/// Swaps the off-diagonal `Step` x `Step` blocks of every pair of rows (i, i + Step).
template <class A, int Step, int... Lane>
inline void swap_blocks(Vec<A> (&rows)[sizeof...(Lane)], std::integer_sequence<int, Lane...>) {
  constexpr int L = sizeof...(Lane);
  for (int i = 0; i < L; ++i) {
    if (i & Step) continue;
    const Vec<A> x = rows[i], y = rows[i + Step];
    rows[i] = __builtin_shufflevector(x, y, (Lane & Step ? L + Lane - Step : Lane)...);
    rows[i + Step] = __builtin_shufflevector(x, y, (Lane & Step ? L + Lane : Lane + Step)...);
  }
}
}  // namespace detail

/// Transposes a square block held in kLanes<A> vectors, in log2(kLanes<A>) rounds: elements first, then
/// blocks of 2, 4, ...
template <class A>
inline void transpose(Vec<A> (&rows)[kLanes<A>]) {
  constexpr std::make_integer_sequence<int, kLanes<A>> lanes;
  detail::swap_blocks<A, 1>(rows, lanes);
  if constexpr (kLanes < A >> 2) detail::swap_blocks<A, 2>(rows, lanes);
  if constexpr (kLanes < A >> 4) detail::swap_blocks<A, 4>(rows, lanes);
  if constexpr (kLanes < A >> 8) detail::swap_blocks<A, 8>(rows, lanes);
}

}  // namespace retnet::kernels
