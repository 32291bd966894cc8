/// @file
/// How operands of a product come from memory to shared memory, piece by piece, whatever their strides.
#pragma once

#include "kernels/bf16.h"
#include "kernels/hip/hip.h"

namespace retnet::kernels {

/// 16 bytes: the most that a thread loads at once.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T x[kSize];
};

/// A run of N elements in registers, moved as one: N is a power of two of at most 16 bytes.
template <class T, int N>
struct alignas(N * sizeof(T)) Run {
  T x[N];
};

/// The direction in which packs of an operand are loaded: along its rows, its depth, or what its strides say.
enum class Along { either, rows, depth };

/// Those of both operands, as far as the kernel knows them, which saves asking for each piece.
template <Along Left, Along Right>
struct Directions {
  static constexpr Along kLeft = Left, kRight = Right;
};

/// One operand X(i, p), from the tile's first row and depth on; elements with i >= rows count as 0.
template <class T>
struct Operand {
  using Element = T;
  /// Whether X(., p) is multiplied by factor(p): see Decayed.
  static constexpr bool kScaled = false;
  struct Factor {};

  const T* at = nullptr;
  std::int64_t row = 0, depth = 0;  ///< X(i, p) is at[i * row + p * depth]
  int rows = 0;
  bool turned = false;  ///< along the depth
  bool dense = false;   ///< whether a pack is one aligned load

  __device__ Operand() {}
  __device__ Operand(const T* at, std::int64_t row, std::int64_t depth, std::int64_t rows)
      : at(at), row(row), depth(depth), rows(static_cast<int>(rows < kMost ? rows : kMost)) {
    turned = depth == 1 && row != 1;
    const std::int64_t along = turned ? depth : row, other = turned ? row : depth;
    dense = along == 1 && other % Pack<T>::kSize == 0 && reinterpret_cast<std::uintptr_t>(at) % 16 == 0;
  }
  /// Of a direction that is known, one of the steps is 1.
  template <Along D>
  __device__ bool along_depth() const {
    return D == Along::either ? turned : D == Along::depth;
  }
  template <Along D>
  __device__ std::int64_t row_step() const {
    return D == Along::rows ? 1 : row;
  }
  template <Along D>
  __device__ std::int64_t depth_step() const {
    return D == Along::depth ? 1 : depth;
  }

 private:
  static constexpr std::int64_t kMost = 1 << 30;
};

/// A piece of one operand, Rows x Depth, on its way from memory to shared memory.
///
/// Threads take packs so that memory is read in whole sectors of 32 bytes, and that the threads of half a
/// wavefront write to different banks. Packs along the depth are turned: their elements go to different rows
/// of shared memory. There, two neighbouring threads share a sector, and their rows, 4 or 2 apart, begin half
/// of the banks apart, for which the 16 bytes behind each row are there.
template <class X, class A, int Rows, int Depth, int Threads>
class Stage {
  using T = typename X::Element;

 public:
  /// From here on pieces of x, whose depth ends at `depth` and which lies along D.
  template <Along D>
  __device__ __forceinline__ void begin(const X& x, std::int64_t depth) {
    x_ = x, left_ = static_cast<int>(depth), loaded_ = 0;
    const bool along_depth = x_.template along_depth<D>();
#pragma unroll
    for (int n = 0; n < kPacks; ++n) {
      const Place place(along_depth, n);
      at_[n] = x.at + place.i * x_.template row_step<D>() + place.p * x_.template depth_step<D>();
      const bool whole = x.dense && x.rows - place.i >= (along_depth ? 1 : kSize);
      whole_[n] = whole ? left_ - place.p - (along_depth ? kSize - 1 : 0) : 0;
    }
  }

  /// Loads the next piece into registers.
  template <Along D>
  __device__ __forceinline__ void load() {
    const bool along_depth = x_.template along_depth<D>();
#pragma unroll
    for (int n = 0; n < kPacks; ++n) {
      const Place place(along_depth, n);
      if (!place.valid) continue;
      if constexpr (X::kScaled) factors_[n] = x_.factor(loaded_ + place.p);
      if (loaded_ < whole_[n]) {
        packs_[n] = *reinterpret_cast<const Pack<T>*>(at_[n]);
      } else {
        const int depth = left_ - place.p, rows = x_.rows - place.i;
        const int count = along_depth ? (rows > 0 ? depth : 0) : (depth > 0 ? rows : 0);
        const std::int64_t step = D != Along::either ? 1 : along_depth ? x_.depth : x_.row;
#pragma unroll
        for (int e = 0; e < kSize; ++e) packs_[n].x[e] = e < count ? at_[n][e * step] : T(0.0f);
      }
      at_[n] += Depth * x_.template depth_step<D>();
    }
    left_ -= Depth, loaded_ += Depth;
  }

  /// To shared[p * step + i], times the factors of these depths.
  template <Along D>
  __device__ __forceinline__ void store(A* shared, int step) {
    static_assert(!X::kScaled || D == Along::rows, "a pack has one factor");
    const bool along_depth = x_.template along_depth<D>();
#pragma unroll
    for (int n = 0; n < kPacks; ++n) {
      const Place place(along_depth, n);
      if (!place.valid) continue;
      A* const to = shared + place.p * step + place.i;
      alignas(16) A values[kSize];
#pragma unroll
      for (int e = 0; e < kSize; ++e) {
        values[e] = static_cast<A>(packs_[n].x[e]);
        if constexpr (X::kScaled) values[e] *= factors_[n].power * factors_[n].of_step;
      }
      if (along_depth) {
#pragma unroll
        for (int e = 0; e < kSize; ++e) to[e * step] = values[e];
      } else {
#pragma unroll
        for (int e = 0; e < kSize; e += Pack<A>::kSize)
          *reinterpret_cast<Pack<A>*>(to + e) = *reinterpret_cast<const Pack<A>*>(values + e);
      }
    }
  }

 private:
  static constexpr int kSize = Pack<T>::kSize, kTotal = Rows * Depth / kSize;
  static constexpr int kPacks = (kTotal + Threads - 1) / Threads;
  static_assert(Depth % (2 * kSize) == 0, "a row of a piece is whole sectors");

  /// Where this thread's pack n begins.
  struct Place {
    int i, p;
    bool valid;

    __device__ Place(bool along_depth, int n) {
      const int pack = static_cast<int>(threadIdx.x) + n * Threads;
      valid = kTotal % Threads == 0 || pack < kTotal;
      if (along_depth) {
        i = pack / 2 % Rows;
        p = (pack / (2 * Rows) * 2 + pack % 2) * kSize;
      } else {
        i = pack % (Rows / kSize) * kSize;
        p = pack / (Rows / kSize);
      }
    }
  };

  X x_;
  const T* at_[kPacks];
  int whole_[kPacks];  ///< up to which depth a pack is one load
  int left_, loaded_;  ///< depths
  Pack<T> packs_[kPacks];
  typename X::Factor factors_[X::kScaled ? kPacks : 1];  ///< loaded with the packs, not waited for until then
};

}  // namespace retnet::kernels
