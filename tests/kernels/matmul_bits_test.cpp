// The order of the sums of the matrix product, and so its bits: for any number of threads, in any part,
// layout and batch, and with epilogues.

#include <iterator>
#include <limits>

#include "kernels/parallel.h"
#include "tests/support/matmul_cases.h"

namespace retnet::kernels::test {
namespace {

template <class T>
void check_threads() {
  const int before = num_threads();
  for (const bool t : {false, true})
    for (const Matmul& s :
         {product(1, 900, 600, t, t), product(130, 70, 900, t, t), product(520, 600, 270, t, t)}) {
      const std::vector<T> a = random<T>(a_extent(s), 1), b = random<T>(b_extent(s), 2);
      set_num_threads(1);
      const std::vector<T> one = multiply(s, a, b);
      for (const int threads : {2, 3, 8}) {
        CAPTURE(sizeof(T), s.m, threads);
        set_num_threads(threads);
        CHECK(same_bits(multiply(s, a, b), one));
      }
    }
  set_num_threads(before);
}

TEST_CASE("matmul has the same bits for any number of threads", "[matmul][bits]") {
  check_threads<float>();
  check_threads<double>();
  check_threads<bf16>();
}

/// Rows of A alone, and columns of B alone, against the same rows and columns of the whole product.
template <class T>
void check_parts(bool ta, bool tb) {
  const Index m = 300, n = 333, k = 523;
  const Matmul whole = product(m, n, k, ta, tb);
  const std::vector<T> a = random<T>(m * k, 1), b = random<T>(k * n, 2), c = multiply(whole, a, b);
  for (const Index rows : {1, 2, 3, 5, 8, 13, 16, 29, 64, 211})
    for (const Index columns : {1, 15, 32, 47, 128, 270}) {
      const Index i = (rows * 7) % (m - rows + 1), j = (columns * 5) % (n - columns + 1);
      Matmul part = whole;
      part.m = rows, part.n = columns;
      std::vector<T> c_part(c.size());
      matmul(Cpu{}, part, c_part.data(), a.data() + i * whole.a_row, b.data() + j * whole.b_col);
      bool same = true;
      for (Index r = 0; r < rows; ++r)
        same = same && same_bits(&c_part[static_cast<std::size_t>(r * n)],
                                 &c[static_cast<std::size_t>((i + r) * n + j)], columns);
      CAPTURE(sizeof(T), ta, tb, rows, columns);
      CHECK(same);
    }
}

TEST_CASE("the bits of an element of matmul do not depend on m, n or its place", "[matmul][bits]") {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      check_parts<float>(ta, tb);
      check_parts<double>(ta, tb);
      check_parts<bf16>(ta, tb);
    }
}

/// C as matmul() leaves it, then `f(c, at, j)` for each element of it, at the precision of T.
template <class T, class F>
std::vector<T> then(const Matmul& s, std::vector<T> c, F f) {
  const Index count = s.batch_rank ? s.batch[0] : 1, step = s.batch_rank ? s.c_batch[0] : 0;
  for (Index b = 0; b < count; ++b)
    for (Index i = 0; i < s.m; ++i)
      for (Index j = 0; j < s.n; ++j) {
        const Index at = b * step + i * s.c_row + j;
        T& c_ij = c[static_cast<std::size_t>(at)];
        c_ij = static_cast<T>(f(static_cast<accum_t<T>>(c_ij), at, j));
      }
  return c;
}

template <class T>
void check_epilogues(const Matmul& s) {
  const Index batch = s.batch_rank ? s.batch[0] : 1, A = batch * a_extent(s), B = batch * b_extent(s),
              C = batch * c_extent(s);
  CAPTURE(sizeof(T), s.m, s.n, s.k, s.accumulate, batch);
  const std::vector<T> a = random<T>(A, 1), b = random<T>(B, 2), start = random<T>(C, 3);
  const std::vector<T> residual = random<T>(C, 4), bias = random<T>(s.n, 5);
  std::vector<T> plain = start;
  matmul(Cpu{}, s, plain.data(), a.data(), b.data());
  const auto fused = [&](const auto& epilogue) {
    std::vector<T> c = start;
    matmul(Cpu{}, s, c.data(), a.data(), b.data(), epilogue);
    return c;
  };
  const auto value = [](const std::vector<T>& x, Index i) {
    return static_cast<accum_t<T>>(x[static_cast<std::size_t>(i)]);
  };
  CHECK(same_bits(fused(NoEpilogue{}), plain));
  if constexpr (!std::is_same_v<T, bf16>) {  // where a separate pass would round twice
    CHECK(same_bits(fused(AddBias<T>{bias.data()}),
                    then(s, plain, [&](auto c, Index, Index j) { return c + value(bias, j); })));
    CHECK(same_bits(fused(AddResidual<T>{residual.data()}),
                    then(s, plain, [&](auto c, Index at, Index) { return c + value(residual, at); })));
  }
  const std::vector<T> gelu = then(s, plain, [](auto c, Index, Index) { return Gelu{}(c); });
  const std::vector<T> swish = then(s, plain, [](auto c, Index, Index) { return Swish{}(c); });
  CHECK(same_bits(fused(Activate<Gelu, T>{{}, nullptr}), gelu));
  CHECK(same_bits(fused(Activate<Swish, T>{{}, nullptr}), swish));
  std::vector<T> pre = start;
  CHECK(same_bits(fused(Activate<Gelu, T>{{}, pre.data()}), gelu));
  CHECK(same_bits(pre, plain));
  pre = start;
  CHECK(same_bits(fused(Activate<Swish, T>{{}, pre.data()}), swish));
  CHECK(same_bits(pre, plain));
}

TEST_CASE("an epilogue of matmul gives the bits of a pass after it", "[matmul][epilogue][bits]") {
  for (const bool accumulate : {false, true})
    for (const Index k : {0, 5, 256, 300, 700})
      for (Matmul s :
           {product(1, 70, k, false, true), product(7, 5, k), product(150, 600, k, true, true, 3)}) {
        s.accumulate = accumulate;
        check_epilogues<float>(s);
        check_epilogues<double>(s);
        check_epilogues<bf16>(s);
      }
  Matmul batched = product(9, 33, 290, false, true, 2);
  add_batch(batched, 5, a_extent(batched), b_extent(batched), c_extent(batched));
  check_epilogues<float>(batched);
  check_epilogues<bf16>(batched);
}

TEST_CASE("matmul of bf16 adds bias and residual before it rounds", "[matmul][epilogue][bf16]") {
  // 256 + 1 = 257 has 9 significant bits: alone it rounds to 256, and with 1 more to 258.
  const std::vector<bf16> a{bf16(256.0f), bf16(1.0f)}, b{bf16(1.0f), bf16(1.0f)}, one{bf16(1.0f)};
  std::vector<bf16> c(1);
  matmul(Cpu{}, product(1, 1, 2), c.data(), a.data(), b.data());
  CHECK(static_cast<float>(c[0]) == 256.0f);
  matmul(Cpu{}, product(1, 1, 2), c.data(), a.data(), b.data(), AddBias<bf16>{one.data()});
  CHECK(static_cast<float>(c[0]) == 258.0f);
  matmul(Cpu{}, product(1, 1, 2), c.data(), a.data(), b.data(), AddResidual<bf16>{one.data()});
  CHECK(static_cast<float>(c[0]) == 258.0f);
}

template <class T>
void check_serial() {
  for (const bool t : {false, true})
    for (Matmul s : {product(64, 64, 64, false, t), product(64, 128, 64, t, false), product(1, 33, 300, t, t),
                     product(300, 530, 270, t, t, 5), product(3, 3, 0)})
      for (const bool accumulate : {false, true}) {
        s.accumulate = accumulate;
        const std::vector<T> a = random<T>(a_extent(s), 1), b = random<T>(b_extent(s), 2);
        std::vector<T> c = random<T>(c_extent(s), 3), c_serial = c;
        matmul(Cpu{}, s, c.data(), a.data(), b.data());
        matmul_serial(Cpu{}, s, c_serial.data(), a.data(), b.data());
        CAPTURE(sizeof(T), s.m, s.n, s.k, t, accumulate);
        CHECK(same_bits(c_serial, c));
      }
}

TEST_CASE("matmul_serial has the bits of matmul", "[matmul][bits]") {
  check_serial<float>();
  check_serial<double>();
  check_serial<bf16>();
}

/// Whether this build fuses products and sums: (1 + e)^2 - 1 = 2e + e^2, of which e^2 is lost if the square
/// is rounded.
template <class A>
bool fuses() {
  const A e = std::is_same_v<A, float> ? A(0x1p-12) : A(0x1p-27);
  const std::vector<A> a{-1, 1 + e}, b{1, 1 + e};
  std::vector<A> c(1);
  matmul(Cpu{}, product(1, 1, 2), c.data(), a.data(), b.data());
  return c[0] != 2 * e;
}

/// Sums slice by slice, each one chain in increasing p: what every path must compute.
template <class A>
A chain(const Matmul& s, bool fused, const A* a, const A* b, Index i, Index j, A c) {
  for (Index first = 0; first < s.k; first += 256) {
    A sum = 0;
    for (Index p = first; p < std::min(s.k, first + 256); ++p) {
      const A a_ip = a[i * s.a_row + p * s.a_col], b_pj = b[p * s.b_row + j * s.b_col];
      sum = fused ? std::fma(a_ip, b_pj, sum) : a_ip * b_pj + sum;
    }
    c = first > 0 || s.accumulate ? c + sum : sum;
  }
  return c;
}

template <class A>
void check_chain() {
  for (const Index m : {1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 29, 100, 300})
    for (const Index n : {1, 15, 33, 64, 130, 600})
      for (int layout = 0; layout < 4; ++layout) {
        Matmul s = product(m, n, (m * 37 + n * 11) % 600 + 1, layout & 1, layout & 2);
        s.accumulate = (m + n) % 2;
        const std::vector<A> a = random<A>(a_extent(s), 1), b = random<A>(b_extent(s), 2);
        std::vector<A> c = random<A>(c_extent(s), 3), exact = c;
        const bool fused = fuses<A>();
        matmul(Cpu{}, s, c.data(), a.data(), b.data());
        for (Index i = 0; i < m; ++i)
          for (Index j = 0; j < n; ++j) {
            A& c_ij = exact[static_cast<std::size_t>(i * s.c_row + j)];
            c_ij = chain(s, fused, a.data(), b.data(), i, j, c_ij);
          }
        CAPTURE(sizeof(A), m, n, s.k, layout);
        CHECK(same_bits(c, exact));
      }
}

TEST_CASE("an element of matmul is one chain of products per slice of k", "[matmul][bits]") {
  check_chain<float>();
  check_chain<double>();
}

TEST_CASE("the bits of a matmul do not depend on its memory layout", "[matmul][bits]") {
  const Index m = 45, n = 77, k = 300;
  const std::vector<float> a = random<float>(m * k, 1), b = random<float>(k * n, 2);
  std::vector<float> a_t(a.size()), b_t(b.size());
  for (Index i = 0; i < m; ++i)
    for (Index p = 0; p < k; ++p)
      a_t[static_cast<std::size_t>(p * m + i)] = a[static_cast<std::size_t>(i * k + p)];
  for (Index p = 0; p < k; ++p)
    for (Index j = 0; j < n; ++j)
      b_t[static_cast<std::size_t>(j * k + p)] = b[static_cast<std::size_t>(p * n + j)];
  const std::vector<float> c = multiply(product(m, n, k), a, b);
  CHECK(same_bits(multiply(product(m, n, k, true, false), a_t, b), c));
  CHECK(same_bits(multiply(product(m, n, k, false, true), a, b_t), c));
  CHECK(same_bits(multiply(product(m, n, k, true, true), a_t, b_t), c));
}

TEST_CASE("the bits of a member of a batch are those of the product alone", "[matmul][bits][batch]") {
  for (const Index m : {1, 20, 70}) {
    const Matmul alone = product(m, 64, 32, false, true);
    const Index A = a_extent(alone), B = b_extent(alone), C = c_extent(alone), count = 50;
    Matmul s = alone;
    add_batch(s, count, A, B, C);
    const std::vector<float> a = random<float>(count * A, 1), b = random<float>(count * B, 2);
    std::vector<float> c(static_cast<std::size_t>(count * C)), c_alone(static_cast<std::size_t>(C));
    matmul(Cpu{}, s, c.data(), a.data(), b.data());
    for (const Index index : {Index{0}, Index{17}, count - 1}) {
      matmul(Cpu{}, alone, c_alone.data(), a.data() + index * A, b.data() + index * B);
      CHECK(same_bits(c_alone.data(), c.data() + index * C, C));
    }
  }
}

}  // namespace
}  // namespace retnet::kernels::test
