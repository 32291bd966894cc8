#include "retnet/decoder_team.h"

#include "tests/support/test.h"

namespace retnet::detail {
namespace {

/// Reports `steps` steps, which take `team` or `alone` seconds; the team is held up where `held_up` says so.
/// @returns how many of them the team did
int run(Pace& pace, int steps, double team, double alone, bool held_up) {
  int together = 0;
  for (int i = 0; i < steps; ++i) {
    const bool both = pace.together();
    together += both ? 1 : 0;
    pace.report(both ? team : alone, both && held_up);
  }
  return together;
}

}  // namespace

TEST_CASE("A team that is not held up stays together", "[decoder][threads]") {
  Pace pace;
  CHECK(run(pace, 100'000, 2, 1, false) == 100'000);  // nobody asks whether one thread would be quicker
}

TEST_CASE("A team that is held up, and slower than one thread, leaves nearly all steps to it", "[decoder][threads]") {
  Pace pace;
  CHECK(run(pace, 10'000, 20, 1, true) < 150);
  CHECK(run(pace, 100'000, 20, 1, true) < 250);
  // When the machine is free again, the team comes back, and stays.
  run(pace, 10'000, 0.6, 1, false);
  CHECK(run(pace, 10'000, 0.6, 1, false) == 10'000);
}

TEST_CASE("A team that is held up, but quicker than one thread, does nearly all steps", "[decoder][threads]") {
  Pace pace;
  CHECK(run(pace, 10'000, 0.8, 1, true) > 9'800);
}

}  // namespace retnet::detail
