// Settings: their ranges, and the course of the learning rate against numbers worked out by hand.

#include "train/settings.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/streams.h"

namespace retnet {
namespace {

using test::error_message;

std::string problem(const char* key, const char* value) {
  TrainSettings settings;
  settings.micro_batch = 1 << 20;  // so that no batch has too many passes
  return error_message([&] {
    set_field(settings, key, value);
    settings.validate();
  });
}

TEST_CASE("the default settings are valid", "[train][settings]") { TrainSettings().validate(); }

TEST_CASE("settings out of range are refused by name", "[train][settings]") {
  CHECK(problem("steps", "0") == "settings: steps must be in 1 .. 2147483647, got 0");
  CHECK(problem("clip", "-1") == "settings: clip must be 0 (off) or a positive number, got -1");
  CHECK(problem("step", "5") == "settings: unknown field \"step\"; did you mean steps?");
  CHECK(problem("decay", "linea") ==
        "decay: required constant, linear or cosine, got \"linea\"; did you mean linear?");
  const std::pair<const char*, const char*> bad[] = {
      {"batch", "0"},         {"window", "-3"},       {"accumulate", "0"},      {"accumulate", "65537"},
      {"seed", "-1"},         {"learning_rate", "0"}, {"learning_rate", "nan"}, {"learning_rate", "inf"},
      {"warmup", "-1"},       {"final_lr", "1.5"},    {"beta1", "1"},           {"beta2", "-0.1"},
      {"weight_decay", "-1"}, {"clip", "inf"},        {"clip", "nan"},          {"dropout", "1"},
      {"held_out", "1"},      {"held_out", "nan"},    {"eval_every", "-1"},     {"eval_windows", "0"},
      {"save_every", "0"}};
  for (const auto& [key, value] : bad) {
    CAPTURE(key, value);
    CHECK(problem(key, value).starts_with(std::string("settings: ") + key + " must be"));
  }
}

TEST_CASE("every setting is accepted up to its limits and refused beyond", "[train][settings]") {
  struct Range {
    const char *key, *below, *lowest, *highest, *above;  // "": there is none
  };
  const Range ranges[] = {{"steps", "0", "1", "2147483647", "2147483648"},
                          {"batch", "0", "1", "1048576", "1048577"},
                          {"window", "0", "1", "16777216", "16777217"},
                          {"micro_batch", "0", "1", "1048576", "1048577"},
                          {"accumulate", "0", "1", "65536", "65537"},
                          {"seed", "-1", "0", "9223372036854775807", ""},
                          {"learning_rate", "0", "1e-300", "1000", "1000.1"},
                          {"warmup", "-1", "0", "2147483647", "2147483648"},
                          {"final_lr", "-0.1", "0", "1", "1.1"},
                          {"beta1", "-0.1", "0", "0.999999", "1"},
                          {"beta2", "-0.1", "0", "0.999999", "1"},
                          {"weight_decay", "-0.1", "0", "1000", "1000.1"},
                          {"clip", "-0.1", "0", "1e308", "inf"},
                          {"dropout", "-0.1", "0", "0.999999", "1"},
                          {"held_out", "-0.1", "0", "0.999999", "1"},
                          {"eval_every", "-1", "0", "1099511627776", "1099511627777"},
                          {"eval_windows", "0", "1", "1099511627776", "1099511627777"},
                          {"save_every", "0", "1", "1099511627776", "1099511627777"},
                          {"form", "", "parallel", "chunkwise", ""},
                          {"decay", "", "constant", "cosine", ""},
                          {"reference", "", "false", "true", ""},
                          {"recompute", "", "false", "true", ""}};
  TrainSettings defaults;
  for (const std::string& key : field_names(defaults)) {
    CAPTURE(key);
    const Range* range =
        std::find_if(std::begin(ranges), std::end(ranges), [&](const Range& r) { return r.key == key; });
    REQUIRE(range != std::end(ranges));
    const auto refused = [&](const char* value) { return problem(key.c_str(), value) != "no error"; };
    CHECK_FALSE(refused(range->lowest));
    CHECK_FALSE(refused(range->highest));
    for (const char* value : {range->below, range->above})
      if (*value != 0) CHECK(refused(value));
  }
}

TEST_CASE("a step has at most 65536 passes", "[train][settings]") {
  TrainSettings s;
  const auto refused = [&] { return error_message([&] { s.validate(); }) != "no error"; };
  s.batch = 131072, s.micro_batch = 2;
  CHECK_FALSE(refused());
  s.batch = 131073;  // one window more is one pass more
  CHECK(refused());
  s.batch = 8, s.micro_batch = 4, s.accumulate = 32768;
  CHECK_FALSE(refused());
  s.accumulate = 32769;
  CHECK(refused());
}

TEST_CASE("the learning rate warms up and comes down", "[train][settings]") {
  TrainSettings s;
  s.steps = 10, s.warmup = 4, s.learning_rate = 0.8, s.final_lr = 0.1;
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-15; };
  for (const Decay decay : {Decay::constant, Decay::linear, Decay::cosine}) {
    s.decay = decay;
    CHECK(near(learning_rate(s, 1), 0.2));
    CHECK(near(learning_rate(s, 3), 0.6));
    CHECK(near(learning_rate(s, 4), 0.8));
  }
  s.decay = Decay::constant;
  CHECK(learning_rate(s, 10) == 0.8);
  s.decay = Decay::linear;
  CHECK(near(learning_rate(s, 5), 0.8 * (1 - 0.9 / 6)));
  CHECK(near(learning_rate(s, 7), 0.44));
  CHECK(near(learning_rate(s, 10), 0.08));
  s.decay = Decay::cosine;
  CHECK(near(learning_rate(s, 7), 0.44));                      // half way: cos is 0
  CHECK(near(learning_rate(s, 6), 0.8 * (0.1 + 0.9 * 0.75)));  // a third: cos is 1/2
  CHECK(near(learning_rate(s, 10), 0.08));
}

TEST_CASE("a run may have no warm-up, or end within it", "[train][settings]") {
  TrainSettings s;
  s.steps = 5, s.warmup = 0, s.learning_rate = 1, s.final_lr = 0;
  CHECK(learning_rate(s, 1) == 0.8);
  CHECK(learning_rate(s, 5) == 0);
  s.warmup = 50;
  CHECK(learning_rate(s, 5) == 0.1);
  s.warmup = 5;
  CHECK(learning_rate(s, 5) == 1);
}

TEST_CASE("no two purposes, steps or parts share a stream of random numbers", "[train][settings]") {
  std::set<std::uint64_t> streams;
  std::size_t count = 0;
  const std::uint64_t layers = 1 + 4096 * Block::kDropoutStreams;
  for (const Purpose purpose : {Purpose::windows, Purpose::dropout})
    for (const std::int64_t step : {std::int64_t{1}, std::int64_t{2}, kMaxSteps - 1, kMaxSteps})
      for (const std::int64_t part : {std::int64_t{0}, std::int64_t{1}, kMaxParts - 1})
        for (const std::uint64_t layer : {std::uint64_t{0}, std::uint64_t{1}, layers - 1}) {
          streams.insert(step_key(purpose, 7, step, part).stream + layer);
          ++count;
        }
  CHECK(streams.size() == count);
  CHECK(*streams.begin() > (std::uint64_t{1} << 40));  // far above those of the weights
}

TEST_CASE("64 random bits are scaled by the upper half of a product, however large the text",
          "[train][settings]") {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t all = ~std::uint64_t{0};
  CHECK(scaled(0, 1000) == 0);
  CHECK(scaled(std::uint64_t{1} << 63, 1000) == 500);
  CHECK(scaled(all, 1000) == 999);
  for (const std::int64_t below :
       {std::int64_t{1}, std::int64_t{3}, (std::int64_t{1} << 32) - 1, (std::int64_t{1} << 32) + 5,
        std::int64_t{987654321987654321}, INT64_MAX / 2})
    for (const std::uint64_t bits : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0xfffffffe00000003},
                                     std::uint64_t{0x123456789abcdef0}, std::uint64_t{0xffffffff}, all}) {
      CAPTURE(below, bits);
      CHECK(scaled(bits, below) ==
            static_cast<std::int64_t>(Wide{bits} * static_cast<std::uint64_t>(below) >> 64));
    }
}

}  // namespace
}  // namespace retnet
