// Tensors: creation, description, element access, and conversion between dtypes.

#include "tensor/tensor.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/ops.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr Dtype kDtypes[] = {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::i32};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("tensors are created with what they were asked for", "[tensor]") {
  for (const Dtype dtype : kDtypes) {
    CAPTURE(name(dtype));
    const Tensor x = Tensor::full({2, 3}, 3, dtype);
    CHECK(x.dtype() == dtype);
    CHECK(x.shape() == Shape{2, 3});
    CHECK(x.strides() == Strides{3, 1});
    CHECK(x.size() == 6);
    CHECK(x.is_contiguous());
    CHECK(x.to_vector<double>() == std::vector<double>(6, 3));
    CHECK(Tensor::zeros({4}, dtype).to_vector<double>() == std::vector<double>(4, 0));
    CHECK(Tensor::scalar(7, dtype).item() == 7);
    CHECK(Tensor::scalar(7, dtype).rank() == 0);
    CHECK(Tensor::arange(5, dtype).to_vector<double>() == std::vector<double>{0, 1, 2, 3, 4});
    CHECK(Tensor::empty({0, 3}, dtype).size() == 0);
    CHECK(Tensor::arange(0, dtype).shape() == Shape{0});
  }
  CHECK(Tensor::zeros({1}).dtype() == Dtype::f32);
}

TEST_CASE("tensors hold the values that they were made from", "[tensor]") {
  const Tensor x = Tensor::from<std::int32_t>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(x.dtype() == Dtype::i32);
  CHECK(x.at({0, 0}) == 1);
  CHECK(x.at({1, 0}) == 4);
  CHECK(x.at({1, 2}) == 6);
  CHECK(x.dim(0) == 2);
  CHECK(x.dim(-1) == 3);
  CHECK(Tensor::from<double>({0.1}, {}).item() == 0.1);
  CHECK(Tensor::from<float>({0.1f}, {1}).item() == 0.1f);
  CHECK(Tensor::from<bf16>({bf16(0.5f)}, {1}).item() == 0.5);
  CHECK(Tensor::from<float>({}, {0}).to_vector<float>().empty());
}

TEST_CASE("an undefined tensor stands for none", "[tensor]") {
  const Tensor none;
  CHECK(!none.defined());
  CHECK(none.size() == 0);
  CHECK(Tensor::zeros({0}).defined());
}

TEST_CASE("copies of a tensor share its numbers, clones do not", "[tensor]") {
  const Tensor x = Tensor::zeros({3}), same = x, other = clone(x);
  fill(x, 5);
  CHECK(same.at({1}) == 5);
  CHECK(other.at({1}) == 0);
}

TEST_CASE("elements are read in row-major order from any layout", "[tensor]") {
  set_poison(true);
  for (const Layout layout : kLayouts)
    for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
      const Tensor x = random({3, 4, 5}, 1, layout, dtype);
      const Array expected = array_of(x);
      CHECK(x.to_vector<double>() == expected.values);
      CHECK(x.at({2, 1, 3}) == expected.values[2 * 20 + 1 * 5 + 3]);
      CHECK(bit_difference(contiguous(x), x) == "");
      CHECK(contiguous(x).is_contiguous());
      CHECK((contiguous(x).storage() == x.storage()) == x.is_contiguous());
      CHECK(clone(x).storage() != x.storage());
    }
}

TEST_CASE("contiguous means dense in row-major order, whatever the strides of single elements", "[tensor]") {
  const StoragePtr storage = std::make_shared<Storage>(400, Device::cpu);
  const auto contiguous_as = [&](const Shape& shape, const Strides& strides) {
    return Tensor(storage, 2, shape, strides, Dtype::f32).is_contiguous();
  };
  CHECK(contiguous_as({2, 3}, {3, 1}));
  CHECK(contiguous_as({2, 1, 3}, {3, 99, 1}));
  CHECK(contiguous_as({1, 1}, {7, 9}));
  CHECK(contiguous_as({}, {}));
  CHECK(contiguous_as({0, 5}, {1, 2}));
  CHECK(!contiguous_as({2, 3}, {1, 2}));
  CHECK(!contiguous_as({2, 3}, {6, 2}));
  CHECK(!contiguous_as({2, 3}, {0, 1}));
  CHECK(!contiguous_as({3}, {2}));
}

/// The nearest of the 2^16 numbers of bf16, ties to the even one, by comparing distances and not bits.
double nearest_bf16(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  const std::uint32_t low = bits & 0xffff0000u, high = low + 0x10000u;
  float below = 0, above = 0;
  std::memcpy(&below, &low, sizeof below);
  std::memcpy(&above, &high, sizeof above);
  // Where the next number is infinity, it stands for 2^128.
  const double next = std::isinf(above) ? std::copysign(0x1p128, x) : static_cast<double>(above);
  const double down = std::abs(static_cast<double>(x) - below), up = std::abs(next - static_cast<double>(x));
  if (down == up) return low & 0x10000u ? above : below;
  return down < up ? below : above;
}

TEST_CASE("all 65536 bf16 patterns survive a trip through float and double", "[tensor][bf16]") {
  std::vector<bf16> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  const Tensor x = Tensor::from(all, {65536});
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    const std::vector<bf16> back = astype(astype(x, dtype), Dtype::bf16).to_vector<bf16>();
    for (std::size_t i = 0; i < all.size(); ++i) {
      // A signalling NaN (the quiet bit 0x40 clear) becomes the quiet one of the same payload.
      const bool nan = (i & 0x7f80) == 0x7f80 && (i & 0x7f) != 0;
      if (back[i].bits != (nan ? i | 0x40 : i)) FAIL_CHECK("pattern " << i << " became " << back[i].bits);
    }
  }
}

TEST_CASE("floats round to the nearest bf16, ties to even", "[tensor][bf16]") {
  std::mt19937 bits(3);
  std::vector<float> values;
  for (int i = 0; i < 200000; ++i) {
    // Random patterns, and those at and beside the middle between two neighbours, of every exponent.
    const auto u = static_cast<std::uint32_t>(bits());
    for (const std::uint32_t pattern :
         {u, (u & 0xffff0000u) | 0x8000u, (u & 0xffff0000u) | 0x7fffu, (u & 0xffff0000u) | 0x8001u}) {
      float x = 0;
      std::memcpy(&x, &pattern, sizeof x);
      if (std::isfinite(x)) values.push_back(x);
    }
  }
  const auto n = static_cast<std::int64_t>(values.size());
  const std::vector<double> rounded = astype(Tensor::from(values, {n}), Dtype::bf16).to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (rounded[i] != nearest_bf16(values[i])) FAIL_CHECK(values[i] << " became " << rounded[i]);
  const auto round = [](double x) { return Tensor::scalar(x, Dtype::bf16).item(); };
  CHECK(round(1 + 0x1p-8) == 1);               // a tie goes down to even
  CHECK(round(1 + 3 * 0x1p-8) == 1 + 0x1p-6);  // a tie goes up to even
  CHECK(round(3.4e38) == kInfinity);
  CHECK(round(-3.4e38) == -kInfinity);
  CHECK(std::signbit(round(-0.0)));
  CHECK(std::isnan(round(kNaN)));
}

TEST_CASE("conversions keep NaN, infinities and exact values", "[tensor]") {
  const Tensor x = Tensor::from<double>({kNaN, kInfinity, -kInfinity, -0.0, 1.5, -2}, {6});
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::f64}) {
    const std::vector<double> y = astype(x, dtype).to_vector<double>();
    CHECK(std::isnan(y[0]));
    CHECK(y[1] == kInfinity);
    CHECK(y[2] == -kInfinity);
    CHECK((y[3] == 0 && std::signbit(y[3])));
    CHECK(y[4] == 1.5);
    CHECK(y[5] == -2);
  }
  CHECK(astype(x, Dtype::f64).storage() == x.storage());
  CHECK(astype(Tensor::scalar(16777217, Dtype::i32), Dtype::f64).item() == 16777217);
  CHECK(astype(Tensor::scalar(16777217, Dtype::i32), Dtype::f32).item() == 16777216);
  CHECK(astype(Tensor::from<double>({-1.9, 1.9}, {2}), Dtype::i32).to_vector<double>() ==
        std::vector<double>{-1, 1});
  CHECK(Tensor::scalar(1e-50, Dtype::f32).item() == 0);
}

}  // namespace
}  // namespace retnet::test
