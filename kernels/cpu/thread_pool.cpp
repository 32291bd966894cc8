#include "kernels/thread_pool.h"

#include <algorithm>
#include <cstdlib>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>
#include <unistd.h>

#include <thread>
#endif

namespace retnet::kernels {

int Whereabouts::current() {
#if defined(__linux__)
  return ::sched_getcpu();
#else
  return -1;
#endif
}

void detail::sleep_while(const std::atomic<int>& word, int value) {
  word.wait(value, std::memory_order_acquire);
}
void detail::wake_all(std::atomic<int>& word) { word.notify_all(); }

Shares::Shares(std::int64_t count, int threads, std::int64_t grain)
    : count_(static_cast<int>(std::min<std::int64_t>({count, threads, kMost}))), grain_(grain) {
  for (int i = 0; i < count_; ++i) {
    shares_[i].next.store(count * i / count_, std::memory_order_relaxed);
    shares_[i].last = count * (i + 1) / count_;
  }
}

bool Shares::take(int rank, std::int64_t& begin, std::int64_t& end) {
  for (int i = 0; i < count_; ++i) {
    Share& share = shares_[(rank + i) % count_];
    // Looked at first: who only reads leaves the line with the thread whose share it is.
    if (share.next.load(std::memory_order_relaxed) >= share.last) continue;
    begin = share.next.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= share.last) continue;
    end = std::min(begin + grain_, share.last);
    return true;
  }
  return false;
}

#if defined(_OPENMP)

namespace {

/// Whether the calling thread is in a loop that it has begun; helpers are in a parallel region of OpenMP.
thread_local bool in_loop = false;

/// Whether the calling thread is in a loop already, of ours or of a program that uses OpenMP itself: others
/// have the processors, and what begins here has this thread alone.
bool within_loop() { return in_loop || omp_in_parallel(); }

/// What the calling thread and a helper look at while they wait for each other.
struct alignas(64) Helper {
  std::atomic<std::uint32_t> asleep{0};
  std::atomic<bool> inside{false};
  Whereabouts whereabouts;
};

/// The threads beside the calling one: those of an OpenMP parallel region that stays open. It is begun by a
/// thread of its own, which then sleeps, as the calling thread has to go on.
class Pool {
 public:
  void run(int threads, detail::Work work, void* context);
  /// The caller may wait for every helper that is inside, and a helper for the caller.
  bool in_the_way(int rank) const {
    if (rank > 0) return caller_.on_my_processor();
    return std::any_of(helpers_, helpers_ + needed_.load(std::memory_order_relaxed), [](const Helper& h) {
      return h.inside.load(std::memory_order_relaxed) && h.whereabouts.on_my_processor();
    });
  }
  /// In a process that was forked, which has none of the threads.
  void forget();

 private:
  // The state of the loop at hand: a number that no other of the last million has, whether it is open, and
  // how many helpers are inside. A helper that has come in keeps it from ending, and finds what it needs
  // below.
  static constexpr std::uint32_t kInside = 0x7ff, kOpen = 0x800, kNumber = 0x1000;

  void make(int helpers);
  void serve(int index);
  bool enter(int index, std::uint32_t& seen);
  void leave(Helper& me);
  void wake_helpers();

  alignas(64) std::atomic<std::uint32_t> loop_{0};
  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<int> needed_{0};  // helpers of the loop at hand
  detail::Work work_ = nullptr;
  void* context_ = nullptr;
  Whereabouts caller_;
  int made_ = 0;
  bool watches_forks_ = false;
  Helper helpers_[kMostThreads - 1];
};

constinit Pool pool;
constinit std::atomic<int> threads_of_process{0};  // 0: nobody has asked yet

void Pool::run(int threads, detail::Work work, void* context) {
  // Another thread's loop has the helpers.
  if (threads <= 1 || within_loop() || busy_.exchange(true, std::memory_order_acquire))
    return work(context, 0);
  if (made_ < threads - 1) make(threads - 1);
  work_ = work, context_ = context;
  needed_.store(std::min(threads - 1, made_), std::memory_order_relaxed);
  caller_.here();
  const std::uint32_t number = (loop_.load(std::memory_order_relaxed) & ~(kInside | kOpen)) + kNumber;
  loop_.store(number | kOpen, std::memory_order_seq_cst);
  wake_helpers();
  in_loop = true;
  work(context, 0);
  in_loop = false;
  caller_.here();
  std::uint32_t state = loop_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  const auto over = [&] { return ((state = loop_.load(std::memory_order_acquire)) & kInside) == 0; };
  while (!over() && !wait_awake(over, [&] { return in_the_way(0); }))
    loop_.wait(state, std::memory_order_acquire);
  busy_.store(false, std::memory_order_release);
}

void Pool::wake_helpers() {
  for (int i = 0; i < needed_.load(std::memory_order_relaxed); ++i)
    if (helpers_[i].asleep.load(std::memory_order_seq_cst) != 0) {
      helpers_[i].asleep.store(0, std::memory_order_release);
      helpers_[i].asleep.notify_one();
    }
}

/// Comes into the loop at hand, unless it is over or has no use for this helper, or `seen`, the last one.
bool Pool::enter(int index, std::uint32_t& seen) {
  std::uint32_t state = loop_.load(std::memory_order_acquire);
  while ((state & kOpen) != 0 && (state & ~(kInside | kOpen)) != seen &&
         index < needed_.load(std::memory_order_relaxed))
    if (loop_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      seen = state & ~(kInside | kOpen);
      // The number of helpers may have been that of the loop before.
      if (index < needed_.load(std::memory_order_relaxed)) return true;
      leave(helpers_[index]);
      return false;
    }
  return false;
}

void Pool::leave(Helper& me) {
  me.inside.store(false, std::memory_order_relaxed);
  // The last one wakes the caller; while the loop is open it does not wait here.
  if (const std::uint32_t state = loop_.fetch_sub(1, std::memory_order_acq_rel) - 1;
      (state & (kInside | kOpen)) == 0)
    loop_.notify_all();
}

void Pool::serve(int index) {
  Helper& me = helpers_[index];
  std::uint32_t seen = 0;
  while (true) {
    while (enter(index, seen)) {
      me.whereabouts.here();
      me.inside.store(true, std::memory_order_relaxed);
      work_(context_, index + 1);
      leave(me);
    }
    const auto wanted = [&] {
      const std::uint32_t state = loop_.load(std::memory_order_seq_cst);
      return (state & kOpen) != 0 && (state & ~(kInside | kOpen)) != seen &&
             index < needed_.load(std::memory_order_relaxed);
    };
    if (wait_awake(wanted, [&] { return in_the_way(index + 1); })) continue;
    me.asleep.store(1, std::memory_order_seq_cst);
    if (wanted()) {
      me.asleep.store(0, std::memory_order_relaxed);
      continue;
    }
    while (me.asleep.load(std::memory_order_acquire) != 0) me.asleep.wait(1, std::memory_order_acquire);
  }
}

void Pool::make(int helpers) {
  if (!watches_forks_) watches_forks_ = ::pthread_atfork(nullptr, nullptr, [] { pool.forget(); }) == 0;
  const int first = made_, count = std::min(helpers, kMostThreads - 1) - first;
  try {
    std::thread([this, first, count] {
#pragma omp parallel num_threads(count + 1)
      if (const int number = omp_get_thread_num(); number > 0)
        serve(first + number - 1);
      else
        while (true) ::pause();  // OMP_PROC_BIND gives it the place of the calling thread
    }).detach();
    made_ += count;
  } catch (...) {
    // The system gives none, or no memory for it: the calling thread does all of it, and asks again in its
    // next loop.
  }
}

void Pool::forget() {
  for (int i = 0; i < made_; ++i) helpers_[i].asleep = 0, helpers_[i].inside = false;
  made_ = 0, needed_ = 0;
  loop_ = 0, busy_ = false;
}

}  // namespace

int num_threads() {
  if (within_loop()) return 1;
  const int threads = threads_of_process.load(std::memory_order_relaxed);
  return threads > 0 ? threads : std::min(omp_get_max_threads(), kMostThreads);
}

void set_num_threads(int n) { threads_of_process = std::clamp(n, 1, kMostThreads); }

int num_processors() { return omp_get_num_procs(); }

void detail::run_together(int threads, Work work, void* context) { pool.run(threads, work, context); }

bool detail::in_the_way(int rank) { return pool.in_the_way(rank); }

#else

int num_threads() { return 1; }
void set_num_threads(int /*n*/) {}
int num_processors() { return 1; }
void detail::run_together(int /*threads*/, Work work, void* context) { work(context, 0); }
bool detail::in_the_way(int /*rank*/) { return false; }

#endif

}  // namespace retnet::kernels
