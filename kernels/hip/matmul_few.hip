// Products of a few rows with a weight [n, k], y = x W^T: what a token costs. There are at most 32 operations
// for each weight that is read, so this kernel is about reading them: neighbouring threads read neighbouring
// packs of 16 bytes of a row of W, several at a time, and every weight once. x is small and stays in caches.

#include "kernels/hip/matmul_few.h"

#include <cmath>

#include "kernels/hip/stage.h"
#include "kernels/matmul_batch.h"

namespace retnet::kernels {
namespace {

/// Threads of a block. A team of 32, 64 or all of them computes the elements of some rows of W; its threads
/// share the depth.
constexpr int kThreads = 128;

/// Threads of a team: 32, and more where the rows of W are few and long, until enough of W is under way.
int team_of(const Matmul& s, int pack) {
  constexpr std::int64_t enough = 128 * 1024;
  int team = 32;
  while (team < kThreads && s.n * team < enough && 2 * team * pack <= s.k) team *= 2;
  return team;
}

/// The first pack of x, whose elements from `left` on count as 0; element by element where packs do not fit
/// the layout.
template <bool Packs, class T>
__device__ __forceinline__ Pack<T> load(const T* x, std::int64_t left) {
  Pack<T> pack;
  if constexpr (Packs) {
    pack = *reinterpret_cast<const Pack<T>*>(x);
  } else {
#pragma unroll
    for (int e = 0; e < Pack<T>::kSize; ++e) pack.x[e] = e < left ? x[e] : T(0.0f);
  }
  return pack;
}

/// A single element, as a run that epilogues take.
struct One {
  RN_HD operator std::int64_t() const { return 1; }
};

/// The sums of `parts` over the threads of a team, in two steps of a fixed order: of every eighth of them,
/// and of these eight. f(value, team, sum) is called with each by one thread.
template <int Values, class A, class F>
__device__ __forceinline__ void add_parts(A (&parts)[Values][kThreads + 1], int team, F f) {
  constexpr int kGroups = 8;
  const int thread = static_cast<int>(threadIdx.x), teams = kThreads / team;
  __syncthreads();
  for (int item = thread; item < Values * teams * kGroups; item += kThreads) {
    A* const part = &parts[item / kGroups % Values][item / (kGroups * Values) * team + item % kGroups];
    A sum = part[0];
    for (int i = kGroups; i < team; i += kGroups) sum += part[i];
    part[0] = sum;
  }
  __syncthreads();
  for (int item = thread; item < Values * teams; item += kThreads) {
    const A* const part = &parts[item % Values][item / Values * team];
    A sum = part[0];
#pragma unroll
    for (int i = 1; i < kGroups; ++i) sum += part[i];
    f(item % Values, item / Values, sum);
  }
}

/// Rows >= m of A, Columns columns of C a team. What is past the edges is computed from the last row or
/// column, and not stored.
template <int Rows, int Columns, bool Packs, class T, class Epilogue>
__global__ __launch_bounds__(kThreads) void few_rows(Matmul s, int team, T* c, const T* a, const T* b,
                                                     Epilogue epilogue) {
  using A = accum_t<T>;
  constexpr int kSize = Pack<T>::kSize, kValues = Rows * Columns;
  [[maybe_unused]] constexpr int kAtOnce = kValues == 1 ? 8 : kValues <= 8 ? 4 : 1;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first = std::int64_t(blockIdx.x) * (kThreads / team) * Columns;
  const std::int64_t column = first + thread / team * Columns;
  const T *rows[Rows], *weights[Columns];
#pragma unroll
  for (int i = 0; i < Rows; ++i) rows[i] = a + (i < s.m ? i : s.m - 1) * s.a_row;
#pragma unroll
  for (int j = 0; j < Columns; ++j) weights[j] = b + (column + j < s.n ? column + j : s.n - 1) * s.b_col;
  A sums[Rows][Columns] = {};
#pragma unroll kAtOnce
  for (std::int64_t p = thread % team * kSize; p < s.k; p += team * kSize) {
    Pack<T> w[Columns];
#pragma unroll
    for (int j = 0; j < Columns; ++j) w[j] = load<Packs>(weights[j] + p, s.k - p);
#pragma unroll
    for (int i = 0; i < Rows; ++i) {
      const Pack<T> x = load<Packs>(rows[i] + p, s.k - p);
#pragma unroll
      for (int j = 0; j < Columns; ++j)
#pragma unroll
        for (int e = 0; e < kSize; ++e)  // fma, or the compiler could fuse it for some numbers of rows only
          sums[i][j] = std::fma(static_cast<A>(x.x[e]), static_cast<A>(w[j].x[e]), sums[i][j]);
    }
  }

  // Rows of `parts` are one longer than a block, so that neighbouring values lie in different banks.
  __shared__ A parts[kValues][kThreads + 1];
#pragma unroll
  for (int i = 0; i < Rows; ++i)
#pragma unroll
    for (int j = 0; j < Columns; ++j) parts[i * Columns + j][thread] = sums[i][j];
  add_parts(parts, team, [&](int value, int of_team, A sum) {
    const std::int64_t i = value / Columns, j = first + of_team * Columns + value % Columns;
    if (i >= s.m || j >= s.n) return;
    const std::int64_t at = i * s.c_row + j;
    if (s.accumulate) sum += static_cast<A>(c[at]);
    epilogue(&sum, at, j, One());
    c[at] = static_cast<T>(sum);
  });
}

template <int Rows, int Columns, class T, class Epilogue>
void launch(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue) {
  const int team = team_of(s, Pack<T>::kSize);
  const std::int64_t columns = kThreads / team * Columns, blocks = (s.n + columns - 1) / columns;
  const auto fits = [](const T* x, std::int64_t step) {
    return reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && step % Pack<T>::kSize == 0;
  };
  const bool packs = fits(a, s.a_row) && fits(b, s.b_col) && s.k % Pack<T>::kSize == 0;
  const auto grid = static_cast<unsigned>(blocks);
  if (packs)
    few_rows<Rows, Columns, true><<<grid, kThreads, 0, stream_of(hip)>>>(s, team, c, a, b, epilogue);
  else
    few_rows<Rows, Columns, false><<<grid, kThreads, 0, stream_of(hip)>>>(s, team, c, a, b, epilogue);
  check_launch("matmul, few rows");
}

}  // namespace

bool has_few_rows(const Matmul& s) {
  return s.m <= kFewRows && s.a_col == 1 && s.b_row == 1 && batch_count(s) == 1;
}

template <class Epilogue, class T>
void matmul_few_rows(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue) {
  if (s.m * s.n == 0) return;
  if (s.m == 1)
    launch<1, 1>(hip, s, c, a, b, epilogue);
  else if (s.m <= 4)
    launch<4, 2>(hip, s, c, a, b, epilogue);
  else
    launch<kFewRows, sizeof(accum_t<T>) == 8 ? 2 : 4>(hip, s, c, a, b, epilogue);
}

#define RETNET_FEW_ROWS(T, ...) \
  template void matmul_few_rows(Hip, const Matmul&, T*, const T*, const T*, const __VA_ARGS__&);
#define RETNET_FEW_ROWS_OF(T)           \
  RETNET_FEW_ROWS(T, NoEpilogue)        \
  RETNET_FEW_ROWS(T, AddBias<T>)        \
  RETNET_FEW_ROWS(T, AddResidual<T>)    \
  RETNET_FEW_ROWS(T, Activate<Gelu, T>) \
  RETNET_FEW_ROWS(T, Activate<Swish, T>)
RETNET_FEW_ROWS_OF(float)
RETNET_FEW_ROWS_OF(double)
RETNET_FEW_ROWS_OF(bf16)

}  // namespace retnet::kernels
