#include <boost/context/fiber.hpp>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/emulated/hip_runtime.h"
#include "kernels/exec.h"
#include "kernels/parallel.h"

thread_local constinit dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace retnet::emulated {
namespace {

using boost::context::fiber;

enum class State { kReady, kWaitsForTeam, kWaitsForBlock, kEnded };

/// In which order goes on what may go on in any: forwards, backwards, or another at each block and barrier.
class Order {
 public:
  Order() {
    const char* wanted = std::getenv("RETNET_EMULATED_ORDER");
    const std::string name = wanted == nullptr ? "forward" : wanted;
    backward_ = name == "backward";
    if (backward_ || name == "forward") return;
    random_ = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    if (!random_)
      throw kernels::DeviceError("RETNET_EMULATED_ORDER: required forward, backward or a number, got " + name);
    generator_.seed(static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)));
  }

  /// That of a block.
  Order of(unsigned block) const {
    Order order = *this;
    if (random_) order.generator_.seed(order.generator_() + block);
    return order;
  }

  /// The numbers from 0, in this order.
  void arrange(std::vector<unsigned>& numbers) {
    std::iota(numbers.begin(), numbers.end(), 0u);
    if (backward_) std::reverse(numbers.begin(), numbers.end());
    if (random_) std::shuffle(numbers.begin(), numbers.end(), generator_);
  }

 private:
  bool backward_ = false, random_ = false;
  std::minstd_rand generator_;
};

/// The blocks that one thread of the CPU runs, one after another. A thread of the block runs until it waits;
/// then what it was about stays on a stack of its own, a fiber, and another goes on.
class Block {
 public:
  void run(const char* kernel, dim3 at, dim3 threads, Order order, const std::function<void()>& body) {
    const unsigned count = threads.x * threads.y * threads.z;
    body_ = &body;
    threads_ = threads;
    blockIdx = at;
    blockDim = threads;
    state_.assign(count, State::kReady);
    parked_.resize(count);
    published_.resize(count);
    order_.resize(count);
    order.arrange(order_);
    next_ = 0;
    while (next_ < count) begin_threads();
    while (release(kernel)) {
      order.arrange(order_);
      for (const unsigned t : order_)
        if (state_[t] == State::kReady) go_on(t);
    }
  }

  /// Parks the running thread.
  void wait(State why) {
    const unsigned me = running_;
    state_[me] = why;
    scheduler_ = std::move(scheduler_).resume();
  }

  const void* exchange(const void* mine, unsigned lane) {
    const unsigned me = running_;
    published_[me] = mine;
    wait(State::kWaitsForTeam);
    return published_[me ^ lane];
  }

 private:
  /// Runs threads that have not begun, on one fiber, until one of them waits or all have begun.
  void begin_threads() {
    fiber worker = idle_.empty() ? fiber([this](fiber&& scheduler) { return work(std::move(scheduler)); })
                                 : take_idle();
    resume(std::move(worker));
  }

  /// What a fiber does: all threads that nobody has begun, one after another; then it waits for another block.
  fiber work(fiber&& scheduler) {
    scheduler_ = std::move(scheduler);
    for (;;) {
      while (next_ < order_.size()) {
        const unsigned t = order_[next_++];
        enter(t);
        (*body_)();
        state_[running_] = State::kEnded;
      }
      scheduler_ = std::move(scheduler_).resume();
    }
  }

  void go_on(unsigned t) {
    enter(t);
    state_[t] = State::kReady;
    resume(std::move(parked_[t]));
  }

  /// Runs a fiber until the thread on it waits, and keeps it for that thread; or until nothing is left for it.
  void resume(fiber worker) {
    worker = std::move(worker).resume();
    if (state_[running_] == State::kEnded)
      idle_.push_back(std::move(worker));
    else
      parked_[running_] = std::move(worker);
  }

  fiber take_idle() {
    fiber worker = std::move(idle_.back());
    idle_.pop_back();
    return worker;
  }

  void enter(unsigned t) {
    running_ = t;
    threadIdx = dim3(t % threads_.x, t / threads_.x % threads_.y, t / (threads_.x * threads_.y));
  }

  /// Makes ready whoever waits for threads that are all there. False once all have ended.
  bool release(const char* kernel) {
    const auto count = static_cast<unsigned>(state_.size());
    bool some_ready = false;
    for (unsigned first = 0; first < count; first += kTeam) {
      const unsigned last = std::min(first + kTeam, count);
      some_ready |= release(first, last, State::kWaitsForTeam);
    }
    if (some_ready || release(0, count, State::kWaitsForBlock)) return true;
    const auto ended = std::count(state_.begin(), state_.end(), State::kEnded);
    if (ended == static_cast<std::ptrdiff_t>(count)) return false;
    throw kernels::DeviceError(std::string(kernel) + ": required barriers that every thread reaches, got " +
                               std::to_string(count - ended) + " of " + std::to_string(count) +
                               " threads waiting for others that do not come");
  }

  bool release(unsigned first, unsigned last, State waiting) {
    for (unsigned t = first; t < last; ++t)
      if (state_[t] != waiting) return false;
    std::fill(state_.begin() + first, state_.begin() + last, State::kReady);
    return first < last;
  }

  const std::function<void()>* body_ = nullptr;
  dim3 threads_;
  unsigned running_ = 0;
  std::size_t next_ = 0;  ///< of order_: the first that has not begun
  std::vector<unsigned> order_;
  std::vector<State> state_;
  std::vector<fiber> parked_, idle_;
  std::vector<const void*> published_;
  fiber scheduler_;
};

/// The calling thread's. Its fibers are kept: to make one takes longer than most blocks.
Block& block() {
  static thread_local Block mine;
  return mine;
}

}  // namespace

const void* exchange(const void* mine, unsigned lane) { return block().exchange(mine, lane); }

void meet_team() { block().wait(State::kWaitsForTeam); }

void check_configuration(const char* kernel, dim3 blocks, dim3 threads) {
  for (const dim3& size : {blocks, threads})
    if (size.x == 0 || size.y == 0 || size.z == 0)
      throw kernels::DeviceError(std::string(kernel) + ": required a launch of at least one thread, got " +
                                 std::to_string(blocks.x) + " x " + std::to_string(blocks.y) + " x " +
                                 std::to_string(blocks.z) + " blocks");
}

void run(const char* kernel, dim3 blocks, dim3 threads, const std::function<void()>& thread) {
  const auto count = static_cast<std::int64_t>(blocks.x) * blocks.y * blocks.z;
  const Order order;
  std::vector<unsigned> numbers(static_cast<std::size_t>(count));
  order.of(0).arrange(numbers);
  kernels::parallel_in_order(count, [&](std::int64_t i) {
    const unsigned b = numbers[static_cast<std::size_t>(i)];
    gridDim = blocks;
    const dim3 at(b % blocks.x, b / blocks.x % blocks.y, b / (blocks.x * blocks.y));
    block().run(kernel, at, threads, order.of(b), thread);
  });
}

}  // namespace retnet::emulated

void __syncthreads() { retnet::emulated::block().wait(retnet::emulated::State::kWaitsForBlock); }
