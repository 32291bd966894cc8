#include "train/threads.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels/parallel.h"

namespace retnet {
namespace {

/// Far more than the deepest kernel takes, which is some 20 KiB.
constexpr std::size_t kStack = std::size_t{2} << 20, kLeastStack = std::size_t{1} << 20;

/// The calling thread's stack grows up to a limit that may be raised while it runs.
void raise_stack_limit() {
  rlimit stack{};
  if (::getrlimit(RLIMIT_STACK, &stack) != 0 || stack.rlim_cur == RLIM_INFINITY ||
      stack.rlim_cur >= kLeastStack)
    return;
  stack.rlim_cur = std::min<rlim_t>(stack.rlim_max, kStack);
  ::setrlimit(RLIMIT_STACK, &stack);
}

#if defined(_OPENMP)

/// How many threads can be made beside this one, up to `most`: makes them, and lets them go once all are
/// there. The runtime of OpenMP ends the program where it cannot make one.
int threads_to_be_had(int most) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  std::vector<pthread_t> threads;
  threads.reserve(static_cast<std::size_t>(most));
  const auto pass = [](void* at) -> void* {
    pthread_mutex_lock(static_cast<pthread_mutex_t*>(at));
    pthread_mutex_unlock(static_cast<pthread_mutex_t*>(at));
    return nullptr;
  };
  pthread_mutex_lock(&gate);
  for (pthread_t thread{}; static_cast<int>(threads.size()) < most; threads.push_back(thread))
    if (pthread_create(&thread, nullptr, pass, &gate) != 0) break;
  pthread_mutex_unlock(&gate);
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  return static_cast<int>(threads.size());
}

#endif

}  // namespace

void prepare_process(char** arguments) {
  raise_stack_limit();
#if defined(__GLIBC__)
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) == 0) {
    if (pthread_attr_setstacksize(&attributes, kStack) == 0) pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
  }
#endif
  bool given = false;
  for (const char* name : {"OMP_STACKSIZE", "GOMP_STACKSIZE", "KMP_STACKSIZE"})
    if (std::getenv(name) != nullptr) given |= ::unsetenv(name) == 0;
  // Where there is no such path, the program goes on with what the runtime has read.
  if (given) ::execv("/proc/self/exe", arguments);
}

void start_threads() {
#if defined(_OPENMP)
  const int asked = std::min(kernels::num_threads(), kThreadsPerProcessor * kernels::num_processors());
  // Beside this thread and the others, one that keeps their parallel region open.
  const int threads = asked > 1 ? std::max(1, threads_to_be_had(asked)) : 1;
  kernels::set_num_threads(threads);
  kernels::run_together(threads, [](int) {});  // makes them, and they stay
#endif
}

}  // namespace retnet
