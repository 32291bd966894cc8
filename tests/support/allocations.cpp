#include "tests/support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {
std::atomic<std::int64_t> calls{0}, last_call{INT64_MAX}, failures_left{0}, in_use{0}, peak{0};

[[maybe_unused]] std::int64_t size_of_block([[maybe_unused]] void* block) {
#ifdef __GLIBC__
  return static_cast<std::int64_t>(malloc_usable_size(block));
#else
  return 0;
#endif
}

[[maybe_unused]] void count(void* block) {
  const std::int64_t now = in_use += size_of_block(block);
  std::int64_t most = peak;
  while (now > most && !peak.compare_exchange_weak(most, now)) {
  }
}
}  // namespace

std::int64_t retnet::test::allocations() { return calls; }
std::int64_t retnet::test::peak_heap() { return peak; }
std::int64_t retnet::test::reset_peak_heap() { return peak = in_use.load(); }

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
  void* const block = std::malloc(bytes > 0 ? bytes : 1);
  if (!block) throw std::bad_alloc();
  count(block);
  return block;
}
void operator delete(void* block) noexcept {
  in_use -= size_of_block(block);
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept { operator delete(block); }
#endif
