#include "kernels/cpu/matmul_steps.h"

#include <algorithm>

#include "kernels/cpu/simd.h"

namespace retnet::kernels {
namespace {

/// A block of B is kDepth x kWidth: 64 KiB, which stays in the second-level cache.
constexpr std::int64_t kDepth = 256, kWidth = 64;

/// c[0 .. n-1] += a b[0 .. n-1].
void add_row(std::int64_t n, float* c, float a, const float* b) {
  for (std::int64_t j = 0; j < n; ++j) c[j] += a * b[j];
}

/// Calls `block(p, depth, j, width)` for the blocks of B[k, n].
template <class Block>
void for_each_block(std::int64_t n, std::int64_t k, Block&& block) {
  for (std::int64_t p = 0; p < k; p += kDepth)
    for (std::int64_t j = 0; j < n; j += kWidth)
      block(p, std::min(kDepth, k - p), j, std::min(kWidth, n - j));
}

/// Copies B[depth, width] to rows kWidth apart.
void pack(float* packed, const float* b, std::int64_t b_row, std::int64_t depth, std::int64_t width) {
  for (std::int64_t p = 0; p < depth; ++p) std::copy_n(b + p * b_row, width, packed + p * kWidth);
}

/// C[4, 2 vectors] += A[4, depth] B[depth, 2 vectors]: eight sums in registers, eight products a step for the
/// two vectors of B and four elements of A that it loads.
void multiply_in_registers(std::int64_t depth, float* c, std::int64_t c_row, const float* a,
                           std::int64_t a_row, const float* b) {
  constexpr std::int64_t L = kLanes<float>;
  Vec<float> sum[4][2] = {};
  for (std::int64_t p = 0; p < depth; ++p, b += kWidth) {
    const Vec<float> b0 = load(b), b1 = load(b + L);
    for (int i = 0; i < 4; ++i) {
      sum[i][0] += a[i * a_row + p] * b0;
      sum[i][1] += a[i * a_row + p] * b1;
    }
  }
  for (int i = 0; i < 4; ++i)
    for (int v = 0; v < 2; ++v) {
      float* const c_iv = c + i * c_row + v * L;
      store<float>(c_iv, load(c_iv) + sum[i][v]);
    }
}

}  // namespace

void matmul_step_naive(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                       const float* b) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::int64_t p = 0; p < k; ++p) sum += a[i * k + p] * b[p * n + j];
      c[i * n + j] = sum;
    }
}

void matmul_step_blocked(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                         const float* b) {
  std::fill_n(c, m * n, 0.0f);
  for_each_block(n, k, [&](std::int64_t p, std::int64_t depth, std::int64_t j, std::int64_t width) {
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t q = p; q < p + depth; ++q) add_row(width, c + i * n + j, a[i * k + q], b + q * n + j);
  });
}

void matmul_step_packed(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                        const float* b) {
  std::fill_n(c, m * n, 0.0f);
  alignas(64) float packed[kDepth * kWidth];
  for_each_block(n, k, [&](std::int64_t p, std::int64_t depth, std::int64_t j, std::int64_t width) {
    pack(packed, b + p * n + j, n, depth, width);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t q = 0; q < depth; ++q)
        add_row(width, c + i * n + j, a[i * k + p + q], packed + q * kWidth);
  });
}

void matmul_step_vectorised(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                            const float* b) {
  constexpr std::int64_t W = 2 * kLanes<float>;
  std::fill_n(c, m * n, 0.0f);
  alignas(64) float packed[kDepth * kWidth];
  for_each_block(n, k, [&](std::int64_t p, std::int64_t depth, std::int64_t j, std::int64_t width) {
    pack(packed, b + p * n + j, n, depth, width);
    const std::int64_t rows = m - m % 4, columns = width - width % W;  // what whole blocks of registers cover
    for (std::int64_t w = 0; w < columns; w += W)
      for (std::int64_t i = 0; i < rows; i += 4)
        multiply_in_registers(depth, c + i * n + j + w, n, a + i * k + p, k, packed + w);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t q = 0; q < depth; ++q) {
        const std::int64_t w = i < rows ? columns : 0;
        add_row(width - w, c + i * n + j + w, a[i * k + p + q], packed + q * kWidth + w);
      }
  });
}

}  // namespace retnet::kernels
