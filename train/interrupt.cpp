#include "train/interrupt.h"

#include <csignal>
#include <cstdint>
#include <ctime>
#include <iterator>

namespace retnet {
namespace {

constexpr int kSignals[] = {
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU,
#ifdef SIGPWR
    SIGPWR,
#endif
};
constexpr std::int64_t kSameWish = 200'000'000;  // nanoseconds

std::atomic<bool> stop{false};
std::atomic<int> first{0};
std::atomic<std::int64_t> first_at{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free &&
                  std::atomic<std::int64_t>::is_always_lock_free,
              "a signal handler may touch nothing else");

struct sigaction before[std::size(kSignals)];

std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{1'000'000'000} * time.tv_sec + time.tv_nsec;
}

extern "C" void retnet_interrupt(int number) {
  int none = 0;
  if (first.compare_exchange_strong(none, number)) {
    first_at = now();
    stop = true;
    return;
  }
  // On another thread the first one may be here still, before it has looked at the clock.
  const std::int64_t since = first_at;
  if (number == SIGHUP || since == 0 || now() - since < kSameWish) return;
  struct sigaction end {};
  end.sa_handler = SIG_DFL;
  ::sigaction(number, &end, nullptr);
  ::raise(number);  // comes through when this handler returns
}

}  // namespace

Interrupts::Interrupts() {
  stop = false, first = 0, first_at = 0;
  struct sigaction action {};
  action.sa_handler = retnet_interrupt;
  action.sa_flags = SA_RESTART;
  for (const int number : kSignals) ::sigaddset(&action.sa_mask, number);
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    // Also what a profiler or a debugger has put there stays.
    if (before[i].sa_handler == SIG_DFL) ::sigaction(kSignals[i], &action, nullptr);
  }
}

Interrupts::~Interrupts() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
}

const std::atomic<bool>& Interrupts::flag() const { return stop; }
int Interrupts::signal() const { return first; }

}  // namespace retnet
