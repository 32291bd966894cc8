// The product with packed weights, against its definition.

#include "kernels/decode.h"

#include <cmath>

#include "tests/support/test.h"

namespace retnet {
namespace {

using kernels::kTile;
using kernels::padded;

/// x W^T, added to `before`, in double, from the weights as they are stored.
template <class W>
double expected(const std::vector<accum_t<W>>& weight, const std::vector<accum_t<W>>& x, std::int64_t k,
                std::int64_t row, std::int64_t column, double before) {
  double sum = before;
  for (std::int64_t p = 0; p < k; ++p) {
    const auto stored = static_cast<double>(W(weight[static_cast<std::size_t>(column * k + p)]));
    sum += static_cast<double>(x[static_cast<std::size_t>(row * k + p)]) * stored;
  }
  return sum;
}

template <class W>
void check(std::int64_t rows, std::int64_t n, std::int64_t k, bool add, std::mt19937& random) {
  using A = accum_t<W>;
  std::uniform_real_distribution<A> uniform(-1, 1);
  const auto draw = [&](std::int64_t count) {
    std::vector<A> x(static_cast<std::size_t>(count));
    for (A& element : x) element = uniform(random);
    return x;
  };
  const std::vector<A> weight = draw(n * k), x = draw(rows * k), before = draw(rows * padded(n));
  std::vector<W> tiles(static_cast<std::size_t>(padded(n) * k));
  kernels::pack_tiles<W>(kernels::Cpu{}, tiles.data(), weight.data(), n, k);
  std::vector<A> y = before;
  kernels::tiled_product<W>(kernels::Cpu{}, y.data(), padded(n), x.data(), k, rows, tiles.data(),
                            kernels::tiles_of(n), k, add);
  const double tolerance = (std::is_same_v<A, double> ? 1e-15 : 4e-7) * static_cast<double>(k + 1);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < padded(n); ++j) {
      const auto at = static_cast<std::size_t>(i * padded(n) + j);
      const double start = add ? static_cast<double>(before[at]) : 0;
      const double wanted = j < n ? expected<W>(weight, x, k, i, j, start) : start;  // padding is zero
      INFO("rows " << rows << ", n " << n << ", k " << k << ", add " << add << ", at " << i << ", " << j);
      REQUIRE(std::abs(static_cast<double>(y[at]) - wanted) <= tolerance);
    }
}

}  // namespace

TEST_CASE("a product with packed weights equals its definition", "[kernels][decoder]") {
  std::mt19937 random(1);
  for (const std::int64_t rows : {1, 2, 3, 5, 7, 16, 17})
    for (const std::int64_t n : {1, 15, 16, 33, 130, 300})  // 1 to 19 tiles
      for (const std::int64_t k : {1, 2, 7, 33}) {
        const bool add = (n + k) % 2 == 0;
        check<float>(rows, n, k, add, random);
        check<double>(rows, n, k, add, random);
        check<bf16>(rows, n, k, add, random);
      }
}

TEST_CASE("packed weights of bf16 are rounded from float", "[kernels][decoder]") {
  const std::vector<float> weight{1.00390625F, -0.3F, 3e38F};  // the first lies between two values: to even
  std::vector<bf16> tiles(static_cast<std::size_t>(kTile) * 3);
  kernels::pack_tiles<bf16>(kernels::Cpu{}, tiles.data(), weight.data(), 1, 3);
  const float one = 1;
  for (int p = 0; p < 3; ++p) {
    std::vector<float> x(3, 0), y(static_cast<std::size_t>(kTile));
    x[static_cast<std::size_t>(p)] = one;
    kernels::tiled_product<bf16>(kernels::Cpu{}, y.data(), kTile, x.data(), 3, 1, tiles.data(), 1, 3, false);
    CHECK(y[0] == static_cast<float>(bf16(weight[static_cast<std::size_t>(p)])));
  }
}

}  // namespace retnet
