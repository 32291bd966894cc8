// Random numbers: the published answers of Philox4x32-10, distributions, independence and reproducibility.

#include "kernels/random.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/parallel.h"
#include "tensor/ops.h"
#include "tests/support/close.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

using kernels::Philox;
using Words = std::vector<std::uint32_t>;

Words words(RandomKey key, std::uint64_t block) {
  const Philox p(key, block);
  return {p.x[0], p.x[1], p.x[2], p.x[3]};
}

TEST_CASE("Philox4x32-10 gives the known answers of its authors", "[random]") {
  // Random123, kat_vectors: counter and key of zeros, of ones, and of the digits of pi.
  CHECK(words({0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words({~0ull, ~0ull}, ~0ull) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(words({0x299f31d0a4093822, 0x0370734413198a2e}, 0x85a308d3243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("number i of a stream is word i mod 4 of block i / 4", "[random]") {
  const RandomKey key{3, 9};
  for (std::uint64_t i = 0; i < 12; ++i) CHECK(kernels::random_bits(key, i) == words(key, i / 4)[i % 4]);
  CHECK(kernels::random_uniform(key, 5) == kernels::random_bits(key, 5) / 4294967296.0);
}

struct Moments {
  double mean = 0, variance = 0, skewness = 0, kurtosis = 0;
};

Moments moments(const std::vector<double>& x) {
  Moments m;
  const double n = static_cast<double>(x.size());
  for (const double v : x) m.mean += v / n;
  for (const double v : x) m.variance += (v - m.mean) * (v - m.mean) / n;
  for (const double v : x) {
    const double z = (v - m.mean) / std::sqrt(m.variance);
    m.skewness += z * z * z / n;
    m.kurtosis += z * z * z * z / n;
  }
  return m;
}

TEST_CASE("normal numbers have the moments and the tails of a normal distribution", "[random]") {
  const std::int64_t n = 1 << 20;
  // Five standard errors of each moment: 1/sqrt(n) times 1, sqrt 2, sqrt 6, sqrt 24.
  const double se = 5 / std::sqrt(static_cast<double>(n));
  for (const std::uint64_t stream : {0, 1, 2}) {
    const std::vector<double> x = rand_normal({n}, {42, stream}, 3, 2, Dtype::f64).to_vector<double>();
    const Moments m = moments(x);
    CHECK(std::abs(m.mean - 3) <= 2 * se);
    CHECK(std::abs(m.variance / 4 - 1) <= std::sqrt(2.0) * se);
    CHECK(std::abs(m.skewness) <= std::sqrt(6.0) * se);
    CHECK(std::abs(m.kurtosis - 3) <= std::sqrt(24.0) * se);
    for (const double limit : {0.5, 1.0, 2.0, 3.0, 4.0}) {
      const double p = std::erfc(limit / std::sqrt(2.0)), nd = static_cast<double>(n);
      const auto beyond =
          std::count_if(x.begin(), x.end(), [&](double v) { return std::abs(v - 3) > 2 * limit; });
      CAPTURE(limit);
      CHECK(std::abs(static_cast<double>(beyond) - nd * p) <= 5 * std::sqrt(nd * p * (1 - p)));
    }
  }
}

TEST_CASE("uniform numbers fill every cell of the square evenly", "[random]") {
  // Pairs of neighbours, 32 x 32 cells: chi squared has 1023 degrees of freedom, so 1023 +- 45.
  const std::int64_t n = 1 << 20;
  const std::vector<double> x = rand_uniform({n}, {7, 1}, 0, 1, Dtype::f64).to_vector<double>();
  std::vector<double> cells(1024, 0);
  for (std::size_t i = 0; i + 1 < x.size(); i += 2)
    cells[static_cast<std::size_t>(x[i] * 32) * 32 + static_cast<std::size_t>(x[i + 1] * 32)] += 1;
  const double expected = static_cast<double>(n) / 2 / 1024;
  double chi = 0;
  for (const double count : cells) chi += (count - expected) * (count - expected) / expected;
  CHECK(chi > 1023 - 5 * 45.2);
  CHECK(chi < 1023 + 5 * 45.2);
}

TEST_CASE("uniform numbers stay below the upper end, also after rounding", "[random]") {
  // Number 3 of this stream is 1 - 112 / 2^32, which rounds to 1 in float.
  const RandomKey key{0, 10475606};
  REQUIRE(kernels::random_bits(key, 3) == 0xffffff90);
  CHECK(rand_uniform({4}, key).at({3}) < 1);
  CHECK(rand_uniform({4}, key).at({3}) > 0.9999999);
  CHECK(rand_uniform({4}, key, -5, 5).at({3}) < 5);
  CHECK(rand_uniform({4}, key, 0, 1, Dtype::f64).at({3}) == 1 - 112 * 0x1p-32);
  CHECK(rand_uniform({3}, key, 2, 2).to_vector<double>() == std::vector<double>(3, 2));
  const std::vector<double> x = rand_uniform({100000}, {1, 1}, -2, 3).to_vector<double>();
  CHECK(*std::min_element(x.begin(), x.end()) >= -2);
  CHECK(*std::max_element(x.begin(), x.end()) < 3);
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum / static_cast<double>(x.size());
}

TEST_CASE("streams of different keys, and neighbours in one, are independent", "[random]") {
  const std::int64_t n = 1 << 18;
  const double bound = 5 / std::sqrt(static_cast<double>(n));
  const auto normals = [&](RandomKey key) {
    return rand_normal({n}, key, 0, 1, Dtype::f64).to_vector<double>();
  };
  const std::vector<double> x = normals({1, 1});
  for (const RandomKey key :
       {RandomKey{1, 2}, RandomKey{2, 1}, RandomKey{1, 1ull << 32}, RandomKey{1ull << 32, 1}})
    CHECK(std::abs(correlation(x, normals(key))) <= bound);
  CHECK(std::abs(correlation({x.begin(), x.end() - 1}, {x.begin() + 1, x.end()})) <= bound);
}

TEST_CASE("random tensors are prefixes of their stream, on any number of threads", "[random]") {
  const int before = kernels::num_threads();
  const RandomKey key{5, 6};
  const Tensor all = rand_normal({20000}, key), uniform = rand_uniform({20000}, key);
  const Tensor ones = Tensor::full({20000}, 1), kept = dropout(ones, 0.3, key);
  for (const int threads : {1, 2, 3, 8}) {
    kernels::set_num_threads(threads);
    CHECK(bit_difference(rand_normal({7, 1001}, key), reshape(slice(all, 0, 0, 7007), {7, 1001})) == "");
    CHECK(bit_difference(rand_uniform({9999}, key), slice(uniform, 0, 0, 9999)) == "");
    CHECK(bit_difference(dropout(ones, 0.3, key), kept) == "");
  }
  kernels::set_num_threads(before);
  CHECK(error(rand_normal({1000}, key, 0, 1, Dtype::f64), slice(all, 0, 0, 1000)) <= 1e-7);
}

TEST_CASE("dropout keeps the fraction it should, scaled, and its expectation", "[random]") {
  const std::int64_t n = 1 << 20;
  for (const double p : {0.0, 0.1, 0.5, 0.9}) {
    const std::vector<double> y = dropout(Tensor::full({n}, 2, Dtype::f64), p, {1, 2}).to_vector<double>();
    const auto zeros = static_cast<double>(std::count(y.begin(), y.end(), 0.0));
    const double nd = static_cast<double>(n);
    CAPTURE(p);
    CHECK(std::abs(zeros - nd * p) <= 5 * std::sqrt(nd * p * (1 - p)));
    const std::set<double> values(y.begin(), y.end());
    CHECK(std::abs(*values.rbegin() * (1 - p) / 2 - 1) <= 1e-15);
    CHECK(values.size() == (p == 0 ? 1 : 2));
  }
}

TEST_CASE("dropout keeps an element whose number is at least p, to the last bit", "[random]") {
  const double first = 0x6627e8d5 * 0x1p-32;  // number 0 of the stream of zeros, see the known answers
  const auto kept = [](double p) { return dropout(Tensor::full({1}, 1), p, {0, 0}).item() != 0; };
  CHECK(kept(first));
  CHECK(!kept(first + 0x1p-32));
  CHECK(!kept(first + 0x1p-40));
}

}  // namespace
}  // namespace retnet::test
