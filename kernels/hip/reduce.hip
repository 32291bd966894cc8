// Sums in double, over slices of a fixed length that are then added up in order.

#include "kernels/reduce.h"

#include <vector>

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

/// Elements of a row that one block adds up, rows of a column that one thread does, and elements whose
/// squares one block adds up.
constexpr std::int64_t kRowSlice = 8192, kColumnSlice = 64, kSquareSlice = 2048;

std::int64_t slices_of(std::int64_t n, std::int64_t slice) { return (n + slice - 1) / slice; }

/// y[o, s] = sum of slice s of row o of x [outer, n]: a block for each.
template <class Y, class T>
__global__ void row_slices(Y* y, const T* x, std::int64_t n, std::int64_t slices) {
  const std::int64_t o = blockIdx.x / slices, begin = blockIdx.x % slices * kRowSlice;
  const std::int64_t count = n - begin < kRowSlice ? n - begin : kRowSlice;
  const T* from = x + o * n + begin;
  const double sum = row_sum<double>(count, [=](std::int64_t i) { return double(from[i]); });
  if (threadIdx.x == 0) y[blockIdx.x] = Y(sum);
}

/// y[o, s, i] = sum over the rows r of slice s of x [outer, n, inner]: a thread for each.
template <class Y, class T>
__global__ void column_slices(Y* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner,
                              std::int64_t slices) {
  const std::int64_t at = thread_index();
  if (at >= outer * slices * inner) return;
  const std::int64_t i = at % inner, s = at / inner % slices, o = at / inner / slices;
  const std::int64_t end = n < (s + 1) * kColumnSlice ? n : (s + 1) * kColumnSlice;
  double sum = 0;
  for (std::int64_t r = s * kColumnSlice; r < end; ++r) sum += double(x[(o * n + r) * inner + i]);
  y[at] = Y(sum);
}

template <class Y, class T>
void sum_rows(Hip hip, Y* y, const T* x, std::int64_t outer, std::int64_t n) {
  const auto launch = [&](auto* to, std::int64_t slices) {
    row_slices<<<static_cast<unsigned>(outer * slices), threads_for_row(n), 0, stream_of(hip)>>>(to, x, n,
                                                                                                 slices);
    check_launch("sum");
  };
  const std::int64_t slices = slices_of(n, kRowSlice);
  if (slices <= 1) return launch(y, 1);
  const Scratch partial(hip, outer * slices * std::int64_t{sizeof(double)});
  launch(partial.as<double>(), slices);
  sum_rows(hip, y, static_cast<const double*>(partial.as<double>()), outer, slices);
}

template <class Y, class T>
void sum_columns(Hip hip, Y* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  const auto launch = [&](auto* to, std::int64_t slices) {
    column_slices<<<blocks_for(outer * slices * inner), kThreads, 0, stream_of(hip)>>>(to, x, outer, n, inner,
                                                                                       slices);
    check_launch("sum");
  };
  const std::int64_t slices = slices_of(n, kColumnSlice);
  if (slices <= 1) return launch(y, 1);
  const Scratch partial(hip, outer * slices * inner * std::int64_t{sizeof(double)});
  launch(partial.as<double>(), slices);
  sum_columns(hip, y, static_cast<const double*>(partial.as<double>()), outer, slices, inner);
}

/// A thread for each result, as the CPU's loop.
template <class T>
__global__ void max_kernel(T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  using A = accum_t<T>;
  const std::int64_t at = thread_index();
  if (at >= outer * inner) return;
  const T* line = x + at / inner * n * inner + at % inner;
  A best = A(line[0]);
  for (std::int64_t r = 1; r < n; ++r) best = Larger{}(A(line[r * inner]), best);
  y[at] = T(best);
}

template <class T>
__global__ void argmax_kernel(std::int32_t* y, const T* x, std::int64_t rows, std::int64_t n) {
  using A = accum_t<T>;
  const std::int64_t row = thread_index();
  if (row >= rows) return;
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < n; ++i)
    if (A(x[row * n + i]) > A(x[row * n + best])) best = i;
  y[row] = static_cast<std::int32_t>(best);
}

/// One part, and the number of the first block after its own.
template <class T>
struct Share {
  Part<T> part;
  std::int64_t end = 0;
};

/// A block for each slice of each part; shares[p].end says where the part's slices end.
template <class T>
__global__ void square_slices(double* y, const Share<T>* shares, std::int64_t parts) {
  const Share<T>* const own = share_of(shares, parts, blockIdx.x);
  const Part<T> part = own->part;
  const std::int64_t begin = (blockIdx.x - (own == shares ? 0 : own[-1].end)) * kSquareSlice;
  const std::int64_t count = part.n - begin < kSquareSlice ? part.n - begin : kSquareSlice;
  const double sum = row_sum<double>(count, [x = part.x + begin](std::int64_t i) {
    const double value = double(x[i]);
    return value * value;
  });
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

/// y[p] = sum of the slices of part p: a block for each.
template <class T>
__global__ void add_slices(double* y, const double* slices, const Share<T>* shares) {
  const std::int64_t begin = blockIdx.x == 0 ? 0 : shares[blockIdx.x - 1].end;
  const double sum =
      row_sum<double>(shares[blockIdx.x].end - begin, [=](std::int64_t i) { return slices[begin + i]; });
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

}  // namespace

template <class T>
void sum_axis(Hip hip, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  if (outer * inner == 0) return;
  if (inner == 1) return sum_rows(hip, y, x, outer, n);
  sum_columns(hip, y, x, outer, n, inner);
}

template <class T>
void max_axis(Hip hip, T* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  if (outer * inner == 0) return;
  max_kernel<<<blocks_for(outer * inner), kThreads, 0, stream_of(hip)>>>(y, x, outer, n, inner);
  check_launch("max");
}

template <class T>
void argmax_rows(Hip hip, std::int32_t* y, const T* x, std::int64_t rows, std::int64_t n) {
  if (rows == 0) return;
  argmax_kernel<<<blocks_for(rows), kThreads, 0, stream_of(hip)>>>(y, x, rows, n);
  check_launch("argmax");
}

template <class T>
void sum_squares(Hip hip, double* y, const Part<T>* parts, std::int64_t count) {
  if (count == 0) return;
  std::vector<Share<T>> shares;
  std::int64_t blocks = 0;
  for (std::int64_t p = 0; p < count; ++p)
    shares.push_back({parts[p], blocks += slices_of(parts[p].n, kSquareSlice)});
  const ListOnDevice<Share<T>> list(hip, shares);
  const Scratch slices(hip, std::max<std::int64_t>(1, blocks) * std::int64_t{sizeof(double)});
  if (blocks > 0)
    square_slices<<<static_cast<unsigned>(blocks), kThreads, 0, stream_of(hip)>>>(slices.as<double>(),
                                                                                  list.data(), count);
  check_launch("sum_squares");
  add_slices<<<static_cast<unsigned>(count), kThreads, 0, stream_of(hip)>>>(y, slices.as<double>(),
                                                                            list.data());
  check_launch("sum_squares");
}

#define RETNET_REDUCE(T)                                                                  \
  template void sum_axis<T>(Hip, T*, const T*, std::int64_t, std::int64_t, std::int64_t); \
  template void max_axis<T>(Hip, T*, const T*, std::int64_t, std::int64_t, std::int64_t); \
  template void argmax_rows<T>(Hip, std::int32_t*, const T*, std::int64_t, std::int64_t); \
  template void sum_squares<T>(Hip, double*, const Part<T>*, std::int64_t);
RETNET_REDUCE(float)
RETNET_REDUCE(double)
RETNET_REDUCE(bf16)

}  // namespace retnet::kernels
