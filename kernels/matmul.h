/// @file
/// Batched matrix product, C = A B, over strided operands: the kernel that training time is made of.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"
#include "kernels/matmul_epilogue.h"

namespace retnet::kernels {

/// What to multiply: C[m, n] (+)= A[m, k] B[k, n] for every index of a batch. All strides count elements, so
/// a transposed or broadcast operand, or one head of `[B, T, H, D]`, is a choice of strides and never a copy.
struct Matmul {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_row = 0, a_col = 1;  ///< A(i, p) is at i * a_row + p * a_col
  std::int64_t b_row = 0, b_col = 1;  ///< B(p, j) is at p * b_row + j * b_col
  std::int64_t c_row = 0;             ///< C(i, j) is at i * c_row + j: the columns of C are contiguous
  int batch_rank = 0;                 ///< number of batch dimensions in use, at most kMaxRank
  std::int64_t batch[kMaxRank] = {};  ///< their sizes, and the step of each operand along each of them
  std::int64_t a_batch[kMaxRank] = {}, b_batch[kMaxRank] = {}, c_batch[kMaxRank] = {};
  bool accumulate = false;  ///< add to what C holds instead of overwriting it
};

/// Three loops, straight from the definition; the oracle of the fast one. Accumulates in double.
/// @tparam T float, double or bf16
template <class T>
void matmul_naive(Cpu, const Matmul& s, T* c, const T* a, const T* b);

/// On a GPU one thread computes one element, in accum_t<T>.
template <class T>
void matmul_naive(Hip, const Matmul& s, T* c, const T* a, const T* b);

/// The step from there to matmul(): squares of A and B in shared memory.
template <class T>
void matmul_tiled(Hip, const Matmul& s, T* c, const T* a, const T* b);

/// The same product, packed, blocked and vectorised. Each element of C is one sum over k in a fixed order
/// that depends on k alone, so neither the number of threads nor m, n or the batch changes its bits.
/// @tparam T float, double or bf16 (computed in float, rounded once)
template <class T>
void matmul(Cpu, const Matmul& s, T* c, const T* a, const T* b);

/// On a GPU how a sum is formed depends on m, n, k and the batch, but on nothing else.
template <class T>
void matmul(Hip, const Matmul& s, T* c, const T* a, const T* b);

/// The same, and what the epilogue makes of each finished sum is stored; see matmul_epilogue.h.
/// @tparam Epilogue NoEpilogue, AddBias<T>, AddResidual<T>, Activate<Gelu, T> or Activate<Swish, T>
template <class Epilogue, class T>
void matmul(Cpu, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue);
template <class Epilogue, class T>
void matmul(Hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue);

/// The same bits as matmul(), for many small products from inside of a parallel loop: runs on the calling
/// thread, ignores the batch dimensions, and costs little beside the product itself.
template <class T>
void matmul_serial(Cpu, const Matmul& s, T* c, const T* a, const T* b);

}  // namespace retnet::kernels
