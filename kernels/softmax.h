/// @file
/// Softmax, log-sum-exp and the cross-entropy of rows of logits, safe for any finite logits.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// y = exp(x - max) / sum exp(x - max), per row of n >= 1.  @tparam T float, double or bf16
template <class T>
void softmax(Cpu, T* y, const T* x, std::int64_t rows, std::int64_t n);
template <class T>
void softmax(Hip, T* y, const T* x, std::int64_t rows, std::int64_t n);

/// dx = y (dy - sum(dy y)), per row, from y = softmax(x), @eq{G3}.
template <class T>
void softmax_grad(Cpu, T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t n);
template <class T>
void softmax_grad(Hip, T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t n);

/// y[row] = log sum exp(x[row, :]) = max + log sum exp(x - max).
template <class T>
void log_sum_exp(Cpu, T* y, const T* x, std::int64_t rows, std::int64_t n);
template <class T>
void log_sum_exp(Hip, T* y, const T* x, std::int64_t rows, std::int64_t n);

/// loss[row] = log_sum_exp(x[row, :]) - x[row, target[row]], in nats; 0 <= target < n.
/// @param lse  [rows], the log-sum-exp, kept for the gradient
template <class T>
void cross_entropy(Cpu, T* loss, T* lse, const T* x, const std::int32_t* target, std::int64_t rows,
                   std::int64_t n);
template <class T>
void cross_entropy(Hip, T* loss, T* lse, const T* x, const std::int32_t* target, std::int64_t rows,
                   std::int64_t n);

/// dx[row, j] = dloss[row] (exp(x - lse) - [j = target]), @eq{G4}.
template <class T>
void cross_entropy_grad(Cpu, T* dx, const T* dloss, const T* x, const T* lse, const std::int32_t* target,
                        std::int64_t rows, std::int64_t n);
template <class T>
void cross_entropy_grad(Hip, T* dx, const T* dloss, const T* x, const T* lse, const std::int32_t* target,
                        std::int64_t rows, std::int64_t n);

}  // namespace retnet::kernels
