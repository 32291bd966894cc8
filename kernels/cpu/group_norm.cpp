// Norm, weights and gate in one pass, forward and backward. Names: x_hat is the normalised x, t = x_hat w + b
// what comes out of the norm, d = gradient.

#include <cmath>
#include <vector>

#include "kernels/cpu/lanes.h"
#include "kernels/norm.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// Rows whose weight gradients are summed in T, one after the other.
constexpr std::int64_t kSlice = 64;

/// One group of one row: where it begins in each operand, and its statistics.
template <class T>
struct Group {
  const T *x, *weight, *bias, *gate;
  T mean, rstd;

  T x_hat(std::int64_t i) const { return (x[i] - mean) * rstd; }
};

template <class T>
Group<T> group_at(const GroupNorm& s, const T* x, const GroupNormTensors<T>& in, std::int64_t row,
                  std::int64_t group) {
  const std::int64_t column = group * s.n, weight_at = s.shared_weight ? 0 : column;
  return {x + row * s.groups * s.n + column,
          in.weight ? in.weight + weight_at : nullptr,
          in.bias ? in.bias + weight_at : nullptr,
          in.gate ? in.gate + row * s.gate_row + column : nullptr,
          T(0),
          T(1)};
}

/// t_i for i < n, without a test of what there is in the loop.
template <class T, class Store>
void for_each_normalized(Group<T> g, std::int64_t n, Store&& store) {
  if (g.weight && g.bias) {
    for (std::int64_t i = 0; i < n; ++i) store(i, g.x_hat(i) * g.weight[i] + g.bias[i]);
  } else if (g.weight) {
    for (std::int64_t i = 0; i < n; ++i) store(i, g.x_hat(i) * g.weight[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) store(i, g.x_hat(i));
  }
}

template <class T>
void statistics(const GroupNorm& s, Group<T>& g) {
  const T* x = g.x;
  if (s.center) g.mean = row_sum<T>(s.n, [=](auto at) { return at(x); }) / T(s.n);
  // The squares of the centred values, not E[x^2] - mean^2, which cancels where the mean is large.
  const T mean = g.mean;
  const T variance = row_sum<T>(s.n, [=](auto at) { return (at(x) - mean) * (at(x) - mean); }) / T(s.n);
  g.rstd = T(1) / std::sqrt(variance + T(s.eps));
}

/// dy becomes dt, the gradient of what comes out of the norm, in `dt`; and the gate gets its own.
template <class T, class F, class FGrad>
void through_gate(Group<T> g, std::int64_t n, F f, FGrad f_grad, const T* dy, T* dgate, T* dt) {
  const T* gate = g.gate;
  for_each_normalized(g, n, [=](std::int64_t i, T t) { dgate[i] = f_grad(gate[i], T(dy[i] * t)); });
  for (std::int64_t i = 0; i < n; ++i) dt[i] = dy[i] * f(gate[i]);
}

/// Eq. (G5) for one group; adds the gradients of its weights to dweight and dbias.
template <class T>
void through_norm(const GroupNorm& s, Group<T> g, const T* dt, T* dx_hat, T* dx, T* dweight, T* dbias) {
  const std::int64_t n = s.n;
  if (dweight)
    for (std::int64_t i = 0; i < n; ++i) dweight[i] += dt[i] * g.x_hat(i);
  if (dbias)
    for (std::int64_t i = 0; i < n; ++i) dbias[i] += dt[i];
  for (std::int64_t i = 0; i < n; ++i) dx_hat[i] = g.weight ? dt[i] * g.weight[i] : dt[i];
  const T *x = g.x, mean = g.mean, rstd = g.rstd;
  T mean_d = T(0);
  if (s.center) mean_d = row_sum<T>(n, [=](auto at) { return at(dx_hat); }) / T(n);
  const T mean_dx = row_sum<T>(n, [=](auto at) { return at(dx_hat) * ((at(x) - mean) * rstd); }) / T(n);
  for (std::int64_t i = 0; i < n; ++i) dx[i] = g.rstd * (dx_hat[i] - mean_d - g.x_hat(i) * mean_dx);
}

/// Sums of slices, added up in order and in double.
template <class T>
void add_slices(T* y, const std::vector<T>& sums, std::int64_t offset, std::int64_t step, std::int64_t n) {
  const auto size = static_cast<std::int64_t>(sums.size());
  for (std::int64_t i = 0; i < n; ++i) {
    double total = 0;
    for (std::int64_t at = offset; at < size; at += step)
      total += double(sums[static_cast<std::size_t>(at + i)]);
    y[i] = T(total);
  }
}

}  // namespace

template <class T>
void group_norm(Cpu, const GroupNorm& s, T* y, T* mean, T* rstd, const T* x, const GroupNormTensors<T>& in) {
  with_activation(s.gate, [&](auto f, auto) {
    parallel_for(s.rows, 16 * s.groups * s.n, [&](std::int64_t row) {
      for (std::int64_t group = 0; group < s.groups; ++group) {
        Group<T> g = group_at(s, x, in, row, group);
        statistics(s, g);
        const std::int64_t at = row * s.groups + group;
        mean[at] = g.mean, rstd[at] = g.rstd;
        T* y_g = y + at * s.n;
        const T* gate = g.gate;
        if (gate)
          for_each_normalized(g, s.n, [=](std::int64_t i, T t) { y_g[i] = f(gate[i]) * t; });
        else
          for_each_normalized(g, s.n, [=](std::int64_t i, T t) { y_g[i] = t; });
      }
    });
  });
}

template <class T>
void group_norm_grad(Cpu, const GroupNorm& s, const GroupNormGradients<T>& out, const T* dy, const T* x,
                     const T* mean, const T* rstd, const GroupNormTensors<T>& in) {
  const std::int64_t weights = s.shared_weight ? s.n : s.groups * s.n;
  const std::int64_t slices = (s.rows + kSlice - 1) / kSlice, step = 2 * weights;
  std::vector<T> sums(static_cast<std::size_t>(slices * step), T(0));  // of each slice: dweight, then dbias
  with_activation(s.gate, [&](auto f, auto f_grad) {
    parallel_for(slices, 16 * kSlice * s.groups * s.n, [&](std::int64_t slice) {
      std::vector<T> scratch(static_cast<std::size_t>(2 * s.n));
      T *dt = scratch.data(), *dx_hat = dt + s.n, *slice_sums = sums.data() + slice * step;
      for (std::int64_t row = slice * kSlice; row < std::min(s.rows, (slice + 1) * kSlice); ++row)
        for (std::int64_t group = 0; group < s.groups; ++group) {
          Group<T> g = group_at(s, x, in, row, group);
          const std::int64_t at = row * s.groups + group, column = group * s.n;
          g.mean = mean[at], g.rstd = rstd[at];
          const T* dt_g = dy + at * s.n;
          if (g.gate) {
            through_gate(g, s.n, f, f_grad, dt_g, out.dgate + row * s.gate_row + column, dt);
            dt_g = dt;
          }
          T* sums_g = slice_sums + (s.shared_weight ? 0 : column);
          through_norm(s, g, dt_g, dx_hat, out.dx + at * s.n, out.dweight ? sums_g : nullptr,
                       out.dbias ? sums_g + weights : nullptr);
        }
    });
  });
  if (out.dweight) add_slices(out.dweight, sums, 0, step, weights);
  if (out.dbias) add_slices(out.dbias, sums, weights, step, weights);
}

#define RETNET_GROUP_NORM(T)                                                                                \
  template void group_norm<T>(Cpu, const GroupNorm&, T*, T*, T*, const T*, const GroupNormTensors<T>&);     \
  template void group_norm_grad<T>(Cpu, const GroupNorm&, const GroupNormGradients<T>&, const T*, const T*, \
                                   const T*, const T*, const GroupNormTensors<T>&);
RETNET_GROUP_NORM(float)
RETNET_GROUP_NORM(double)

}  // namespace retnet::kernels
