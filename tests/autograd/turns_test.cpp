// Passes on several threads that add to the same gradients: the sums of one thread, and no pass waits
// forever.

#include "autograd/turns.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "autograd/functions.h"
#include "kernels/parallel.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr std::int64_t kPasses = 6;

/// A loss of two leaves that differs from pass to pass by orders of magnitude, so that the order of its
/// gradients' sum shows.
Variable loss_of(std::int64_t pass, const Variable& a, const Variable& b) {
  const Variable weights(mul(random({64}, 10 + static_cast<std::uint64_t>(pass)), pass % 2 ? 1e9 : 1.0));
  return sum(mul(mul(a, weights), tanh(b)));
}

Variable leaf(std::uint64_t seed) { return Variable(random({64}, seed), true); }

TEST_CASE("gradients of passes on many threads are summed in the order of the passes", "[autograd][turns]") {
  const Variable a = leaf(1), b = leaf(2), alone_a = leaf(1), alone_b = leaf(2);
  for (std::int64_t pass = 0; pass < kPasses; ++pass) backward(loss_of(pass, alone_a, alone_b));
  Turns turns(kPasses);
  std::vector<std::thread> threads;
  for (std::int64_t pass = kPasses - 1; pass >= 0; --pass)  // the last one arrives first
    threads.emplace_back([&, pass] {
      Turn turn(turns, pass);
      const Variable loss = loss_of(pass, a, b);
      std::this_thread::sleep_for(std::chrono::milliseconds(5 * (kPasses - pass)));
      if (pass % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      backward(loss, Tensor::full({}, 1, Dtype::f64), Graph::release, &turn);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(bit_difference(a.grad(), alone_a.grad()) == "");
  CHECK(bit_difference(b.grad(), alone_b.grad()) == "");

  const Variable backwards = leaf(1), other = leaf(2);
  for (std::int64_t pass = kPasses - 1; pass >= 0; --pass) backward(loss_of(pass, backwards, other));
  CHECK(bit_difference(backwards.grad(), alone_a.grad()) != "");  // else this test would show nothing
}

TEST_CASE("a pass that fails or does not reach a leaf holds up nobody", "[autograd][turns]") {
  const Variable a = leaf(1), b = leaf(2), alone = leaf(2);
  Turns turns(4);
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (std::int64_t pass = 3; pass >= 0; --pass)
    threads.emplace_back([&, pass] {
      try {
        Turn turn(turns, pass);
        std::this_thread::sleep_for(std::chrono::milliseconds(pass == 3 ? 0 : 20));
        if (pass == 0) throw std::runtime_error("no loss");
        const Variable loss = pass == 1 ? sum(a) : sum(mul(b, static_cast<double>(pass)));
        backward(loss, Tensor::full({}, 1, Dtype::f64), Graph::release, &turn);
      } catch (const std::runtime_error&) {
        ++failed;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 1);
  backward(sum(mul(alone, 2.0)));
  backward(sum(mul(alone, 3.0)));
  CHECK(bit_difference(b.grad(), alone.grad()) == "");
}

TEST_CASE("tasks run each once, and the first failure is thrown after all have ended", "[autograd][turns]") {
  std::vector<std::atomic<int>> runs(40);
  kernels::parallel_tasks(40, true, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
  for (const auto& count : runs) CHECK(count == 1);

  std::atomic<int> running{0};
  std::string message;
  try {
    kernels::parallel_tasks(40, true, [&](std::int64_t i) {
      ++running;
      std::this_thread::sleep_for(std::chrono::milliseconds(i == 0 ? 20 : 0));
      --running;
      if (i <= 1) throw std::runtime_error("task " + std::to_string(i));
    });
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  CHECK(message == "task 0");
  CHECK(running == 0);
}

TEST_CASE("loops inside tasks do not take other threads", "[autograd][turns]") {
  std::atomic<bool> alone{true};
  kernels::parallel_tasks(4 * kernels::num_threads(), true, [&](std::int64_t) {
    if (kernels::num_threads() != 1) alone = false;
    const std::thread::id here = std::this_thread::get_id();
    kernels::parallel_for(64, kernels::kParallelWork, [&](std::int64_t) {
      if (std::this_thread::get_id() != here) alone = false;
    });
  });
  CHECK(alone);
}

}  // namespace
}  // namespace retnet::test
