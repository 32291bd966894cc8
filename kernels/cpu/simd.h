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

// All that depends on the instruction set lives in a namespace named after it: files compiled for several of
// them are linked into one program, and a function that two of them define must not be taken for the same.
#if defined(__AVX512F__)
#define RETNET_ISA avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define RETNET_ISA avx2
#else
#define RETNET_ISA baseline
#endif
inline namespace RETNET_ISA {

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

namespace simd_detail {
template <class A, int Lanes>
struct VectorOf {
  typedef A type __attribute__((vector_size(Lanes * sizeof(A))));
};
}  // namespace simd_detail

template <class A>
using Vec = typename simd_detail::VectorOf<A, kLanes<A>>::type;

/// The `Lanes` elements at `x`, at any alignment, in the type that they are computed in.
template <class T, int Lanes = kLanes<accum_t<T>>>
inline typename simd_detail::VectorOf<accum_t<T>, Lanes>::type load(const T* x) {
  typename simd_detail::VectorOf<std::conditional_t<std::is_same_v<T, bf16>, std::uint16_t, T>, Lanes>::type
      v;
  __builtin_memcpy(&v, x, sizeof v);
  if constexpr (std::is_same_v<T, bf16>) {  // bf16 is the upper half of a float
    const auto bits = __builtin_convertvector(v, typename simd_detail::VectorOf<std::uint32_t, Lanes>::type)
                      << 16;
    typename simd_detail::VectorOf<float, Lanes>::type wide;
    __builtin_memcpy(&wide, &bits, sizeof wide);
    return wide;
  } else {
    return v;
  }
}

/// One element. (Conversions of bf16 itself are defined outside of this namespace.)
template <class T>
inline accum_t<T> load_one(const T* x) {
  return load<T, 1>(x)[0];
}

template <class A>
inline void store(A* x, Vec<A> v) {
  __builtin_memcpy(x, &v, sizeof v);
}

/// Makes the compiler hold v in a register. GCC takes a load to be as cheap for some processors, and makes
/// one again for each use.
template <class V>
inline void hold(V& v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
}

namespace simd_detail {
/// Swaps the off-diagonal `Step` x `Step` blocks of every pair of vectors (i, i + Step), in each group of as
/// many lanes as there are vectors.
template <class A, int Step, int Count, int... Lane>
inline void swap_blocks(Vec<A> (&rows)[Count], std::integer_sequence<int, Lane...>) {
  constexpr int L = sizeof...(Lane);
  for (int i = 0; i < Count; ++i) {
    if (i & Step) continue;
    const Vec<A> x = rows[i], y = rows[i + Step];
    rows[i] = __builtin_shufflevector(x, y, (Lane & Step ? L + Lane - Step : Lane)...);
    rows[i + Step] = __builtin_shufflevector(x, y, (Lane & Step ? L + Lane : Lane + Step)...);
  }
}

/// In each 16 bytes of x and y: `Width` elements of x, as many of y, and so on, from the first half of the 16
/// bytes or, if Second, from the other.
template <class A, int Width, bool Second, int... Lane>
inline Vec<A> interleave(Vec<A> x, Vec<A> y, std::integer_sequence<int, Lane...>) {
  constexpr int L = sizeof...(Lane), Q = 16 / static_cast<int>(sizeof(A));
  return __builtin_shufflevector(x, y,
                                 (Lane / Q * Q + (Second ? Q / 2 : 0) + Lane % Q / (2 * Width) * Width +
                                  Lane % Width + (Lane / Width % 2 ? L : 0))...);
}

/// Joins the rows at x, x + step, .. , of as many elements as 16 bytes hold, into one vector of `Lanes`.
template <class T, int Lanes, int... Lane>
inline auto join_rows(const T* x, std::int64_t step, std::integer_sequence<int, Lane...>) {
  if constexpr (Lanes * sizeof(accum_t<T>) == 16) {
    return load<T, Lanes>(x);
  } else {
    constexpr int Half = Lanes / 2;
    constexpr std::int64_t rows = Half * sizeof(accum_t<T>) / 16;
    constexpr std::make_integer_sequence<int, Half> half;
    return __builtin_shufflevector(join_rows<T, Half>(x, step, half),
                                   join_rows<T, Half>(x + rows * step, step, half), Lane...);
  }
}
}  // namespace simd_detail

/// Elements of type A in 16 bytes, the unit that vectors of all widths are shuffled within.
template <class A>
inline constexpr int kQuad = 16 / static_cast<int>(sizeof(A));

/// Reads the kLanes x kQuad block at x, its rows `step` apart, as its kQuad columns. Rows that end up in
/// different 16-byte parts of a vector are put there by the loads, so that only log2(kQuad) rounds of
/// shuffles are left.
template <class T, class A = accum_t<T>>
inline void load_columns(Vec<A> (&columns)[kQuad<A>], const T* x, std::int64_t step) {
  constexpr std::make_integer_sequence<int, kLanes<A>> lanes;
  Vec<A> rows[kQuad<A>];
  for (int q = 0; q < kQuad<A>; ++q)
    rows[q] = simd_detail::join_rows<T, kLanes<A>>(x + q * step, kQuad<A> * step, lanes);
  if constexpr (kQuad<A> == 2) {
    columns[0] = simd_detail::interleave<A, 1, false>(rows[0], rows[1], lanes);
    columns[1] = simd_detail::interleave<A, 1, true>(rows[0], rows[1], lanes);
  } else {
    const Vec<A> low01 = simd_detail::interleave<A, 1, false>(rows[0], rows[1], lanes);
    const Vec<A> high01 = simd_detail::interleave<A, 1, true>(rows[0], rows[1], lanes);
    const Vec<A> low23 = simd_detail::interleave<A, 1, false>(rows[2], rows[3], lanes);
    const Vec<A> high23 = simd_detail::interleave<A, 1, true>(rows[2], rows[3], lanes);
    columns[0] = simd_detail::interleave<A, 2, false>(low01, low23, lanes);
    columns[1] = simd_detail::interleave<A, 2, true>(low01, low23, lanes);
    columns[2] = simd_detail::interleave<A, 2, false>(high01, high23, lanes);
    columns[3] = simd_detail::interleave<A, 2, true>(high01, high23, lanes);
  }
}

namespace simd_detail {
template <class A, int... Lane>
inline Vec<A> swap_neighbours(Vec<A> v, std::integer_sequence<int, Lane...>) {
  return __builtin_shufflevector(v, v, (Lane ^ 1)...);
}
}  // namespace simd_detail

/// Elements 2j and 2j + 1 change places.
template <class A>
inline Vec<A> swap_neighbours(Vec<A> v) {
  return simd_detail::swap_neighbours<A>(v, std::make_integer_sequence<int, kLanes<A>>());
}

/// Transposes a square block held in kLanes vectors, in log2(kLanes) rounds: elements first, then blocks of
/// 2, 4, ...
template <class A>
inline void transpose(Vec<A> (&rows)[kLanes<A>]) {
  constexpr std::make_integer_sequence<int, kLanes<A>> lanes;
  simd_detail::swap_blocks<A, 1, kLanes<A>>(rows, lanes);
  if constexpr (kLanes < A >> 2) simd_detail::swap_blocks<A, 2, kLanes<A>>(rows, lanes);
  if constexpr (kLanes < A >> 4) simd_detail::swap_blocks<A, 4, kLanes<A>>(rows, lanes);
  if constexpr (kLanes < A >> 8) simd_detail::swap_blocks<A, 8, kLanes<A>>(rows, lanes);
}

}  // namespace RETNET_ISA
}  // namespace retnet::kernels
