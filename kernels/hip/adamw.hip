#include "kernels/adamw.h"

#include <cmath>

#include "kernels/bf16.h"
#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

/// Elements of a parameter that one block updates.
constexpr std::int64_t kSlice = 1024;

/// What the settings come to at one step.
template <class T>
struct Factors {
  explicit Factors(const AdamW& s) : b1(T(s.beta1)), b2(T(s.beta2)), eps(T(s.eps)) { set(rates_of(s)); }
  RN_HD void set(const AdamWRates& rates) {
    step_size = T(rates.step_size), v_correction = T(rates.v_correction), keep = T(rates.keep);
  }
  T b1, b2, eps, step_size, v_correction, keep;
};

/// One parameter, and the number of the first block after its own.
template <class T>
struct Share {
  AdamWParameter<T> parameter;
  std::int64_t end = 0;
};

template <class T>
__global__ void adamw_kernel(Factors<T> f, double gradient_scale, const double* scale,
                             const AdamWRates* rates, const Share<T>* shares, std::int64_t parameters) {
  if (rates) f.set(*rates);
  if (scale) gradient_scale *= *scale;
  if (!isfinite(gradient_scale)) return;
  const Share<T>* const own = share_of(shares, parameters, blockIdx.x);
  const AdamWParameter<T> p = own->parameter;
  const std::int64_t begin = (blockIdx.x - (own == shares ? 0 : own[-1].end)) * kSlice;
  const std::int64_t end = p.n < begin + kSlice ? p.n : begin + kSlice;
  const T keep = p.decays ? f.keep : T(1);
  for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const T g = p.gradient[i] * T(gradient_scale);
    const T m = f.b1 * p.m[i] + (T(1) - f.b1) * g;
    const T v = f.b2 * p.v[i] + (T(1) - f.b2) * g * g;
    p.w[i] = keep * p.w[i] - f.step_size * m / (::sqrt(v * f.v_correction) + f.eps);
    p.m[i] = m, p.v[i] = v;
  }
}

/// One thread: the squares are one number a parameter.
__global__ void clip_kernel(double* norm, double* scale, const double* squares, std::int64_t count,
                            double clip) {
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += squares[i];
  *norm = ::sqrt(total);
  *scale = !isfinite(*norm) ? NAN : clip > 0 && *norm > clip ? clip / *norm : 1;
}

}  // namespace

void clip_by_norm(Hip hip, double* norm, double* scale, const double* squares, std::int64_t count,
                  double clip) {
  clip_kernel<<<1, 1, 0, stream_of(hip)>>>(norm, scale, squares, count, clip);
  check_launch("clip_by_norm");
}

template <class T>
void adamw(Hip hip, const AdamW& s, const AdamWParameter<T>* parameters, std::int64_t count) {
  std::vector<Share<T>> shares;
  std::int64_t blocks = 0;
  for (std::int64_t i = 0; i < count; ++i)
    shares.push_back({parameters[i], blocks += (parameters[i].n + kSlice - 1) / kSlice});
  if (blocks == 0) return;
  const ListOnDevice<Share<T>> list(hip, shares);
  adamw_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream_of(hip)>>>(
      Factors<T>(s), s.gradient_scale, s.scale, s.rates, list.data(), count);
  check_launch("adamw");
}

template void adamw<float>(Hip, const AdamW&, const AdamWParameter<float>*, std::int64_t);
template void adamw<double>(Hip, const AdamW&, const AdamWParameter<double>*, std::int64_t);

}  // namespace retnet::kernels
