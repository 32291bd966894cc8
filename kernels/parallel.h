/// @file
/// Loops over independent pieces of work, and sums whose value does not depend on how many threads computed
/// it.
///
/// Every loop here obeys one rule: the work is cut into pieces by the *problem*, never by the number of
/// threads, and no two pieces write to the same element. Then any number of threads gives the same bits.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

#include "kernels/thread_pool.h"

namespace retnet::kernels {

/// Fewer elementary operations than this are not worth waking other threads for (about 10 microseconds of
/// work).
inline constexpr std::int64_t kParallelWork = 32768;

/// What the threads of a parallel loop throw. No exception may leave the loop's region, where it would end
/// the program: the first one is kept, and thrown behind it.
class FirstError {
 public:
  template <class Work>
  void run(Work&& work) noexcept {
    try {
      work();
    } catch (...) {
      if (!taken_.test_and_set()) error_ = std::current_exception();
    }
  }
  /// After the region. @throws what was kept
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic_flag taken_ = ATOMIC_FLAG_INIT;
  std::exception_ptr error_;
};

/// Calls `body(i)` for i = 0 .. count-1, on several threads when `count * work` (elementary operations) is
/// large.
/// @throws what a call has thrown, when all of them are over
template <class Body>
void parallel_for(std::int64_t count, std::int64_t work, Body&& body) {
  if (count > 1 && count * work >= kParallelWork) {
    if (const auto threads = static_cast<int>(std::min<std::int64_t>(num_threads(), count)); threads > 1) {
      FirstError error;
      Shares shares(count, threads,
                    std::max<std::int64_t>(1, kParallelWork / 8 / std::max<std::int64_t>(1, work)));
      run_together(threads, [&](int rank) {
        for (std::int64_t begin, end; shares.take(rank, begin, end);)
          for (std::int64_t i = begin; i < end; ++i) error.run([&] { body(i); });
      });
      error.rethrow();
      return;
    }
  }
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// Calls `piece(i)` for i = 0 .. count-1 on all threads, which take them one by one in this order: a thread
/// that was interrupted takes fewer. After one that failed no more begin.
/// @throws what the first piece that failed has thrown, when none is running any more
template <class Piece>
void parallel_in_order(std::int64_t count, Piece&& piece) {
  const int threads = static_cast<int>(std::min<std::int64_t>(num_threads(), count));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < count; ++i) piece(i);
    return;
  }
  std::atomic<std::int64_t> next{0};
  std::int64_t failed = count;
  std::exception_ptr error;
  std::mutex mutex;
  run_together(threads, [&](int) {
    for (std::int64_t i = next++; i < count; i = next++) try {
        piece(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed) failed = i, error = std::current_exception();
        next = count;
      }
  });
  if (error) std::rethrow_exception(error);
}

/// Calls `task(i)` for i = 0 .. count-1, which begin in this order, side by side: each on one thread, with
/// all the loops inside it. Threads that are this far apart neither wait for each other nor share what is in
/// their caches. Too few tasks to keep all threads busy run one after the other, with all threads on each.
/// @param side_by_side  false: always one after the other, as a GPU with its one queue wants it
/// @throws what the first task that failed has thrown, when none is running any more
template <class Task>
void parallel_tasks(std::int64_t count, bool side_by_side, Task&& task) {
  const std::int64_t threads = num_threads(), rounds = (count + threads - 1) / threads;
  if (side_by_side && threads > 1 && 4 * count >= 3 * rounds * threads) return parallel_in_order(count, task);
  for (std::int64_t i = 0; i < count; ++i) task(i);
}

/// Elements that one piece of an elementwise loop or of a blocked sum covers.
inline constexpr std::int64_t kBlock = 4096;

/// Calls `body(begin, end)` over consecutive blocks of at most kBlock elements that cover 0 .. n-1.
template <class Body>
void parallel_blocks(std::int64_t n, Body&& body) {
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  parallel_for(blocks, kBlock, [&](std::int64_t b) { body(b * kBlock, std::min(n, (b + 1) * kBlock)); });
}

/// Sum of `partial(begin, end)` over the blocks of 0 .. n-1, added in index order: the same bits on any
/// number of threads, which an OpenMP reduction does not give. Accumulates in double.
template <class Partial>
double blocked_sum(std::int64_t n, Partial&& partial) {
  std::vector<double> sums(static_cast<std::size_t>((n + kBlock - 1) / kBlock));
  parallel_blocks(n, [&](std::int64_t begin, std::int64_t end) {
    sums[static_cast<std::size_t>(begin / kBlock)] = partial(begin, end);
  });
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

}  // namespace retnet::kernels
