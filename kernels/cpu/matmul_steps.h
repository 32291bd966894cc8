/// @file
/// How the fast matrix product came about, one idea a step, each short enough to read: for learning and for
/// the benchmark. All compute C[m, n] = A[m, k] B[k, n] for dense row-major matrices on one thread.
#pragma once

#include <cstdint>

namespace retnet::kernels {

/// The definition: one dot product per element. Walks down a column of B, a cache line for each number.
void matmul_step_naive(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                       const float* b);

/// Blocked: the same products in an order that uses a block of B while it is in the cache, row by row.
void matmul_step_blocked(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                         const float* b);

/// Packed: the block of B is first copied into the order in which it is read, so that it is one stretch of
/// memory.
void matmul_step_packed(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                        const float* b);

/// Vectorised: a few rows and columns of C stay in registers while the products are added, so that an element
/// of A or B that was loaded is used several times. What is left to do is in matmul.cpp: edges, strides,
/// threads.
void matmul_step_vectorised(std::int64_t m, std::int64_t n, std::int64_t k, float* c, const float* a,
                            const float* b);

}  // namespace retnet::kernels
