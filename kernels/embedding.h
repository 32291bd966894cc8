/// @file
/// Rows of a table by index, elements of rows by index, and their gradients.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// y[i, :] = table[ids[i], :].  table [vocab, d], y [n, d]; 0 <= ids < vocab
template <class T>
void embedding(Cpu, T* y, const T* table, const std::int32_t* ids, std::int64_t vocab, std::int64_t n,
               std::int64_t d);
template <class T>
void embedding(Hip, T* y, const T* table, const std::int32_t* ids, std::int64_t vocab, std::int64_t n,
               std::int64_t d);

/// dtable[ids[i], :] += dy[i, :], in the order of i, so that repeated ids add up the same way every time,
/// @eq{G9}.
template <class T>
void embedding_grad(Cpu, T* dtable, const T* dy, const std::int32_t* ids, std::int64_t vocab, std::int64_t n,
                    std::int64_t d);
template <class T>
void embedding_grad(Hip, T* dtable, const T* dy, const std::int32_t* ids, std::int64_t vocab, std::int64_t n,
                    std::int64_t d);

/// y[i] = x[i, ids[i]].  x [rows, n]
template <class T>
void gather(Cpu, T* y, const T* x, const std::int32_t* ids, std::int64_t rows, std::int64_t n);
template <class T>
void gather(Hip, T* y, const T* x, const std::int32_t* ids, std::int64_t rows, std::int64_t n);

/// dx[i, ids[i]] = dy[i]; dx is zero elsewhere, and was zero before.
template <class T>
void gather_grad(Cpu, T* dx, const T* dy, const std::int32_t* ids, std::int64_t rows, std::int64_t n);
template <class T>
void gather_grad(Hip, T* dx, const T* dy, const std::int32_t* ids, std::int64_t rows, std::int64_t n);

}  // namespace retnet::kernels
