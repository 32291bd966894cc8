#include "kernels/reduce.h"

#include <vector>

#include "kernels/cpu/lanes.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// Sum of one contiguous row, over blocks so that a single long row uses every thread too.
template <class T>
double row_sum(const T* x, std::int64_t n) {
  const auto partial = [x](std::int64_t begin, std::int64_t end) {
    return lane_sum<double>(end - begin, [p = x + begin](std::int64_t i) { return accum_t<T>(p[i]); });
  };
  return n <= kBlock ? partial(0, n) : blocked_sum(n, partial);
}

/// y[i] = sum over r of x[r, i]: the rows are cut into slices of a fixed height, each summed into a row of
/// partial sums, so that the order of additions does not depend on how the slices were shared out.
template <class T>
void column_sums(T* y, const T* x, std::int64_t n, std::int64_t inner) {
  constexpr std::int64_t height = 64;
  const std::int64_t slices = (n + height - 1) / height;
  std::vector<double> partial(static_cast<std::size_t>(slices * inner), 0.0);
  parallel_for(slices, height * inner, [&](std::int64_t s) {
    double* sums = partial.data() + s * inner;
    for (std::int64_t r = s * height; r < std::min(n, (s + 1) * height); ++r)
      for (std::int64_t i = 0; i < inner; ++i) sums[i] += double(accum_t<T>(x[r * inner + i]));
  });
  for (std::int64_t i = 0; i < inner; ++i) {
    double total = 0;
    for (std::int64_t s = 0; s < slices; ++s) total += partial[static_cast<std::size_t>(s * inner + i)];
    y[i] = T(total);
  }
}

}  // namespace

template <class T>
void sum_axis(Cpu, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  // Where rows are many, each is summed by one thread; parallel loops inside one another run on one thread.
  if (inner == 1) {
    parallel_for(outer, n, [=](std::int64_t o) { y[o] = T(row_sum(x + o * n, n)); });
    return;
  }
  if (outer == 1) {
    column_sums(y, x, n, inner);
    return;
  }
  parallel_for(outer, n * inner,
               [=](std::int64_t o) { column_sums(y + o * inner, x + o * n * inner, n, inner); });
}

template <class T>
void max_axis(Cpu, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  using A = accum_t<T>;
  parallel_for(outer, n * inner, [=](std::int64_t o) {
    for (std::int64_t i = 0; i < inner; ++i) {
      A best = A(x[o * n * inner + i]);
      for (std::int64_t r = 1; r < n; ++r) {
        const A value = A(x[(o * n + r) * inner + i]);
        if (value > best || value != value) best = value;
      }
      y[o * inner + i] = T(best);
    }
  });
}

template <class T>
void argmax_rows(Cpu, std::int32_t* y, const T* x, std::int64_t rows, std::int64_t n) {
  using A = accum_t<T>;
  parallel_for(rows, n, [=](std::int64_t row) {
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < n; ++i)
      if (A(x[row * n + i]) > A(x[row * n + best])) best = i;
    y[row] = static_cast<std::int32_t>(best);
  });
}

template <class T>
void sum_squares(Cpu, double* y, const Part<T>* parts, std::int64_t count) {
  for (std::int64_t part = 0; part < count; ++part)
    y[part] = blocked_sum(parts[part].n, [x = parts[part].x](std::int64_t begin, std::int64_t end) {
      return lane_sum<double>(end - begin, [p = x + begin](std::int64_t i) {
        const double value = double(accum_t<T>(p[i]));
        return value * value;
      });
    });
}

#define RETNET_REDUCE(T)                                                                  \
  template void sum_axis<T>(Cpu, T*, const T*, std::int64_t, std::int64_t, std::int64_t); \
  template void max_axis<T>(Cpu, T*, const T*, std::int64_t, std::int64_t, std::int64_t); \
  template void argmax_rows<T>(Cpu, std::int32_t*, const T*, std::int64_t, std::int64_t); \
  template void sum_squares<T>(Cpu, double*, const Part<T>*, std::int64_t);
RETNET_REDUCE(float)
RETNET_REDUCE(double)
RETNET_REDUCE(bf16)

}  // namespace retnet::kernels
