/// @file
/// The batch dimensions of a matrix product, counted as one.
#pragma once

#include "kernels/matmul.h"

namespace retnet::kernels {

/// Number of matrices in the batch; 1 when there are no batch dimensions.
RN_HD inline std::int64_t batch_count(const Matmul& s) {
  std::int64_t count = 1;
  for (int d = 0; d < s.batch_rank; ++d) count *= s.batch[d];
  return count;
}

/// Where the matrices of one member of the batch begin, in elements.
struct BatchOffset {
  std::int64_t a = 0, b = 0, c = 0;
};

/// Offsets of member `index`, 0 <= index < batch_count(s); the last batch dimension varies fastest.
RN_HD inline BatchOffset batch_offset(const Matmul& s, std::int64_t index) {
  BatchOffset offset;
  for (int d = s.batch_rank; d-- > 0; index /= s.batch[d]) {
    const std::int64_t i = index % s.batch[d];
    offset.a += i * s.a_batch[d];
    offset.b += i * s.b_batch[d];
    offset.c += i * s.c_batch[d];
  }
  return offset;
}

}  // namespace retnet::kernels
