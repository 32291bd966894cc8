#include "retnet/decay.h"

#include <cmath>
#include <tuple>

#include "retnet/memo.h"
#include "tensor/ops.h"

namespace retnet {

// [decays]
std::vector<double> decays(const Config& config) {
  if (!config.gammas.empty()) return config.gammas;
  std::vector<double> gamma;
  for (std::int64_t h = 0; h < config.heads; ++h) {
    if (config.gamma == GammaRule::arange) {
      gamma.push_back(1 - std::exp2(-5.0 - static_cast<double>(h)));  // Eq. (8)
    } else {
      const double step =
          config.heads > 1 ? static_cast<double>(h) / static_cast<double>(config.heads - 1) : 0;
      gamma.push_back(1 - std::exp(std::log(1.0 / 32) + step * (std::log(1.0 / 512) - std::log(1.0 / 32))));
    }
  }
  return gamma;
}
// [decays]

DecayTables decay_tables(const std::vector<double>& gamma, std::int64_t n, Dtype dtype, Device device) {
  const auto heads = static_cast<std::int64_t>(gamma.size());
  std::vector<double> mask(static_cast<std::size_t>(heads * n * n), 0.0);
  std::vector<double> from_state, to_state, whole;
  for (std::int64_t h = 0; h < heads; ++h) {
    // [powers]
    std::vector<double> power(static_cast<std::size_t>(n + 1));  // gamma^0 .. gamma^n
    for (std::int64_t i = 0; i <= n; ++i)
      power[static_cast<std::size_t>(i)] =
          std::pow(gamma[static_cast<std::size_t>(h)], static_cast<double>(i));
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t m = 0; m <= i; ++m)
        mask[static_cast<std::size_t>((h * n + i) * n + m)] = power[static_cast<std::size_t>(i - m)];
      from_state.push_back(power[static_cast<std::size_t>(i + 1)]);
      to_state.push_back(power[static_cast<std::size_t>(n - 1 - i)]);
    }
    whole.push_back(power.back());
    // [powers]
  }
  const auto table = [&](const std::vector<double>& values, const Shape& shape) {
    return astype(Tensor::from(values, shape), dtype).to(device);
  };
  return {table(mask, {heads, n, n}), table(from_state, {heads, n, 1}), table(to_state, {heads, n, 1}),
          table(whole, {heads, 1, 1})};
}

namespace {

Tensor make_powers(const std::vector<double>& gamma, std::int64_t n, Dtype dtype, Device device) {
  std::vector<double> powers;
  for (const double gamma_h : gamma)
    for (std::int64_t i = 0; i <= n; ++i) powers.push_back(std::pow(gamma_h, static_cast<double>(i)));
  const Shape shape{static_cast<std::int64_t>(gamma.size()), n + 1};
  return astype(Tensor::from(powers, shape), dtype).to(device);
}

}  // namespace

Tensor decay_powers(const std::vector<double>& gamma, std::int64_t n, Dtype dtype, Device device) {
  if (device == Device::cpu) return make_powers(gamma, n, dtype, device);
  // To copy the table to a GPU takes longer than to compute it.
  using Key = std::tuple<std::vector<double>, std::int64_t, Dtype, Device>;
  thread_local Memo<Key, Tensor> memo;
  return memo({gamma, n, dtype, device}, [&] { return make_powers(gamma, n, dtype, device); });
}

std::vector<std::vector<double>> decay_sums(const std::vector<double>& gamma,
                                            const std::vector<double>& start, std::int64_t n) {
  std::vector<std::vector<double>> sums;
  for (std::size_t h = 0; h < gamma.size(); ++h) {
    double s = start[h];
    std::vector<double>& head = sums.emplace_back();
    for (std::int64_t i = 0; i < n; ++i) head.push_back(s = gamma[h] * s + 1);  // Eq. (R3)
  }
  return sums;
}

}  // namespace retnet
