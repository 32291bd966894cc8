#include "train/interrupt.h"

#include <csignal>

namespace retnet {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");

extern "C" void retnet_interrupt(int) {
  interrupted = true;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

InterruptFlag::InterruptFlag() {
  interrupted = false;
  // A shell that starts a program in the background has it ignore SIGINT; that wish is kept.
  if (std::signal(SIGINT, retnet_interrupt) == SIG_IGN) std::signal(SIGINT, SIG_IGN);
  if (std::signal(SIGTERM, retnet_interrupt) == SIG_IGN) std::signal(SIGTERM, SIG_IGN);
}

InterruptFlag::~InterruptFlag() {
  if (std::signal(SIGINT, SIG_DFL) == SIG_IGN) std::signal(SIGINT, SIG_IGN);
  if (std::signal(SIGTERM, SIG_DFL) == SIG_IGN) std::signal(SIGTERM, SIG_IGN);
}

const std::atomic<bool>& InterruptFlag::value() const { return interrupted; }

}  // namespace retnet
