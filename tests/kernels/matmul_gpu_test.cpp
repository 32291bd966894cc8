// The GPU's matrix products below the tensors: gaps, accumulation, epilogues, and the two steps before the
// fast one.

#include <iterator>
#include <tuple>
#include <type_traits>

#include "tensor/ops.h"
#include "tests/support/close.h"
#include "tests/support/gpu.h"
#include "tests/support/matmul_cases.h"

namespace retnet::kernels::test {
namespace {

using retnet::test::bit_difference;
using retnet::test::normalized_square_error;

template <class T>
constexpr double kAllowed = std::is_same_v<T, double>  ? 1e-20
                            : std::is_same_v<T, float> ? 1e-7
                                                       : 1e-4;

template <class T>
Tensor tensor(const std::vector<T>& x, Device device = Device::hip) {
  return Tensor::from(x, {static_cast<Index>(x.size())}).to(device);
}

/// C as `multiply(exec, s, c, a, b)` leaves it on a device.
template <class T, class Multiply>
Tensor result(Device device, const Matmul& s, Index a_size, Index b_size, Index c_size, Multiply multiply) {
  const Tensor c = tensor(random<T>(c_size, 1), device), a = tensor(random<T>(a_size, 2), device),
               b = tensor(random<T>(b_size, 3), device);
  const Tensor filled = clone(c);
  on_device("matmul", device, [&](auto exec) {
    multiply(exec, s, filled.template data<T>(), static_cast<const T*>(a.template data<T>()),
             static_cast<const T*>(b.template data<T>()));
  });
  return filled;
}

template <class T>
void check_all_steps(const Matmul& s, Index a_size, Index b_size, Index c_size) {
  CAPTURE(sizeof(T), s.m, s.n, s.k, s.a_row, s.a_col, s.b_row, s.b_col, s.c_row, s.batch_rank, s.accumulate);
  const auto naive = [](auto exec, auto... rest) { matmul_naive(exec, rest...); };
  const auto tiled = [](auto exec, auto... rest) {
    if constexpr (std::is_same_v<decltype(exec), Hip>) matmul_tiled(exec, rest...);
  };
  const auto fast = [](auto exec, auto... rest) { matmul(exec, rest...); };
  const Tensor expected = result<T>(Device::cpu, s, a_size, b_size, c_size, naive);
  CHECK(normalized_square_error(result<T>(Device::hip, s, a_size, b_size, c_size, naive), expected) <=
        kAllowed<T>);
  CHECK(normalized_square_error(result<T>(Device::hip, s, a_size, b_size, c_size, tiled), expected) <=
        kAllowed<T>);
  CHECK(normalized_square_error(result<T>(Device::hip, s, a_size, b_size, c_size, fast), expected) <=
        kAllowed<T>);
}

void check_all(const Matmul& s, Index a_size, Index b_size, Index c_size) {
  check_all_steps<float>(s, a_size, b_size, c_size);
  check_all_steps<double>(s, a_size, b_size, c_size);
  check_all_steps<bf16>(s, a_size, b_size, c_size);
}

TEST_CASE("every step of the GPU's product equals the definition, with gaps and accumulation",
          "[gpu][matmul]") {
  RETNET_NEEDS_GPU();
  const Index sizes[] = {1, 2, 7, 33, 63, 64, 100, 257, 1000};
  std::mt19937 bits(7);
  const auto pick = [&] { return sizes[bits() % std::size(sizes)]; };
  for (int round = 0; round < 64; ++round) {
    Matmul s = product(pick(), pick(), pick(), round & 1, round & 2, round & 4 ? 3 : 0);
    s.accumulate = round & 8;
    check_all(s, a_extent(s), b_extent(s), c_extent(s));
  }
}

TEST_CASE("a few rows times a weight equal the definition", "[gpu][matmul]") {
  RETNET_NEEDS_GPU();
  for (const Index m : {1, 2, 4, 5, 16, 17})
    for (const auto& [n, k] :
         {std::pair<Index, Index>{1, 1}, {7, 33}, {64, 128}, {20, 300}, {130, 516}, {33, 3000}})
      DYNAMIC_SECTION(m << " x " << k << ", " << k << " x " << n) {
        for (const Index gap : {0, 3, 4}) {
          Matmul s = product(m, n, k, false, true, gap);
          s.accumulate = m % 2;
          check_all(s, a_extent(s), b_extent(s), c_extent(s));
        }
      }
}

TEST_CASE("a row times a weight has the same bits alone and beside fifteen others", "[gpu][matmul]") {
  RETNET_NEEDS_GPU();
  const Index n = 70, k = 1000;
  const Matmul one = product(1, n, k, false, true);
  for (const Index m : {2, 4, 7, 16}) {
    const Matmul all = product(m, n, k, false, true);
    const auto multiply = [](auto exec, auto... rest) { matmul(exec, rest...); };
    const Tensor together = result<float>(Device::hip, all, m * k, n * k, m * n, multiply);
    for (Index row = 0; row < m; ++row) {
      const auto multiply_row = [&](auto exec, const Matmul& s, float* c, const float* a, const float* b) {
        matmul(exec, s, c, a + row * k, b);
      };
      const Tensor alone = result<float>(Device::hip, one, m * k, n * k, n, multiply_row);
      INFO("row " << row << " of " << m);
      CHECK(bit_difference(alone, slice(together, 0, row * n, (row + 1) * n)) == "");
    }
  }
}

TEST_CASE("the GPU's product repeats an operand along a batch step of 0", "[gpu][matmul]") {
  RETNET_NEEDS_GPU();
  for (const bool repeat_b : {false, true}) {
    Matmul s = product(17, 33, 40, false, true);
    const Index A = a_extent(s), B = b_extent(s), C = c_extent(s);
    add_batch(s, 3, repeat_b ? 2 * A : 0, repeat_b ? 0 : 2 * B, 2 * C);
    add_batch(s, 2, A, B, C);
    check_all(s, 6 * A, 6 * B, 6 * C);
  }
}

/// C, and Z where the epilogue keeps it, on a device; `make(extra)` gives the epilogue its operand.
template <class T, class Make>
std::vector<Tensor> with_epilogue(Device device, const Matmul& s, Make make) {
  const Tensor extra = tensor(random<T>(c_extent(s), 4), device);
  const auto epilogue = make(extra.template data<T>());
  return {result<T>(device, s, a_extent(s), b_extent(s), c_extent(s),
                    [&](auto exec, auto... rest) { matmul(exec, rest..., epilogue); }),
          extra};
}

template <class T>
void check_epilogues(const Matmul& s) {
  const auto check = [&](const char* name, auto make) {
    CAPTURE(name, sizeof(T), s.m, s.n, s.k);
    const std::vector<Tensor> expected = with_epilogue<T>(Device::cpu, s, make),
                              there = with_epilogue<T>(Device::hip, s, make);
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(normalized_square_error(there[i], expected[i]) <= kAllowed<T>);
  };
  check("bias", [](T* extra) { return AddBias<T>{extra}; });
  check("residual", [](T* extra) { return AddResidual<T>{extra}; });
  check("gelu", [](T* extra) { return Activate<Gelu, T>{{}, extra}; });
  check("swish", [](T* extra) { return Activate<Swish, T>{{}, extra}; });
}

TEST_CASE("the GPU's product applies every epilogue", "[gpu][matmul]") {
  RETNET_NEEDS_GPU();
  for (const auto& [m, n, k] :
       {std::tuple<Index, Index, Index>{33, 70, 257}, {1, 256, 128}, {300, 130, 64}}) {
    check_epilogues<float>(product(m, n, k));
    check_epilogues<double>(product(m, n, k));
    check_epilogues<bf16>(product(m, n, k));
  }
  for (const Index m : {1, 3, 16}) {
    check_epilogues<float>(product(m, 70, 257, false, true));
    check_epilogues<double>(product(m, 70, 257, false, true));
    check_epilogues<bf16>(product(m, 70, 257, false, true));
  }
}

}  // namespace
}  // namespace retnet::kernels::test
