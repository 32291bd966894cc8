// The two steps before matmul.hip, kept to be read and measured: what kernels/README.md walks through.

#include "kernels/hip/hip.h"
#include "kernels/matmul.h"
#include "kernels/matmul_batch.h"

namespace retnet::kernels {
namespace {

/// Threads of a block form a square of this side, and so do the elements of C that they compute.
constexpr int kSide = 16;

/// Rows and columns of blocks, and the batch.
dim3 blocks_of(const Matmul& s) {
  const auto count = [](std::int64_t n) { return static_cast<unsigned>((n + kSide - 1) / kSide); };
  return dim3(count(s.n) * count(s.m), static_cast<unsigned>(batch_count(s)));
}

/// Where the block's square begins: squares of one row of C follow each other.
struct Square {
  std::int64_t i, j;

  __device__ explicit Square(const Matmul& s) {
    const std::int64_t across = (s.n + kSide - 1) / kSide;
    i = blockIdx.x / across * kSide, j = blockIdx.x % across * kSide;
  }
};

/// One thread an element: it reads a row of A and a column of B, all of which its neighbours read as well.
template <class T>
__global__ void naive(Matmul s, T* c, const T* a, const T* b) {
  using A = accum_t<T>;
  const BatchOffset at = batch_offset(s, blockIdx.y);
  const Square square(s);
  const std::int64_t i = square.i + threadIdx.y, j = square.j + threadIdx.x;
  if (i >= s.m || j >= s.n) return;
  T& c_ij = c[at.c + i * s.c_row + j];
  A sum = s.accumulate ? static_cast<A>(c_ij) : A(0);
  for (std::int64_t p = 0; p < s.k; ++p)
    sum += static_cast<A>(a[at.a + i * s.a_row + p * s.a_col]) *
           static_cast<A>(b[at.b + p * s.b_row + j * s.b_col]);
  c_ij = static_cast<T>(sum);
}

/// The same with squares of A and B in shared memory: each number that is read from memory is used kSide
/// times. Steps along k that fill no square meet zeros.
template <class T>
__global__ void tiled(Matmul s, T* c, const T* a, const T* b) {
  using A = accum_t<T>;
  __shared__ A a_square[kSide][kSide + 1], b_square[kSide][kSide + 1];
  const BatchOffset at = batch_offset(s, blockIdx.y);
  const Square square(s);
  const int y = static_cast<int>(threadIdx.y), x = static_cast<int>(threadIdx.x);
  const std::int64_t i = square.i + y, j = square.j + x;
  const bool inside = i < s.m && j < s.n;
  A sum = inside && s.accumulate ? static_cast<A>(c[at.c + i * s.c_row + j]) : A(0);
  for (std::int64_t first = 0; first < s.k; first += kSide) {
    const std::int64_t a_p = first + x, b_p = first + y;
    a_square[y][x] = i < s.m && a_p < s.k ? static_cast<A>(a[at.a + i * s.a_row + a_p * s.a_col]) : A(0);
    b_square[y][x] = j < s.n && b_p < s.k ? static_cast<A>(b[at.b + b_p * s.b_row + j * s.b_col]) : A(0);
    __syncthreads();
    for (int p = 0; p < kSide; ++p) sum += a_square[y][p] * b_square[p][x];
    __syncthreads();
  }
  if (inside) c[at.c + i * s.c_row + j] = static_cast<T>(sum);
}

}  // namespace

template <class T>
void matmul_naive(Hip hip, const Matmul& s, T* c, const T* a, const T* b) {
  const dim3 blocks = blocks_of(s);
  if (blocks.x == 0 || blocks.y == 0) return;
  naive<T><<<blocks, dim3(kSide, kSide), 0, stream_of(hip)>>>(s, c, a, b);
  check_launch("matmul_naive");
}

template <class T>
void matmul_tiled(Hip hip, const Matmul& s, T* c, const T* a, const T* b) {
  const dim3 blocks = blocks_of(s);
  if (blocks.x == 0 || blocks.y == 0) return;
  tiled<T><<<blocks, dim3(kSide, kSide), 0, stream_of(hip)>>>(s, c, a, b);
  check_launch("matmul_tiled");
}

#define RETNET_MATMUL_STEPS(T)                                               \
  template void matmul_naive<T>(Hip, const Matmul&, T*, const T*, const T*); \
  template void matmul_tiled<T>(Hip, const Matmul&, T*, const T*, const T*);
RETNET_MATMUL_STEPS(float)
RETNET_MATMUL_STEPS(double)
RETNET_MATMUL_STEPS(bf16)

}  // namespace retnet::kernels
