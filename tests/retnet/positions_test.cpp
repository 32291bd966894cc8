// Rotation, decays and their precision: R1, Eq. (8) and law 5.

#include <cmath>

#include "autograd/functions.h"
#include "retnet/decay.h"
#include "retnet/rotation.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {

TEST_CASE("R1: the first angle is 1, the last exactly 1e-4, the others between", "[eqR1]") {
  for (const std::int64_t dk : {4, 6, 32, 256}) {
    const std::vector<double> theta = rotation_angles(Rotation::linspace, dk);
    REQUIRE(static_cast<std::int64_t>(theta.size()) == dk / 2);
    CHECK(theta.front() == 1);
    CHECK(std::abs(theta.back() - 1e-4) < 1e-18);
    for (std::size_t j = 1; j < theta.size(); ++j) CHECK(theta[j] < theta[j - 1]);
  }
  CHECK(rotation_angles(Rotation::linspace, 2) == std::vector<double>{1});
  CHECK(rotation_angles(Rotation::none, 8).empty());
}

TEST_CASE("Rotary spacing ends before 1e-4", "[eqR1]") {
  const std::vector<double> theta = rotation_angles(Rotation::rope, 8);
  for (std::size_t j = 0; j < 4; ++j)
    CHECK(std::abs(theta[j] - std::pow(10000.0, -2.0 * static_cast<double>(j) / 8)) < 1e-16);
}

TEST_CASE("R1: a rotated pair is a complex number times e^(i n theta)", "[eqR1]") {
  const Tensor x = random({2, 3, 2, 6}, 1);
  const std::vector<double> theta = rotation_angles(Rotation::linspace, 6);
  const Tensor y = rotate_positions(Variable(x), theta, 41).value();
  const Array xs = array_of(x);
  const Array expected = make_array({2, 3, 2, 6}, [&](const Index& at) {
    const std::int64_t even = at[3] / 2 * 2;
    const double a = static_cast<double>(41 + at[1]) * theta[static_cast<std::size_t>(at[3] / 2)];
    const double re = element(xs, {at[0], at[1], at[2], even}),
                 im = element(xs, {at[0], at[1], at[2], even + 1});
    return at[3] % 2 == 0 ? re * std::cos(a) - im * std::sin(a) : re * std::sin(a) + im * std::cos(a);
  });
  CHECK(difference(y, expected, 1e-15) == "");
}

TEST_CASE("R1: the product of a rotated query and key depends on their distance alone", "[eqR1]") {
  const Variable q(random({1, 1, 1, 8}, 1)), k(random({1, 1, 1, 8}, 2));
  const std::vector<double> theta = rotation_angles(Rotation::linspace, 8);
  const auto score = [&](std::int64_t n, std::int64_t m) {
    return sum(mul(rotate_positions(q, theta, n), rotate_positions(k, theta, m))).value().item();
  };
  for (const std::int64_t shift : {1, 100, 100000})
    CHECK(std::abs(score(7 + shift, 3 + shift) - score(7, 3)) < 1e-9);
  CHECK(std::abs(score(7, 3) - score(7, 4)) > 1e-3);
}

TEST_CASE("Law 5: rotation tables at position 10^6 are exact to the last bit of f32", "[law5][eqR1]") {
  const std::vector<double> theta = rotation_angles(Rotation::linspace, 32);
  const RotationTables t32 = rotation_tables(theta, 1000000, 4, Dtype::f32);
  for (std::int64_t i = 0; i < 4; ++i)
    for (std::int64_t j = 0; j < 16; ++j) {
      const long double a = (1000000.0L + static_cast<long double>(i)) * theta[static_cast<std::size_t>(j)];
      CHECK(std::abs(t32.cosines.at({i, j}) - static_cast<double>(std::cos(a))) < 1.2e-7);
      CHECK(std::abs(t32.sines.at({i, j}) - static_cast<double>(std::sin(a))) < 1.2e-7);
    }
}

TEST_CASE("Eq. (8): decays by both rules", "[eq8]") {
  Config config;
  config.heads = 4;
  const std::vector<double> arange = decays(config);
  for (std::size_t h = 0; h < 4; ++h) CHECK(arange[h] == 1 - std::pow(2.0, -5.0 - static_cast<double>(h)));
  config.gamma = GammaRule::log_linspace;
  const std::vector<double> spaced = decays(config);
  CHECK(std::abs(spaced.front() - (1 - 1.0 / 32)) < 1e-15);
  CHECK(std::abs(spaced.back() - (1 - 1.0 / 512)) < 1e-15);
  const double ratio = (1 - spaced[1]) / (1 - spaced[0]);
  for (std::size_t h = 1; h < 4; ++h) CHECK(std::abs((1 - spaced[h]) / (1 - spaced[h - 1]) - ratio) < 1e-12);
  config.gammas = {0.1, 0.2, 0.3, 1};
  CHECK(decays(config) == config.gammas);
}

TEST_CASE("Law 5: decay tables are powers computed in f64, rounded once", "[law5][eq5][eq7]") {
  const std::vector<double> gamma{1 - 0x1p-5, 0.9999, 1};
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    const double ulp = dtype == Dtype::f32 ? 6e-8 : 2e-15;
    const DecayTables t = decay_tables(gamma, 33, dtype);
    for (std::int64_t h = 0; h < 3; ++h) {
      const auto power = [&](std::int64_t e) {
        return static_cast<double>(std::pow(static_cast<long double>(gamma[static_cast<std::size_t>(h)]),
                                            static_cast<long double>(e)));
      };
      for (std::int64_t n = 0; n < 33; ++n) {
        for (std::int64_t m = 0; m < 33; ++m)
          CHECK(std::abs(t.mask.at({h, n, m}) - (n >= m ? power(n - m) : 0)) <= ulp);
        CHECK(std::abs(t.from_state.at({h, n, 0}) - power(n + 1)) <= ulp);
        CHECK(std::abs(t.to_state.at({h, n, 0}) - power(32 - n)) <= ulp);
      }
      CHECK(std::abs(t.whole.at({h, 0, 0}) - power(33)) <= ulp);
    }
  }
}

TEST_CASE("R3: s is the row sum of the decay mask", "[eqR3]") {
  const std::vector<double> gamma{0.5, 1, 0.97};
  const auto s = decay_sums(gamma, {0, 0, 2}, 5);
  CHECK(s[0] == std::vector<double>{1, 1.5, 1.75, 1.875, 1.9375});
  CHECK(s[1] == std::vector<double>{1, 2, 3, 4, 5});
  CHECK(std::abs(s[2][0] - (0.97 * 2 + 1)) < 1e-15);
}

}  // namespace retnet::test
