/// @file
/// The product of a few rows with a weight, as decoding has it.
#pragma once

#include "kernels/matmul.h"

namespace retnet::kernels {

/// Rows of A that matmul_few_rows() takes at most.
constexpr std::int64_t kFewRows = 16;

/// Whether the product is one of few rows, with a B whose columns are dense in memory: the weight of y = x
/// W^T.
bool has_few_rows(const Matmul& s);

/// C (+)= A B with the epilogue, for such a product. B is read once. How a sum is formed does not depend on
/// m: a row has the same bits alone and beside others.
template <class Epilogue, class T>
void matmul_few_rows(Hip hip, const Matmul& s, T* c, const T* a, const T* b, const Epilogue& epilogue);

}  // namespace retnet::kernels
