#include "kernels/matmul_batch.h"

namespace retnet::kernels {

template <class T>
void matmul_naive(Cpu, const Matmul& s, T* c, const T* a, const T* b) {
  const std::int64_t count = batch_count(s);
  for (std::int64_t index = 0; index < count; ++index) {
    const BatchOffset at = batch_offset(s, index);
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j) {
        T& c_ij = c[at.c + i * s.c_row + j];
        double sum = s.accumulate ? static_cast<double>(c_ij) : 0.0;
        for (std::int64_t p = 0; p < s.k; ++p)
          sum += static_cast<double>(a[at.a + i * s.a_row + p * s.a_col]) *
                 static_cast<double>(b[at.b + p * s.b_row + j * s.b_col]);
        c_ij = static_cast<T>(sum);
      }
  }
}

template void matmul_naive<float>(Cpu, const Matmul&, float*, const float*, const float*);
template void matmul_naive<double>(Cpu, const Matmul&, double*, const double*, const double*);
template void matmul_naive<bf16>(Cpu, const Matmul&, bf16*, const bf16*, const bf16*);

}  // namespace retnet::kernels
