/// @file
/// The threads that loops run on, and how they wait for each other.
///
/// Other programs want the processors too, and a thread that is to help may be without one for milliseconds.
/// So there are two rules, and all that waits follows them:
///
/// 1. Nobody waits for a thread that has not begun. Work is cut into pieces that any thread may take; who
///    finds none left is done, and the others' part in it is only what they have taken.
/// 2. A thread waits awake only while the one that it waits for may be running: not when that one was last
///    seen on the very processor that the waiting would keep busy, and not for longer than kPatience.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace retnet::kernels {

/// Number of threads a parallel loop that begins here may use: 1 within another one, and without OpenMP.
int num_threads();

/// Sets the number of threads of the process, 1 <= n <= kMostThreads. Without OpenMP there is only one, and
/// this does nothing.
void set_num_threads(int n);
inline constexpr int kMostThreads = 1024;

/// Processors that this process may use: with OpenMP, else 1.
int num_processors();

/// How long a thread waits awake: several times what it takes to wake one that sleeps (some 25 us).
inline constexpr std::chrono::microseconds kPatience{200};

/// The processor that a thread was last seen on, for those that wait for it.
class Whereabouts {
 public:
  void here() { processor_.store(current(), std::memory_order_relaxed); }

  /// Whether it was last seen where the calling thread is now, so that only one of the two can be running.
  bool on_my_processor() const {
    const int seen = processor_.load(std::memory_order_relaxed);
    return seen >= 0 && seen == current();
  }

 private:
  static int current();  ///< -1 where the system does not say
  std::atomic<int> processor_{-1};
};

/// Tells the processor that this thread only waits.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits awake until `ready()`. @returns false when rule 2 ends it before
/// @param in_the_way  `bool()`: whether the calling thread has the processor that another needs
template <class Ready, class InTheWay>
bool wait_awake(Ready&& ready, InTheWay&& in_the_way) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 32;  // about a microsecond
  Clock::time_point begin{};
  while (true) {
    for (int i = 0; i < kRounds; ++i) {
      if (ready()) return true;
      relax();
    }
    if (in_the_way()) return ready();
    const Clock::time_point now = Clock::now();
    if (begin == Clock::time_point{}) begin = now;
    if (now - begin > kPatience) return ready();
  }
}

namespace detail {
using Work = void (*)(void* context, int rank);
void run_together(int threads, Work work, void* context);
/// Whether a thread of the loop at hand, by its rank, is on the processor of one that it may wait for.
bool in_the_way(int rank);
/// Sleeps until the word has another value and is woken. For headers, which are C++17 where a GPU's compiler
/// reads them.
void sleep_while(const std::atomic<int>& word, int value);
void wake_all(std::atomic<int>& word);
}  // namespace detail

/// Calls `work(rank)` on this thread, with rank 0, and on those of the pool that come while it runs, each
/// with a rank of its own in 1 .. threads - 1. Returns when all calls that have begun are over. Any but the
/// first may be left out, so `work` takes what it does from what is left to do. It must not throw.
template <class Work>
void run_together(int threads, Work&& work) {
  using Body = std::remove_reference_t<Work>;
  detail::run_together(
      threads, [](void* context, int rank) { (*static_cast<Body*>(context))(rank); }, &work);
}

/// The pieces 0 .. count - 1 of a loop, cut into a share for each thread. A thread takes from its own share,
/// so that it has the same pieces in one loop after the other and finds them in its caches, and then from
/// others'.
class Shares {
 public:
  /// @param grain  pieces that are taken at a time
  Shares(std::int64_t count, int threads, std::int64_t grain);

  /// Takes pieces begin .. end - 1. @returns false when none is left
  bool take(int rank, std::int64_t& begin, std::int64_t& end);

 private:
  static constexpr int kMost = 128;  ///< further threads begin with others' shares
  struct alignas(64) Share {
    std::atomic<std::int64_t> next;
    std::int64_t last;
  };
  int count_;
  std::int64_t grain_;
  Share shares_[kMost];
};

}  // namespace retnet::kernels
