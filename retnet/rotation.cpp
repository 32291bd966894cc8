#include "retnet/rotation.h"

#include <cmath>
#include <tuple>

#include "autograd/functions.h"
#include "retnet/memo.h"

namespace retnet {

// [angles]
std::vector<double> rotation_angles(Rotation rule, std::int64_t dk) {
  std::vector<double> theta;
  if (rule == Rotation::none) return theta;
  const double pairs = static_cast<double>(dk) / 2;
  for (std::int64_t j = 0; j < dk / 2; ++j) {
    // Eq. (R1): the last angle is exactly 1/10000. With a single pair there is only the first, 1.
    const double exponent = rule == Rotation::rope ? static_cast<double>(j) / pairs
                            : dk > 2               ? static_cast<double>(j) / (pairs - 1)
                                                   : 0;
    theta.push_back(std::pow(10000.0, -exponent));
  }
  return theta;
}
// [angles]

namespace {

RotationTables make_tables(const std::vector<double>& theta, std::int64_t pos, std::int64_t n, Dtype dtype,
                           Device device) {
  std::vector<double> cosines, sines;
  cosines.reserve(theta.size() * static_cast<std::size_t>(n));
  sines.reserve(cosines.capacity());
  for (std::int64_t i = 0; i < n; ++i)
    for (const double angle : theta) {
      const double a = static_cast<double>(pos + i) * angle;
      cosines.push_back(std::cos(a));
      sines.push_back(std::sin(a));
    }
  const Shape shape{n, static_cast<std::int64_t>(theta.size())};
  const Dtype stored = dtype == Dtype::bf16 ? Dtype::f32 : dtype;
  return {astype(Tensor::from(cosines, shape), stored).to(device),
          astype(Tensor::from(sines, shape), stored).to(device)};
}

}  // namespace

RotationTables rotation_tables(const std::vector<double>& theta, std::int64_t pos, std::int64_t n,
                               Dtype dtype, Device device) {
  using Key = std::tuple<std::vector<double>, std::int64_t, std::int64_t, Dtype, Device>;
  thread_local Memo<Key, RotationTables> memo;
  return memo({theta, pos, n, dtype, device}, [&] { return make_tables(theta, pos, n, dtype, device); });
}

Variable rotate_positions(const Variable& x, const std::vector<double>& theta, std::int64_t pos) {
  if (theta.empty()) return x;
  const RotationTables tables = rotation_tables(theta, pos, x.dim(1), x.dtype(), x.device());
  return rotate(x, tables.cosines, tables.sines);  // Eq. (R1)
}

}  // namespace retnet
