#include "kernels/elementwise.h"

#include "kernels/cpu/rows.h"

namespace retnet::kernels {

template <class F, class T>
void map(Cpu, F f, T* y, const T* x, std::int64_t n) {
  using A = accum_t<T>;
  parallel_blocks(n, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] = T(f(A(x[i])));
  });
}

namespace {

/// One row of n results. The three cases that training meets are loops of their own, because a compiler
/// vectorises a stride it knows.
template <class F, class T>
void zip_row(F f, T* y, const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t n) {
  using A = accum_t<T>;
  if (a_step == 1 && b_step == 1) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = T(f(A(a[i]), A(b[i])));
  } else if (a_step == 1 && b_step == 0) {
    const A right = A(*b);
    for (std::int64_t i = 0; i < n; ++i) y[i] = T(f(A(a[i]), right));
  } else if (a_step == 0 && b_step == 1) {
    const A left = A(*a);
    for (std::int64_t i = 0; i < n; ++i) y[i] = T(f(left, A(b[i])));
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = T(f(A(a[i * a_step]), A(b[i * b_step])));
  }
}

}  // namespace

template <class F, class T>
void zip(Cpu, F f, T* y, const T* a, const T* b, const Zip& s) {
  const std::int64_t a_step = s.rank ? s.a_stride[s.rank - 1] : 0,
                     b_step = s.rank ? s.b_stride[s.rank - 1] : 0;
  for_each_row(s.rank, s.dims, s.a_stride, s.b_stride,
               [=](std::int64_t i, std::int64_t a_at, std::int64_t b_at, std::int64_t n) {
                 zip_row(f, y + i, a + a_at, a_step, b + b_at, b_step, n);
               });
}

#define RETNET_MAP(F)                                                         \
  template void map<F, float>(Cpu, F, float*, const float*, std::int64_t);    \
  template void map<F, double>(Cpu, F, double*, const double*, std::int64_t); \
  template void map<F, bf16>(Cpu, F, bf16*, const bf16*, std::int64_t);
RETNET_UNARY_OPS(RETNET_MAP)

#define RETNET_ZIP(F)                                                                      \
  template void zip<F, float>(Cpu, F, float*, const float*, const float*, const Zip&);     \
  template void zip<F, double>(Cpu, F, double*, const double*, const double*, const Zip&); \
  template void zip<F, bf16>(Cpu, F, bf16*, const bf16*, const bf16*, const Zip&);
RETNET_BINARY_OPS(RETNET_ZIP)

}  // namespace retnet::kernels
