/// @file
/// Signals as a flag.
#pragma once

#include <atomic>

namespace retnet {

/// While it lives, a signal that asks the program to end sets a flag instead: a closed terminal (SIGHUP),
/// Ctrl-C (SIGINT), Ctrl-\ (SIGQUIT), SIGTERM, SIGUSR1, SIGUSR2, an alarm (SIGALRM, SIGVTALRM, SIGPROF), the
/// end of the CPU time (SIGXCPU) or of the power (SIGPWR). One that the program was started with to ignore,
/// as nohup and a shell in the background do, stays ignored.
///
/// The next signal ends the program at once. It is not taken for one within 0.2 s of the first: `timeout` and
/// service managers send the same wish twice, to the process and to its group. A second SIGHUP never is,
/// because a shell and the system send one each.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  const std::atomic<bool>& flag() const;  ///< true once there was a signal
  int signal() const;                     ///< the first one; 0 before it
};

}  // namespace retnet
