#include "kernels/adamw.h"

#include <cmath>

#include "kernels/parallel.h"

namespace retnet::kernels {

template <class T>
void adamw(Cpu, const AdamW& s, T* w, T* m, T* v, const T* gradient, std::int64_t n) {
  const T b1 = T(s.beta1), b2 = T(s.beta2), eps = T(s.eps), scale = T(s.gradient_scale);
  const T step_size = T(s.learning_rate / (1 - std::pow(s.beta1, double(s.step))));
  const T v_correction = T(1 / (1 - std::pow(s.beta2, double(s.step))));
  const T keep = T(1 - s.learning_rate * s.weight_decay);
  parallel_blocks(n, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient[i] * scale;
      m[i] = b1 * m[i] + (T(1) - b1) * g;
      v[i] = b2 * v[i] + (T(1) - b2) * g * g;
      w[i] = keep * w[i] - step_size * m[i] / (std::sqrt(v[i] * v_correction) + eps);
    }
  });
}

template void adamw<float>(Cpu, const AdamW&, float*, float*, float*, const float*, std::int64_t);
template void adamw<double>(Cpu, const AdamW&, double*, double*, double*, const double*, std::int64_t);

}  // namespace retnet::kernels
