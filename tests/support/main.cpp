// The test program's main, and what surrounds every test.
#if __has_include(<catch2/catch_test_macros.hpp>)  // Catch2 3, which brings its own main
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
using ListenerBase = Catch::EventListenerBase;
#else  // Catch2 2 wants one translation unit that holds it
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
using ListenerBase = Catch::TestEventListenerBase;
#endif

#include <csignal>
#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "tensor/storage.h"

namespace retnet::test {
namespace {

class SuiteListener : public ListenerBase {
 public:
  using ListenerBase::ListenerBase;

  /// A shell ignores signals for what it starts with nohup or in the background. The programs that the tests
  /// start and interrupt would inherit that.
  void testRunStarting(const Catch::TestRunInfo& /*info*/) override {
    for (const int number : {SIGHUP, SIGINT, SIGQUIT}) std::signal(number, SIG_DFL);
  }

  /// What a test held is given back: a fork copies the tables of all the memory that there is.
  void testCaseEnded(const Catch::TestCaseStats& /*stats*/) override {
    release_cached_memory();
#ifdef __GLIBC__
    malloc_trim(0);
#endif
  }
};

}  // namespace
}  // namespace retnet::test

using retnet::test::SuiteListener;
CATCH_REGISTER_LISTENER(SuiteListener)
