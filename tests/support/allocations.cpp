#include "tests/support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::int64_t> calls{0}, last_call{INT64_MAX}, failures_left{0};
}

std::int64_t retnet::test::allocations() { return calls; }

retnet::test::NoMoreAllocations::NoMoreAllocations(std::int64_t count, std::int64_t failures) {
  failures_left = failures;
  last_call = calls + count;
}
retnet::test::NoMoreAllocations::~NoMoreAllocations() { last_call = INT64_MAX; }

// AddressSanitizer has new and delete of its own, which must not be mixed with others.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RETNET_TEST_OWN_NEW 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define RETNET_TEST_OWN_NEW 0
#elif !defined(RETNET_TEST_OWN_NEW)
#define RETNET_TEST_OWN_NEW 1
#endif

bool retnet::test::allocations_are_counted() { return RETNET_TEST_OWN_NEW == 1; }

#if RETNET_TEST_OWN_NEW
// The other forms of new and delete, but those for over-aligned types, end in these.
void* operator new(std::size_t bytes) {
  if (++calls > last_call && failures_left-- > 0) throw std::bad_alloc();
  if (void* block = std::malloc(bytes > 0 ? bytes : 1)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
#endif
