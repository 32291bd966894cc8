// The matrix product: values against the definition, and the edges of its memory.

#include <iterator>
#include <limits>

#include "kernels/cpu/matmul_steps.h"
#include "kernels/parallel.h"
#include "tests/support/matmul_cases.h"

namespace retnet::kernels::test {
namespace {

TEST_CASE("matmul equals its definition for every size and transposition", "[matmul]") {
  const Index sizes[] = {1, 2, 7, 17, 31, 33, 64, 100, 257};
  std::mt19937 bits(7);
  const auto pick = [&] { return sizes[bits() % std::size(sizes)]; };
  for (int round = 0; round < 160; ++round) {
    Matmul s = product(pick(), pick(), pick(), round & 1, round & 2, round & 4 ? 3 : 0);
    s.accumulate = round & 8;
    check_all_types(s, a_extent(s), b_extent(s), c_extent(s));
  }
}

TEST_CASE("matmul of several slices and tiles equals its definition", "[matmul]") {
  for (const bool t : {false, true}) {
    Matmul s = product(300, 530, 700, t, t, 5);
    check_all_types(s, a_extent(s), b_extent(s), c_extent(s));
    s.accumulate = true;
    check_all_types(s, a_extent(s), b_extent(s), c_extent(s));
  }
}

TEST_CASE("matmul takes operands with no contiguous dimension", "[matmul]") {
  Matmul s = product(37, 41, 290);
  s.a_col = 2, s.a_row = 2 * 290 + 1;
  s.b_col = 3, s.b_row = 3 * 41 + 2;
  check_all_types(s, a_extent(s), b_extent(s), c_extent(s));
}

TEST_CASE("matmul repeats rows and columns whose step is 0", "[matmul]") {
  for (const Index size : {1, 7, 33, 70})
    for (const int which : {0, 1, 2, 3}) {
      Matmul s = product(size, size + 1, size + 2, which % 2 == 1, which >= 2);
      (which % 2 == 1 ? s.a_col : s.a_row) = 0;
      check_all_types(s, a_extent(s), b_extent(s), c_extent(s));
      (which % 2 == 1 ? s.a_col : s.a_row) = 1, s.a_col = 0;
      check_all_types(s, a_extent(s), b_extent(s), c_extent(s));
    }
}

TEST_CASE("matmul repeats an operand along a batch step of 0", "[matmul][batch]") {
  for (const bool repeat_b : {false, true}) {
    Matmul s = product(17, 33, 40, false, true);
    const Index A = a_extent(s), B = b_extent(s), C = c_extent(s);
    add_batch(s, 3, repeat_b ? 2 * A : 0, repeat_b ? 0 : 2 * B, 2 * C);
    add_batch(s, 2, A, B, C);
    check_all_types(s, 6 * A, 6 * B, 6 * C);
  }
}

TEST_CASE("matmul multiplies the heads of [B, T, H, D] where they lie", "[matmul][batch]") {
  const Index B = 3, T = 65, H = 4, D = 24;  // scores [B, H, T, T] = Q K^T, then scores V
  Matmul scores;
  scores.m = T, scores.n = T, scores.k = D;
  scores.a_row = H * D, scores.b_row = 1, scores.b_col = H * D, scores.c_row = T;
  add_batch(scores, B, T * H * D, T * H * D, H * T * T);
  add_batch(scores, H, D, D, T * T);
  check_all_types(scores, B * T * H * D, B * T * H * D, B * H * T * T);

  Matmul output;
  output.m = T, output.n = D, output.k = T;
  output.a_row = T, output.b_row = H * D, output.c_row = H * D;
  add_batch(output, B, H * T * T, T * H * D, T * H * D);
  add_batch(output, H, T * T, D, D);
  check_all_types(output, B * H * T * T, B * T * H * D, B * T * H * D);
}

TEST_CASE("matmul over k = 0 is zero, or leaves what it adds to", "[matmul]") {
  Matmul s = product(3, 5, 0, false, false, 2);
  const std::vector<float> before = random<float>(c_extent(s), 1);
  std::vector<float> c = before;
  s.accumulate = true;
  matmul<float>(Cpu{}, s, c.data(), nullptr, nullptr);
  CHECK(same_bits(c, before));
  s.accumulate = false;
  matmul<float>(Cpu{}, s, c.data(), nullptr, nullptr);
  for (Index i = 0; i < s.m; ++i)
    for (Index j = 0; j < s.c_row && i * s.c_row + j < c_extent(s); ++j) {
      const auto at = static_cast<std::size_t>(i * s.c_row + j);
      CHECK(c[at] == (j < s.n ? 0.0f : before[at]));
    }
}

TEST_CASE("an empty matmul touches nothing", "[matmul]") {
  Matmul empty_batch = product(2, 2, 2);
  add_batch(empty_batch, 0, 4, 4, 4);
  for (const Matmul& s : {product(0, 3, 4), product(3, 0, 4), product(0, 0, 0), empty_batch})
    matmul<float>(Cpu{}, s, nullptr, nullptr, nullptr);
}

/// The product with fresh operands, from one seed.
TEST_CASE("NaN and infinity reach their row or column of matmul and nothing else", "[matmul]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const bool t : {false, true})
    for (const Index m : {1, 15, 40})
      for (const Index n : {5, 33, 129})
        for (const float bad : {nan, inf}) {
          const Matmul s = product(m, n, 270, t, t);
          std::vector<float> a = random<float>(a_extent(s), 1), b = random<float>(b_extent(s), 2);
          const Index i = m - 1, j = n - 1;
          a[static_cast<std::size_t>(i * s.a_row + 268 * s.a_col)] = bad;
          b[static_cast<std::size_t>(3 * s.b_row + j * s.b_col)] = bad;
          const std::vector<float> c = multiply(s, a, b);
          bool exact = true;
          for (Index r = 0; r < m; ++r)
            for (Index q = 0; q < n; ++q)
              exact = exact && std::isfinite(c[static_cast<std::size_t>(r * n + q)]) == (r != i && q != j);
          CAPTURE(t, m, n, bad);
          CHECK(exact);
        }
}

TEST_CASE("matmul of bf16 rounds once, after all of k", "[matmul][bf16]") {
  // 1 + 1000 / 512 = 2.953125 needs all of its bits until the end: bf16 would stop growing at 2.
  const Index k = 1001;
  std::vector<bf16> a(static_cast<std::size_t>(k), bf16(1.0f / 512)),
      b(static_cast<std::size_t>(k), bf16(1.0f)), c(1);
  a[0] = bf16(1.0f);
  matmul(Cpu{}, product(1, 1, k), c.data(), a.data(), b.data());
  CHECK(static_cast<float>(c[0]) == static_cast<float>(bf16(1.0f + 1000.0f / 512)));
}

TEST_CASE("every step on the way to the fast matmul equals the definition", "[matmul][steps]") {
  for (const Index m : {1, 4, 7, 33})
    for (const Index n : {1, 16, 70, 131})
      for (const Index k : {1, 31, 256, 300}) {
        const Matmul s = product(m, n, k);
        const std::vector<float> a = random<float>(m * k, 1), b = random<float>(k * n, 2);
        std::vector<double> exact(static_cast<std::size_t>(m * n));
        matmul_naive(Cpu{}, s, exact.data(), widen(a).data(), widen(b).data());
        for (const auto step :
             {matmul_step_naive, matmul_step_blocked, matmul_step_packed, matmul_step_vectorised}) {
          std::vector<float> c = random<float>(m * n, 3);
          step(m, n, k, c.data(), a.data(), b.data());
          double worst = 0;
          for (std::size_t i = 0; i < c.size(); ++i)
            worst = std::max(worst, std::abs(static_cast<double>(c[i]) - exact[i]));
          CAPTURE(m, n, k);
          CHECK(worst <= 1e-6 * static_cast<double>(k));
        }
      }
}

}  // namespace
}  // namespace retnet::kernels::test
