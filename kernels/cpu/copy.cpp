#include "kernels/copy.h"

#include <type_traits>

#include "kernels/cpu/rows.h"

namespace retnet::kernels {
namespace {

template <class To, class From>
To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<To, std::int32_t>) {
    return static_cast<std::int32_t>(static_cast<double>(x));
  } else if constexpr (std::is_same_v<From, std::int32_t>) {
    return To(static_cast<double>(x));
  } else {
    return To(static_cast<std::conditional_t<std::is_same_v<From, double>, double, float>>(x));
  }
}

template <class To, class From>
void copy_row(To* to, std::int64_t to_step, const From* from, std::int64_t from_step, std::int64_t n) {
  if (to_step == 1 && from_step == 1) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i * to_step] = convert<To>(from[i * from_step]);
  }
}

}  // namespace

template <class To, class From>
void copy(Cpu, To* to, const From* from, const Copy& s) {
  const std::int64_t to_step = s.rank ? s.to_stride[s.rank - 1] : 0;
  const std::int64_t from_step = s.rank ? s.from_stride[s.rank - 1] : 0;
  for_each_row(s.rank, s.dims, s.to_stride, s.from_stride,
               [=](std::int64_t, std::int64_t to_at, std::int64_t from_at, std::int64_t n) {
                 copy_row(to + to_at, to_step, from + from_at, from_step, n);
               });
}

template <class T>
void fill(Cpu, T* x, T value, std::int64_t n) {
  parallel_blocks(n, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) x[i] = value;
  });
}

#define RETNET_COPY(To)                                                             \
  template void copy<To, float>(Cpu, To*, const float*, const Copy&);               \
  template void copy<To, double>(Cpu, To*, const double*, const Copy&);             \
  template void copy<To, bf16>(Cpu, To*, const bf16*, const Copy&);                 \
  template void copy<To, std::int32_t>(Cpu, To*, const std::int32_t*, const Copy&); \
  template void fill<To>(Cpu, To*, To, std::int64_t);
RETNET_COPY(float)
RETNET_COPY(double)
RETNET_COPY(bf16)
RETNET_COPY(std::int32_t)

}  // namespace retnet::kernels
