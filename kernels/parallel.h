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
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace retnet::kernels {

/// Number of threads a parallel loop that begins here may use: 1 within another one, and without OpenMP.
inline int num_threads() {
#if defined(_OPENMP)
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

/// Sets the number of threads, n >= 1. Without OpenMP there is only one, and this does nothing.
inline void set_num_threads([[maybe_unused]] int n) {
#if defined(_OPENMP)
  omp_set_num_threads(n);
#endif
}

/// Fewer elementary operations than this are not worth waking other threads for (about 10 microseconds of
/// work).
inline constexpr std::int64_t kParallelWork = 32768;

/// Lets the threads go that wait for the next loop, which makes new ones. A process that is forked while they
/// wait has a copy of the calling thread only, and its first loop would wait for the others for ever.
inline void release_threads() {
#if defined(_OPENMP)
  omp_pause_resource_all(omp_pause_hard);
#endif
}

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
void parallel_for(std::int64_t count, [[maybe_unused]] std::int64_t work, Body&& body) {
#if defined(_OPENMP)
  // Even a parallel region that turns out to need one thread costs a microsecond, as much as a small loop.
  if (count > 1 && count * work >= kParallelWork && num_threads() > 1) {
    FirstError error;
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < count; ++i) error.run([&] { body(i); });
    error.rethrow();
    return;
  }
#endif
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// Calls `task(i)` for i = 0 .. count-1, which begin in this order, side by side: each on one thread, with
/// all the loops inside it. Threads that are this far apart neither wait for each other nor share what is in
/// their caches. Too few tasks to keep all threads busy run one after the other, with all threads on each.
/// @param side_by_side  false: always one after the other, as a GPU with its one queue wants it
/// @throws what the first task that failed has thrown, when none is running any more
template <class Task>
void parallel_tasks(std::int64_t count, [[maybe_unused]] bool side_by_side, Task&& task) {
#if defined(_OPENMP)
  const std::int64_t threads = num_threads(), rounds = (count + threads - 1) / threads;
  if (side_by_side && threads > 1 && 4 * count >= 3 * rounds * threads) {
    std::atomic<std::int64_t> next{0};
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
#pragma omp parallel
    for (std::int64_t i = next++; i < count; i = next++) try {
        task(i);
      } catch (...) {
        errors[static_cast<std::size_t>(i)] = std::current_exception();
        next = count;
      }
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
    return;
  }
#endif
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
