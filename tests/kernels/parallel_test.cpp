// Loops on several threads: what a call throws comes out behind the loop, once, whichever thread it was on.

#include "kernels/parallel.h"

#include <new>
#include <stdexcept>

#include "tests/support/test.h"

namespace retnet::test {
namespace {

TEST_CASE("an exception on any thread of a loop is thrown behind it", "[parallel]") {
  const int before = kernels::num_threads();
  for (const int threads : {1, 2, 5}) {
    kernels::set_num_threads(threads);
    for (const std::int64_t bad : {0, 17, 39}) {
      CAPTURE(threads, bad);
      const auto body = [bad](std::int64_t i) {
        if (i == bad) throw std::bad_alloc();
        if (i > bad) throw std::runtime_error("of a later call");
      };
      // A single thread stops there; of several the first to fail is heard.
      if (threads == 1)
        CHECK_THROWS_AS(kernels::parallel_for(40, kernels::kParallelWork, body), std::bad_alloc);
      else
        CHECK_THROWS_AS(kernels::parallel_for(40, kernels::kParallelWork, body), std::exception);
    }
    std::atomic<int> calls{0};
    CHECK_THROWS_AS(kernels::parallel_for(40, kernels::kParallelWork,
                                          [&](std::int64_t i) {
                                            ++calls;
                                            if (i == 39) throw std::bad_alloc();
                                          }),
                    std::bad_alloc);
    CHECK(calls == 40);
  }
  kernels::set_num_threads(before);
}

}  // namespace
}  // namespace retnet::test
