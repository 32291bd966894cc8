/// @file
/// The tile of a matrix product that one thread block computes: what the product and retention are made of.
///
/// A block owns Rows x Columns elements of the result and keeps their sums in registers, a few rows and
/// columns a thread. It walks along the depth, Depth steps at a time. While the threads multiply one piece of
/// both operands, which lies in shared memory, the next one is already on its way from memory to registers;
/// there are two places in shared memory, so one barrier a piece is enough.
///
/// Both operands are seen as X(i, p): i is the row of A or the column of B, p the depth. Nothing depends on
/// the number of lanes of a wavefront, and each element is one chain of fused additions in order of p.
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

/// The shape of a tile. A thread computes ThreadRows x ThreadColumns sums of type A.
template <class A, int Rows, int Columns, int ThreadRows, int ThreadColumns, int Depth = 16>
struct Tile {
  using Sum = A;
  static constexpr int kRows = Rows, kColumns = Columns, kDepth = Depth;
  static constexpr int kThreadRows = ThreadRows, kThreadColumns = ThreadColumns;
  static constexpr int kDown = Rows / ThreadRows, kAcross = Columns / ThreadColumns;
  static constexpr int kThreads = kDown * kAcross;
  /// Blocks that share a multiprocessor, as far as registers for the sums go.
  static constexpr int kBlocks = ThreadRows * ThreadColumns * sizeof(A) > 256 ? 1 : 2;
  /// A thread's rows and columns come in runs that are read from shared memory as one.
  static constexpr int kRowRun = ThreadRows < Pack<A>::kSize ? ThreadRows : Pack<A>::kSize;
  static constexpr int kColumnRun = ThreadColumns < Pack<A>::kSize ? ThreadColumns : Pack<A>::kSize;
  /// Rows of shared memory are 16 bytes longer than needed: see Stage.
  static constexpr int kRowStep = Rows + Pack<A>::kSize, kColumnStep = Columns + Pack<A>::kSize;

  struct Shared {
    alignas(16) A a[2][kDepth * kRowStep];
    alignas(16) A b[2][kDepth * kColumnStep];
  };
};

/// Tiles by the type of what is multiplied. A double takes the place of two floats, so its large tile is
/// smaller.
template <class T>
struct Tiles {
  using Large = Tile<T, 128, 128, 8, 8, 8>;
  using Wide = Tile<T, 64, 128, 8, 8, 8>;
  using Medium = Tile<T, 64, 64, 8, 4>;
  using Small = Tile<T, 32, 32, 4, 2>;
};
template <>
struct Tiles<bf16> {
  using Large = Tile<float, 128, 128, 8, 8>;
  using Medium = Tile<float, 64, 64, 8, 4>;
  using Small = Tile<float, 32, 32, 4, 2>;
};
template <>
struct Tiles<double> {
  using Large = Tile<double, 64, 64, 4, 4>;
  using Wide = Large;
  using Medium = Tile<double, 64, 64, 8, 4>;
  using Small = Tile<double, 32, 32, 4, 2>;
};

/// The direction in which packs of an operand are loaded: along its rows, its depth, or what its strides say.
enum class Along { either, rows, depth };

/// One operand X(i, p), from the tile's first row and depth on; elements with i >= rows count as 0.
template <class T, Along Direction = Along::either>
struct Operand {
  using Element = T;
  /// Whether X(., p) is multiplied by factor(p): see Decayed.
  static constexpr bool kScaled = false;

  const T* at = nullptr;
  std::int64_t row = 0, depth = 0;  ///< X(i, p) is at[i * row + p * depth]
  int rows = 0;
  bool turned = false;  ///< along the depth
  bool dense = false;   ///< whether a pack is one aligned load

  __device__ Operand() {}
  __device__ Operand(const T* at, std::int64_t row, std::int64_t depth, std::int64_t rows)
      : at(at), row(row), depth(depth), rows(static_cast<int>(rows < kMost ? rows : kMost)) {
    turned = Direction == Along::depth || (Direction == Along::either && depth == 1 && row != 1);
    const std::int64_t along = turned ? depth : row, other = turned ? row : depth;
    dense = along == 1 && other % Pack<T>::kSize == 0 && reinterpret_cast<std::uintptr_t>(at) % 16 == 0;
  }
  __device__ bool along_depth() const {
    return Direction == Along::either ? turned : Direction == Along::depth;
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
  /// From here on pieces of x, whose depth ends at `depth`.
  __device__ __forceinline__ void begin(const X& x, std::int64_t depth) {
    x_ = x, left_ = static_cast<int>(depth), first_ = 0;
#pragma unroll
    for (int n = 0; n < kPacks; ++n) {
      const Place place(x.along_depth(), n);
      at_[n] = x.at + place.i * x.row + place.p * x.depth;
    }
  }

  /// Loads the next piece into registers.
  __device__ __forceinline__ void load() {
#pragma unroll
    for (int n = 0; n < kPacks; ++n) {
      const Place place(x_.along_depth(), n);
      if (!place.valid) continue;
      const int depth = left_ - place.p, rows = x_.rows - place.i;
      const int count = x_.along_depth() ? (rows > 0 ? depth : 0) : (depth > 0 ? rows : 0);
      if (x_.dense && count >= kSize) {
        packs_[n] = *reinterpret_cast<const Pack<T>*>(at_[n]);
      } else {
        const std::int64_t step = x_.along_depth() ? x_.depth : x_.row;
#pragma unroll
        for (int e = 0; e < kSize; ++e) packs_[n].x[e] = e < count ? at_[n][e * step] : T(0.0f);
      }
      at_[n] += Depth * x_.depth;
    }
    left_ -= Depth;
  }

  /// To shared[p * step + i], times the factors of these depths. Calls follow those of load().
  __device__ __forceinline__ void store(A* shared, int step) {
#pragma unroll
    for (int n = 0; n < kPacks; ++n) {
      const Place place(x_.along_depth(), n);
      if (!place.valid) continue;
      A* const to = shared + place.p * step + place.i;
      alignas(16) A values[kSize];
#pragma unroll
      for (int e = 0; e < kSize; ++e) {
        values[e] = static_cast<A>(packs_[n].x[e]);
        if constexpr (X::kScaled) values[e] *= x_.factor(first_ + place.p + (x_.along_depth() ? e : 0));
      }
      if (x_.along_depth()) {
#pragma unroll
        for (int e = 0; e < kSize; ++e) to[e * step] = values[e];
      } else {
#pragma unroll
        for (int e = 0; e < kSize; e += Pack<A>::kSize)
          *reinterpret_cast<Pack<A>*>(to + e) = *reinterpret_cast<const Pack<A>*>(values + e);
      }
    }
    first_ += Depth;
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
  int left_, first_;  ///< depths that are left to load, and the first of the piece to be stored
  Pack<T> packs_[kPacks];
};

/// A thread's share of a tile: its sums, and where they stand in it.
template <class Tile>
class Sums {
 public:
  using A = typename Tile::Sum;

  __device__ Sums() {
    // 32 neighbouring threads form 4 x 8, so that they read few different runs of both operands. Pairs of
    // neighbours have the same columns: 16 threads then ask for at most 8 runs, 128 bytes, at a time, which
    // is what shared memory delivers in a cycle.
    constexpr int groups = Tile::kAcross / 8;
    const int thread = static_cast<int>(threadIdx.x), group = thread / 32, lane = thread % 32;
    down_ = (group / groups * 4 + lane / 16 * 2 + lane % 2) * Tile::kRowRun;
    across_ = (group % groups * 8 + lane % 16 / 2) * Tile::kColumnRun;
    clear();
  }
  __device__ void clear() {
    for_each([](int, int, A& sum) { sum = A(0); });
  }

  /// f(i, j, sum) for each of the thread's sums.
  template <class F>
  __device__ __forceinline__ void for_each(F f) {
    for_each_run([&](int i, int j, A* sums) {
#pragma unroll
      for (int e = 0; e < Tile::kColumnRun; ++e) f(i, j + e, sums[e]);
    });
  }

  /// f(i, j, sums) for each run of kColumnRun neighbouring sums of a row.
  template <class F>
  __device__ __forceinline__ void for_each_run(F f) {
#pragma unroll
    for (int r = 0; r < Tile::kThreadRows; ++r)
#pragma unroll
      for (int c = 0; c < Tile::kThreadColumns; c += Tile::kColumnRun) f(row(r), column(c), &sums_[r][c]);
  }

  /// sums += the outer products of a piece of both operands.
  __device__ __forceinline__ void add(const A* a, const A* b) {
#pragma unroll
    for (int p = 0; p < Tile::kDepth; ++p) {
      alignas(16) A left[Tile::kThreadRows];
      alignas(16) A right[Tile::kThreadColumns];
#pragma unroll
      for (int r = 0; r < Tile::kThreadRows; r += Tile::kRowRun)
        *reinterpret_cast<Run<A, Tile::kRowRun>*>(left + r) =
            *reinterpret_cast<const Run<A, Tile::kRowRun>*>(a + p * Tile::kRowStep + row(r));
#pragma unroll
      for (int c = 0; c < Tile::kThreadColumns; c += Tile::kColumnRun)
        *reinterpret_cast<Run<A, Tile::kColumnRun>*>(right + c) =
            *reinterpret_cast<const Run<A, Tile::kColumnRun>*>(b + p * Tile::kColumnStep + column(c));
#pragma unroll
      for (int r = 0; r < Tile::kThreadRows; ++r)
#pragma unroll
        for (int c = 0; c < Tile::kThreadColumns; ++c) sums_[r][c] += left[r] * right[c];
    }
  }

 private:
  /// Runs of one thread are a part of the tile apart, so that neighbouring threads' runs lie side by side.
  __device__ int row(int r) const {
    return r / Tile::kRowRun * (Tile::kDown * Tile::kRowRun) + down_ + r % Tile::kRowRun;
  }
  __device__ int column(int c) const {
    return c / Tile::kColumnRun * (Tile::kAcross * Tile::kColumnRun) + across_ + c % Tile::kColumnRun;
  }

  alignas(16) A sums_[Tile::kThreadRows][Tile::kThreadColumns];
  int down_, across_;
};

/// Multiplies operands of a block, one pair after the other: begin() a pair, multiply() it, and so on. Where
/// the next pair is begun by `then` of the last one's multiply(), its first piece arrives while that is
/// computed. All threads of the block make these calls together.
template <class Tile, class X, class Y = X>
class Multiplier {
  using A = typename Tile::Sum;

 public:
  __device__ explicit Multiplier(typename Tile::Shared& shared) : shared_(shared) {}

  __device__ __forceinline__ void begin(const X& a, const Y& b, std::int64_t depth) {
    left_ = static_cast<int>(depth);
    a_.begin(a, depth);
    b_.begin(b, depth);
    load();
  }

  /// sums += sum over p < depth of a(i, p) b(j, p).
  /// @param inspect  is called with each piece of A in shared memory, and its first depth
  template <class Then, class Inspect>
  __device__ __forceinline__ void multiply(Sums<Tile>& sums, Then then, Inspect inspect) {
    if (left_ <= 0) return then();
    const int depth = left_;
    store(0);
    __syncthreads();
    int place = 0;
    for (int first = 0; first < depth; first += Tile::kDepth) {
      const bool more = first + Tile::kDepth < depth;
      more ? load() : then();
      inspect(shared_.a[place], first);
      sums.add(shared_.a[place], shared_.b[place]);
      place ^= 1;
      if (more) store(place);
      __syncthreads();
    }
  }
  __device__ __forceinline__ void multiply(Sums<Tile>& sums) {
    multiply(
        sums, [] {}, [](const A*, int) {});
  }

 private:
  __device__ __forceinline__ void load() {
    a_.load();
    b_.load();
  }
  __device__ __forceinline__ void store(int place) {
    a_.store(shared_.a[place], Tile::kRowStep);
    b_.store(shared_.b[place], Tile::kColumnStep);
  }

  typename Tile::Shared& shared_;
  int left_ = 0;
  Stage<X, A, Tile::kRows, Tile::kDepth, Tile::kThreads> a_;
  Stage<Y, A, Tile::kColumns, Tile::kDepth, Tile::kThreads> b_;
};

/// to[0 .. left) = values, at most N of them.
template <int N, class T, class A>
__device__ __forceinline__ void store_run(T* to, const A* values, std::int64_t left) {
  if (left >= N && reinterpret_cast<std::uintptr_t>(to) % (N * sizeof(T)) == 0) {
    Run<T, N> run;
#pragma unroll
    for (int e = 0; e < N; ++e) run.x[e] = static_cast<T>(values[e]);
    *reinterpret_cast<Run<T, N>*>(to) = run;
  } else {
#pragma unroll
    for (int e = 0; e < N; ++e)
      if (e < left) to[e] = static_cast<T>(values[e]);
  }
}

}  // namespace retnet::kernels
