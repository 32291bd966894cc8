/// @file
/// The tile of a matrix product that one thread block computes: what the product and retention are made of.
///
/// A block owns Rows x Columns elements of the result and keeps their sums in registers, a few rows and
/// columns a thread. It walks along the depth, Depth steps at a time. While the threads multiply one piece of
/// both operands, which lies in shared memory, the next one is already on its way from memory to registers;
/// there are two places in shared memory, so one barrier a piece is enough.
///
/// Both operands are seen as X(i, p): i is the row of A or the column of B, p the depth. Nothing depends on
/// the number of lanes of a wavefront, and each element is one chain of fused additions in order of p, or a
/// sum of one chain for each group of threads.
#pragma once

#include "kernels/bf16.h"
#include "kernels/hip/stage.h"

namespace retnet::kernels {

/// The shape of a tile. A thread computes ThreadRows x ThreadColumns sums of type A. Groups of threads divide
/// the depth of each piece among them: where tiles are small and few, the same number of threads can then
/// have more sums each, and read less from shared memory for every one.
template <class A, int Rows, int Columns, int ThreadRows, int ThreadColumns, int Depth = 16, int Groups = 1>
struct Tile {
  using Sum = A;
  static constexpr int kRows = Rows, kColumns = Columns, kDepth = Depth;
  static constexpr int kThreadRows = ThreadRows, kThreadColumns = ThreadColumns;
  static constexpr int kDown = Rows / ThreadRows, kAcross = Columns / ThreadColumns;
  static constexpr int kGroups = Groups, kGroupThreads = kDown * kAcross, kThreads = kGroupThreads * Groups;
  /// Blocks that share a multiprocessor: 512 threads, each with 128 registers, hide what each waits for.
  static constexpr int kBlocks = 512 / kThreads;
  /// Steps of the depth that are written out. A kernel of a few microseconds waits for its instructions, too,
  /// so those of small tiles are few.
  static constexpr int kUnroll = ThreadRows * ThreadColumns < 64 ? 4 : 8;
  /// Whether registers are left to begin the next pair of operands while the last piece of one is computed.
  static constexpr bool kEager = ThreadRows * ThreadColumns < 64;
  /// A thread's rows and columns come in runs that are read from shared memory as one.
  static constexpr int kRowRun = ThreadRows < Pack<A>::kSize ? ThreadRows : Pack<A>::kSize;
  static constexpr int kColumnRun = ThreadColumns < Pack<A>::kSize ? ThreadColumns : Pack<A>::kSize;
  /// Whether the first half of a thread's rows, or columns, lies in the first half of the tile's.
  static constexpr bool kRowHalves = ThreadRows / kRowRun % 2 == 0;
  static constexpr bool kColumnHalves = ThreadColumns / kColumnRun % 2 == 0;
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
  using Medium = Large;
  using Small = Tile<double, 32, 32, 4, 2>;
};

/// The part of a tile that a piece adds to, where the other sums are known to meet zeros, or not to be
/// wanted.
enum class Part { all, first_rows, last_rows, lower };  ///< lower: not the upper right quarter

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
    const int thread = static_cast<int>(threadIdx.x) % Tile::kGroupThreads;
    const int group = thread / 32, lane = thread % 32;
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
    for_each_row([&](int i, auto runs) { runs([&](int j, A* sums) { f(i, j, sums); }); });
  }

  /// f(i, runs) for each of the thread's rows, where runs(g) calls g(j, sums) for each run of it.
  template <class F>
  __device__ __forceinline__ void for_each_row(F f) {
#pragma unroll
    for (int r = 0; r < Tile::kThreadRows; ++r)
      f(row(r), [&](auto g) {
#pragma unroll
        for (int c = 0; c < Tile::kThreadColumns; c += Tile::kColumnRun) g(column(c), &sums_[r][c]);
      });
  }

  /// sums += the outer products of a piece of both operands, or of the group's share of its depth.
  template <Part part = Part::all>
  __device__ __forceinline__ void add(const A* a, const A* b) {
    constexpr int half_rows = Tile::kThreadRows / 2, half_columns = Tile::kThreadColumns / 2;
    constexpr int first_row = Tile::kRowHalves && part == Part::last_rows ? half_rows : 0;
    constexpr int rows = Tile::kRowHalves && part == Part::first_rows ? half_rows : Tile::kThreadRows;
    constexpr bool lower = Tile::kRowHalves && Tile::kColumnHalves && part == Part::lower;
    constexpr int depth = Tile::kDepth / Tile::kGroups;
    a += group() * depth * Tile::kRowStep, b += group() * depth * Tile::kColumnStep;
#pragma unroll Tile::kUnroll
    for (int p = 0; p < depth; ++p) {
      alignas(16) A left[Tile::kThreadRows];
      alignas(16) A right[Tile::kThreadColumns];
#pragma unroll
      for (int r = first_row; r < rows; r += Tile::kRowRun)
        *reinterpret_cast<Run<A, Tile::kRowRun>*>(left + r) =
            *reinterpret_cast<const Run<A, Tile::kRowRun>*>(a + p * Tile::kRowStep + row(r));
#pragma unroll
      for (int c = 0; c < Tile::kThreadColumns; c += Tile::kColumnRun)
        *reinterpret_cast<Run<A, Tile::kColumnRun>*>(right + c) =
            *reinterpret_cast<const Run<A, Tile::kColumnRun>*>(b + p * Tile::kColumnStep + column(c));
#pragma unroll
      for (int r = first_row; r < rows; ++r)
#pragma unroll
        for (int c = 0; c < (lower && r < half_rows ? half_columns : Tile::kThreadColumns); ++c)
          sums_[r][c] += left[r] * right[c];
    }
  }

  /// Adds the groups' sums up, in order of the groups; true in the group that then has them. All threads of
  /// the block call it together, after the last piece.
  __device__ bool gather(typename Tile::Shared& shared) {
    if constexpr (Tile::kGroups > 1) {
      constexpr int count = Tile::kThreadRows * Tile::kThreadColumns, threads = Tile::kGroupThreads;
      static_assert(sizeof(shared) >= sizeof(A) * count * threads, "the sums of a group fit");
      A *const place = reinterpret_cast<A*>(&shared) + threadIdx.x % threads, *const own = &sums_[0][0];
#pragma unroll
      for (int other = 1; other < Tile::kGroups; ++other) {
        if (group() == other)
#pragma unroll
          for (int i = 0; i < count; ++i) place[i * threads] = own[i];
        __syncthreads();
        if (group() == 0)
#pragma unroll
          for (int i = 0; i < count; ++i) own[i] += place[i * threads];
        if (other + 1 < Tile::kGroups) __syncthreads();
      }
    }
    return group() == 0;
  }

 private:
  __device__ static int group() {
    return Tile::kGroups > 1 ? static_cast<int>(threadIdx.x) / Tile::kGroupThreads : 0;
  }
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
/// computed (if the tile is eager). All threads of the block make these calls together, and name the pair's
/// Directions in both.
template <class Tile, class X, class Y = X>
class Multiplier {
  using A = typename Tile::Sum;

 public:
  __device__ explicit Multiplier(typename Tile::Shared& shared) : shared_(shared) {}

  template <class Lie>
  __device__ __forceinline__ void begin(Lie lie, const X& a, const Y& b, std::int64_t depth) {
    left_ = static_cast<int>(depth);
    a_.template begin<Lie::kLeft>(a, depth);
    b_.template begin<Lie::kRight>(b, depth);
    load(lie);
  }

  /// Calls use(a piece of A, the same of B, its first depth) with each piece, which lies in shared memory.
  template <class Lie, class Then, class Use>
  __device__ __forceinline__ void for_each_piece(Lie lie, Then then, Use use) {
    if (left_ <= 0) return then();
    const int depth = left_;
    store(lie, 0);
    __syncthreads();
    int place = 0;
    for (int first = 0; first < depth; first += Tile::kDepth) {
      const bool more = first + Tile::kDepth < depth;
      if (more)
        load(lie);
      else if (Tile::kEager)
        then();
      use(shared_.a[place], shared_.b[place], first);
      place ^= 1;
      if (more) store(lie, place);
      __syncthreads();
    }
    if (!Tile::kEager) then();
  }
  /// sums += sum over p < depth of a(i, p) b(j, p).
  template <class Lie, class Then>
  __device__ __forceinline__ void multiply(Lie lie, Sums<Tile>& sums, Then then) {
    for_each_piece(lie, then, [&](const A* a, const A* b, int) { sums.add(a, b); });
  }
  template <class Lie>
  __device__ __forceinline__ void multiply(Lie lie, Sums<Tile>& sums) {
    multiply(lie, sums, [] {});
  }

 private:
  template <class Lie>
  __device__ __forceinline__ void load(Lie) {
    a_.template load<Lie::kLeft>();
    b_.template load<Lie::kRight>();
  }
  template <class Lie>
  __device__ __forceinline__ void store(Lie, int place) {
    a_.template store<Lie::kLeft>(shared_.a[place], Tile::kRowStep);
    b_.template store<Lie::kRight>(shared_.b[place], Tile::kColumnStep);
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

/// The sums of a tile, of which `rows` x `columns` are wanted, to a matrix with rows `step` apart.
template <class Tile, class T>
__device__ __forceinline__ void store_tile(Sums<Tile>& sums, T* to, std::int64_t step, std::int64_t rows,
                                           std::int64_t columns) {
  constexpr int N = Tile::kColumnRun;
  const bool dense = rows >= Tile::kRows && columns >= Tile::kColumns && step % N == 0 &&
                     reinterpret_cast<std::uintptr_t>(to) % (N * sizeof(T)) == 0;
  if (dense)  // without a branch for each run
    sums.for_each_run([&](int i, int j, const typename Tile::Sum* values) {
      Run<T, N> run;
#pragma unroll
      for (int e = 0; e < N; ++e) run.x[e] = static_cast<T>(values[e]);
      *reinterpret_cast<Run<T, N>*>(to + i * step + j) = run;
    });
  else
    sums.for_each_run([&](int i, int j, const typename Tile::Sum* values) {
      if (i < rows && j < columns) store_run<N>(to + i * step + j, values, columns - j);
    });
}

}  // namespace retnet::kernels
