// Reductions: accuracy, order, ties and NaN; their values for every shape are in the operation table.

#include <cmath>
#include <limits>

#include "kernels/parallel.h"
#include "tensor/ops.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST_CASE("sums accumulate in double", "[reduce]") {
  // In float, 2^24 + 1 is 2^24 again: a sum of ones would stop there.
  const std::int64_t n = (1 << 24) + 1000;
  CHECK(sum(broadcast_to(Tensor::scalar(1), {n})).item() == static_cast<float>(n));
  // The large numbers cancel, and the small one between them must not be lost.
  const Tensor x = Tensor::from<float>({1e8f, 1, -1e8f, 1e8f, 1, -1e8f}, {2, 3});
  CHECK(sum(x).item() == 2);
  CHECK(sum(x, 1).to_vector<double>() == std::vector<double>{1, 1});
  CHECK(sum(transpose(x), 0).to_vector<double>() == std::vector<double>{1, 1});
  CHECK(sum_squares(Tensor::from<float>({1e4f, 1e-2f}, {2})) == 1e8 + static_cast<double>(1e-2f) * 1e-2f);
}

TEST_CASE("a sum of bf16 rounds once", "[reduce]") {
  // 1 + 256 x 2^-8 = 2, where adding in bf16 would stay at 1.
  std::vector<double> values(257, 0x1p-8);
  values[0] = 1;
  CHECK(sum(astype(Tensor::from(values, {257}), Dtype::bf16)).item() == 2);
}

TEST_CASE("sums of any length and position equal nested loops", "[reduce]") {
  // Around the sizes of lanes (16), slices (64) and blocks (4096).
  for (const std::int64_t n : {15, 16, 17, 63, 64, 65, 129, 4095, 4096, 4097, 8193})
    for (const std::int64_t inner : {1, 2, 17}) {
      const Tensor x = random({2, n, inner}, 1);
      const Array values = array_of(x);
      const Array expected = make_array({2, inner}, [&](const Index& i) {
        double total = 0;
        for (std::int64_t r = 0; r < n; ++r) total += element(values, {i[0], r, i[1]});
        return total;
      });
      CAPTURE(n, inner);
      CHECK(difference(sum(x, 1), expected, 1e-12) == "");
      CHECK(bit_difference(sum(select(x, 0, 0), 0), select(sum(x, 1), 0, 0)) == "");
    }
}

TEST_CASE("the largest is NaN if any element is", "[reduce]") {
  for (const std::size_t at : {0, 1, 2}) {
    std::vector<double> values{1, 5, 3};
    values[at] = kNaN;
    const Tensor x = Tensor::from(values, {3});
    CHECK(std::isnan(max(x, 0).item()));
    CHECK(std::isnan(max(unsqueeze(x, 1), 0).at({0})));
    CHECK(std::isnan(maximum(x, Tensor::scalar(9, Dtype::f64)).at({static_cast<std::int64_t>(at)})));
    CHECK(std::isnan(minimum(Tensor::scalar(9, Dtype::f64), x).at({static_cast<std::int64_t>(at)})));
    CHECK(std::isnan(relu(x).at({static_cast<std::int64_t>(at)})));
  }
  CHECK(max(Tensor::full({3}, -kInfinity), 0).item() == -kInfinity);
}

TEST_CASE("the first of equals is the largest one's index", "[reduce]") {
  const Tensor x = Tensor::from<double>({1, 3, 3, 3, 3, 1, 2, 2, 2}, {3, 3});
  CHECK(argmax(x).to_vector<double>() == std::vector<double>{1, 0, 0});
  CHECK(argmax(x).dtype() == Dtype::i32);
  CHECK(argmax(transpose(x)).to_vector<double>() == std::vector<double>{1, 0, 0});
}

TEST_CASE("sums over no elements are zero", "[reduce]") {
  set_poison(true);
  CHECK(sum(Tensor::zeros({0})).item() == 0);
  CHECK(sum(Tensor::zeros({3, 0}), 1).to_vector<double>() == std::vector<double>(3, 0));
  CHECK(sum(Tensor::zeros({0, 3}), 0, true).to_vector<double>() == std::vector<double>(3, 0));
  CHECK(sum(Tensor::zeros({2, 0, 3}), 1).to_vector<double>() == std::vector<double>(6, 0));
  CHECK(sum_squares(Tensor::zeros({0})) == 0);
  CHECK(matmul(Tensor::zeros({2, 3, 0}), Tensor::zeros({0, 2})).to_vector<double>() ==
        std::vector<double>(12, 0));
}

TEST_CASE("softmax and its relatives neither overflow nor vanish", "[reduce][rows]") {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
    const Tensor x = Tensor::full({2, 4}, 3e4, dtype), y = neg(x);
    CHECK(softmax(x).to_vector<double>() == std::vector<double>(8, 0.25));
    CHECK(softmax(y).to_vector<double>() == std::vector<double>(8, 0.25));
    CHECK(error(log_sum_exp(x), Tensor::full({2}, x.at({0, 0}) + std::log(4.0), Dtype::f64)) <= 4e-3);
    CHECK(log_sum_exp(Tensor::full({3}, -kInfinity, dtype)).item() == -kInfinity);
    CHECK(std::isnan(softmax(Tensor::from<double>({1, kNaN}, {2})).at({0})));
  }
  // A mean much larger than the spread: E[x^2] - mean^2 would have lost all digits.
  const Tensor x = Tensor::from<float>({10000.25f, 9999.75f, 10000.25f, 9999.75f}, {4});
  CHECK(error(normalize(x, 0).y, Tensor::from<float>({1, -1, 1, -1}, {4})) <= 1e-6);
}

TEST_CASE("a row's results do not depend on the other rows", "[reduce][rows]") {
  const Tensor x = random({37, 130}, 1, Layout::dense, Dtype::f32),
               w = random({130, 45}, 2, Layout::dense, Dtype::f32);
  for (const std::int64_t row : {0, 7, 36}) {
    const Tensor one = slice(x, 0, row, row + 1);
    CHECK(bit_difference(slice(softmax(x), 0, row, row + 1), softmax(one)) == "");
    CHECK(bit_difference(slice(normalize(x, 1e-5).y, 0, row, row + 1), normalize(one, 1e-5).y) == "");
    CHECK(bit_difference(slice(gelu(x), 0, row, row + 1), gelu(one)) == "");
    CHECK(bit_difference(slice(sum(x, 1, true), 0, row, row + 1), sum(one, 1, true)) == "");
  }
}

}  // namespace
}  // namespace retnet::test
