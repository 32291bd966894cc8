// The GPU that is emulated on the CPU: that its threads wait where a GPU's do, and that it shows what they do wrong.
#if defined(RETNET_GPU_EMULATED)

#include <array>
#include <cstdlib>
#include <set>

#include "kernels/emulated/hip_runtime.h"
#include "kernels/exec.h"
#include "tests/support/test.h"

namespace retnet::kernels::test {
namespace {

/// The orders in which threads go on, while it exists.
class WithOrder {
 public:
  explicit WithOrder(const char* order) {
    if (const char* before = std::getenv(kName)) before_ = before;
    setenv(kName, order, 1);
  }
  ~WithOrder() { before_.empty() ? unsetenv(kName) : setenv(kName, before_.c_str(), 1); }

 private:
  static constexpr const char* kName = "RETNET_EMULATED_ORDER";
  std::string before_;
};

constexpr std::array<const char*, 4> kOrders{"forward", "backward", "1", "2"};
constexpr int kThreads = 96, kBlocks = 5;

/// Each block adds up the numbers of its threads, as a tree; `barriers` says whether the threads wait for the
/// sums of the step before.
void add_up(int* sums, bool barriers) {
  __shared__ int values[128];
  const int t = static_cast<int>(threadIdx.x);
  values[t] = t < kThreads ? static_cast<int>(blockIdx.x) * 1000 + t : 0;
  if (t < 32) values[t + kThreads] = 0;
  for (int half = 64; half > 0; half /= 2) {
    if (barriers) __syncthreads();
    if (t < half) values[t] += values[t + half];
  }
  if (t == 0) sums[blockIdx.x] = values[0];
}

std::vector<int> sums_of_blocks(const char* order, bool barriers) {
  const WithOrder with(order);
  std::vector<int> sums(kBlocks);
  emulated::launch("add_up", kBlocks, kThreads, 0, nullptr, add_up, sums.data(), barriers);
  return sums;
}

void exchange_numbers(std::vector<int>* got) {
  const int t = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  int sum = t;
  for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor(sum, lane, 32);
  (*got)[static_cast<std::size_t>(t)] = sum;
}

void half_of_them_wait() {
  if (threadIdx.x < 16) __syncthreads();
}

}  // namespace

TEST_CASE("threads of an emulated block wait for each other, in every order", "[emulated]") {
  for (const char* order : kOrders) {
    const std::vector<int> sums = sums_of_blocks(order, true);
    for (int b = 0; b < kBlocks; ++b)
      CHECK(sums[static_cast<std::size_t>(b)] == kThreads * (1000 * b) + kThreads * (kThreads - 1) / 2);
  }
}

TEST_CASE("a forgotten barrier shows as results that depend on the order", "[emulated]") {
  std::set<std::vector<int>> results;
  for (const char* order : kOrders) results.insert(sums_of_blocks(order, false));
  CHECK(results.size() > 1);
}

TEST_CASE("teams of an emulated block exchange values", "[emulated]") {
  for (const char* order : kOrders) {
    const WithOrder with(order);
    std::vector<int> got(64);
    emulated::launch("exchange_numbers", 1, dim3(8, 8), 0, nullptr, exchange_numbers, &got);
    for (std::size_t t = 0; t < 64; ++t) CHECK(got[t] == (t < 32 ? 31 * 16 : 31 * 16 + 32 * 32));
  }
}

TEST_CASE("a barrier that some threads miss is an error that names the kernel", "[emulated][errors]") {
  CHECK_THROWS_WITH(
      emulated::launch("half_of_them_wait", 1, 64, 0, nullptr, half_of_them_wait),
      "half_of_them_wait: required barriers that every thread reaches, got 16 of 64 threads waiting "
      "for others that do not come");
}

TEST_CASE("an unknown order is an error", "[emulated][errors]") {
  CHECK_THROWS_WITH(sums_of_blocks("sideways", true),
                    "RETNET_EMULATED_ORDER: required forward, backward or a number, got sideways");
}

}  // namespace retnet::kernels::test

#endif
