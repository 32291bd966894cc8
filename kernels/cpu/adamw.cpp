#include "kernels/adamw.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// What the settings come to at one step.
template <class T>
struct Factors {
  explicit Factors(const AdamW& s)
      : b1(T(s.beta1)),
        b2(T(s.beta2)),
        eps(T(s.eps)),
        gradient_scale(T(s.scale ? s.gradient_scale * *s.scale : s.gradient_scale)),
        step_size(T(s.learning_rate / (1 - std::pow(s.beta1, double(s.step))))),
        v_correction(T(1 / (1 - std::pow(s.beta2, double(s.step))))),
        keep(T(1 - s.learning_rate * s.weight_decay)) {}
  T b1, b2, eps, gradient_scale, step_size, v_correction, keep;
};

template <class T>
void update(const Factors<T> f, const AdamWParameter<T> p, std::int64_t begin, std::int64_t end) {
  const T keep = p.decays ? f.keep : T(1);
  for (std::int64_t i = begin; i < end; ++i) {
    const T g = p.gradient[i] * f.gradient_scale;
    const T m = f.b1 * p.m[i] + (T(1) - f.b1) * g;
    const T v = f.b2 * p.v[i] + (T(1) - f.b2) * g * g;
    p.w[i] = keep * p.w[i] - f.step_size * m / (std::sqrt(v * f.v_correction) + f.eps);
    p.m[i] = m, p.v[i] = v;
  }
}

}  // namespace

void clip_by_norm(Cpu, double* norm, double* scale, const double* squares, std::int64_t count, double clip) {
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += squares[i];
  *norm = std::sqrt(total);
  *scale = !std::isfinite(*norm) ? std::nan("") : clip > 0 && *norm > clip ? clip / *norm : 1;
}

template <class T>
void adamw(Cpu, const AdamW& s, const AdamWParameter<T>* parameters, std::int64_t count) {
  if (s.scale && !std::isfinite(*s.scale)) return;
  const Factors<T> factors(s);
  // Blocks of all parameters in one sequence: ends[i] is the number of the first block after parameter i.
  std::vector<std::int64_t> ends;
  std::int64_t blocks = 0;
  for (std::int64_t i = 0; i < count; ++i) ends.push_back(blocks += (parameters[i].n + kBlock - 1) / kBlock);
  parallel_for(blocks, 8 * kBlock, [&](std::int64_t block) {
    const auto i = std::upper_bound(ends.begin(), ends.end(), block) - ends.begin();
    const std::int64_t first = i == 0 ? 0 : ends[static_cast<std::size_t>(i - 1)];
    const std::int64_t begin = (block - first) * kBlock;
    update(factors, parameters[i], begin, std::min(parameters[i].n, begin + kBlock));
  });
}

template void adamw<float>(Cpu, const AdamW&, const AdamWParameter<float>*, std::int64_t);
template void adamw<double>(Cpu, const AdamW&, const AdamWParameter<double>*, std::int64_t);

}  // namespace retnet::kernels
