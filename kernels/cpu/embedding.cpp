#include "kernels/embedding.h"

#include "kernels/parallel.h"

namespace retnet::kernels {

template <class T>
void embedding(Cpu, T* y, const T* table, const std::int32_t* ids, std::int64_t, std::int64_t n,
               std::int64_t d) {
  parallel_for(n, d, [=](std::int64_t i) {
    const T* row = table + ids[i] * d;
    for (std::int64_t j = 0; j < d; ++j) y[i * d + j] = row[j];
  });
}

template <class T>
void embedding_grad(Cpu, T* dtable, const T* dy, const std::int32_t* ids, std::int64_t, std::int64_t n,
                    std::int64_t d) {
  using A = accum_t<T>;
  // Threads share out columns, not tokens: two tokens may write to the same row.
  constexpr std::int64_t width = 16;
  parallel_for((d + width - 1) / width, n * width, [=](std::int64_t piece) {
    const std::int64_t begin = piece * width, end = std::min(d, begin + width);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = begin; j < end; ++j) {
        T& sum = dtable[ids[i] * d + j];
        sum = T(A(sum) + A(dy[i * d + j]));
      }
  });
}

template <class T>
void gather(Cpu, T* y, const T* x, const std::int32_t* ids, std::int64_t rows, std::int64_t n) {
  parallel_for(rows, 1, [=](std::int64_t i) { y[i] = x[i * n + ids[i]]; });
}

template <class T>
void gather_grad(Cpu, T* dx, const T* dy, const std::int32_t* ids, std::int64_t rows, std::int64_t n) {
  parallel_for(rows, 1, [=](std::int64_t i) { dx[i * n + ids[i]] = dy[i]; });
}

#define RETNET_EMBEDDING(T)                                                                           \
  template void embedding<T>(Cpu, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t,      \
                             std::int64_t);                                                           \
  template void embedding_grad<T>(Cpu, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t, \
                                  std::int64_t);                                                      \
  template void gather<T>(Cpu, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t);        \
  template void gather_grad<T>(Cpu, T*, const T*, const std::int32_t*, std::int64_t, std::int64_t);
RETNET_EMBEDDING(float)
RETNET_EMBEDDING(double)
RETNET_EMBEDDING(bf16)

}  // namespace retnet::kernels
