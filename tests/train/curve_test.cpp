// The picture of a run: its points where they belong, and no dearer for a long run than for a short one.

#include "train/curve.h"

#include <cmath>
#include <filesystem>
#include <regex>
#include <sstream>

#include "tests/support/test.h"
#include "tests/support/threads.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;

using Points = std::vector<std::pair<double, double>>;

/// Whether every tag is closed, in order: enough of XML for what loss_curve() writes.
bool well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const std::size_t end = svg.find('>', at);
    if (end == std::string::npos || svg.find('<', at + 1) < end) return false;
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag.back() == '/') continue;
    if (tag[0] != '/') {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    } else if (open.empty() || open.back() != tag.substr(1)) {
      return false;
    } else {
      open.pop_back();
    }
  }
  return open.empty();
}

/// Points of the polyline of a class.
Points polyline(const std::string& svg, const std::string& kind) {
  const std::string head = "<polyline class=\"" + kind + "\" points=\"";
  const std::size_t begin = svg.find(head);
  if (begin == std::string::npos) return {};
  std::istringstream text(
      svg.substr(begin + head.size(), svg.find('"', begin + head.size()) - begin - head.size()));
  Points points;
  char comma = 0;
  for (double x = 0, y = 0; text >> x >> comma >> y;) points.push_back({x, y});
  return points;
}

/// Where a step and a loss are in the picture: from x = 64 at step 0 to 708 at the last, and from y = 384 to
/// 56 on a logarithmic scale, with 4 % of its length, or a factor of 1.04, left free at both ends.
struct Place {
  double last, low, high;
  double x(double step) const { return 64 + 644 * step / last; }
  double y(double loss) const {
    const double room = std::max(1.04, std::pow(high / low, 0.04));
    return 384 - 328 * std::log(loss * room / low) / std::log(high / low * room * room);
  }
};

/// The largest distance between points and where they should be; more than any when their number differs.
double largest_error(const Points& found, const Points& expected) {
  if (found.size() != expected.size()) return 1e9;
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst = std::max({worst, std::abs(found[i].first - expected[i].first),
                      std::abs(found[i].second - expected[i].second)});
  return worst;
}

constexpr double kRounding = 0.0500001;  // coordinates have one digit after the point

TEST_CASE("the curves of a short run go through its losses", "[train][curve]") {
  LossHistory losses;
  const Place place{5, 0.75, 5.5};
  Points training, held_out;
  for (const auto& [step, loss] : Points{{1, 5.5}, {2, 3}, {3, 4}, {4, 1.5}, {5, 0.75}}) {
    losses.training.add({std::llround(step), loss});
    training.push_back({place.x(step), place.y(loss)});
  }
  for (const auto& [step, loss] : Points{{2, 5.25}, {5, 1}}) {
    losses.held_out.add({std::llround(step), loss});
    held_out.push_back({place.x(step), place.y(loss)});
  }
  const std::string svg = loss_curve(losses);
  CHECK(largest_error(polyline(svg, "training"), training) < kRounding);
  CHECK(largest_error(polyline(svg, "held"), held_out) < kRounding);
  CHECK(polyline(svg, "each").empty());  // the mean of one step is that step
  Points dots;
  const std::regex circle("class=\"dot\" cx=\"([0-9.]+)\" cy=\"([0-9.]+)\"");
  for (std::sregex_iterator at(svg.begin(), svg.end(), circle), end; at != end; ++at)
    dots.push_back({std::stod((*at)[1]), std::stod((*at)[2])});
  REQUIRE(dots.size() == 3);  // and one in the legend
  dots.pop_back();
  CHECK(largest_error(dots, held_out) < kRounding);
  CHECK(svg.find("<title>Loss over 5 steps</title>") != svg.npos);
  CHECK(svg.find(">0.750</text>") != svg.npos);
  CHECK(svg.find("heldvalue\" x=\"715.0\"") != svg.npos);
  CHECK(svg.find(">1.000</text>") != svg.npos);
}

TEST_CASE("a longer run is drawn twice: each step, and the mean of its neighbours", "[train][curve]") {
  constexpr int kSteps = 300, kReach = 3;  // the mean over a hundredth of the run before and after
  std::vector<double> loss;
  LossHistory losses;
  for (int i = 0; i < kSteps; ++i) {
    loss.push_back(2 + std::sin(i * 1.7) + 60.0 / (i + 20));
    losses.training.add({i + 1, loss.back()});
  }
  const auto [low, high] = std::minmax_element(loss.begin(), loss.end());
  const Place place{kSteps, *low, *high};
  Points each, mean;
  for (int i = 0; i < kSteps; ++i) {
    each.push_back({place.x(i + 1), place.y(loss[static_cast<std::size_t>(i)])});
    const int before = std::min(kReach, i), after = std::min(before, kSteps - 1 - i);
    double sum = 0;
    for (int k = i - before; k <= i + after; ++k) sum += loss[static_cast<std::size_t>(k)];
    mean.push_back({place.x(i + 1), place.y(sum / (before + 1 + after))});
  }
  const std::string svg = loss_curve(losses);
  CHECK(largest_error(polyline(svg, "each"), each) < kRounding);
  CHECK(largest_error(polyline(svg, "training"), mean) < kRounding);
  CHECK(svg.find("training, mean of 7 steps") != svg.npos);
}

TEST_CASE("a million steps are drawn from a bounded number of sums", "[train][curve]") {
  constexpr std::int64_t kSteps = 1'000'000;
  LossHistory losses;
  const auto loss = [](std::int64_t step) { return static_cast<double>(3'000'000 - step); };
  for (std::int64_t step = 1; step <= kSteps; ++step) losses.training.add({step, loss(step)});
  const std::vector<LossBucket>& buckets = losses.training.buckets();
  REQUIRE(buckets.size() <= LossSeries::kMost);
  CHECK(losses.training.span() == 256);  // 10^6 / 256 = 3906.25
  CHECK(buckets.size() == 3907);
  std::int64_t next = 1;
  bool right = true;
  for (const LossBucket& bucket : buckets) {
    const double first = loss(bucket.first), last = loss(bucket.last);
    right = right && bucket.first == next && bucket.count == bucket.last - bucket.first + 1 &&
            bucket.high.step == bucket.first && bucket.high.loss == first && bucket.low.step == bucket.last &&
            bucket.low.loss == last && bucket.sum == (first + last) / 2 * static_cast<double>(bucket.count);
    next = bucket.last + 1;
  }
  CHECK(right);
  CHECK(next == kSteps + 1);
  CHECK(losses.training.back().step == kSteps);
  const std::string svg = loss_curve(losses);
  CHECK(svg.size() < 64 * 1024);
  CHECK(svg.find("mean of 20,224 steps") == svg.npos);
  CHECK(svg.find("mean of 20224 steps") != svg.npos);  // (2 * 39 + 1) * 256
  // On a straight line the mean of symmetric neighbours is the value in their middle: all of it but the end.
  const Place place{kSteps, loss(kSteps), loss(1)};
  const Points mean = polyline(svg, "training");
  REQUIRE(mean.size() > 600);
  double worst = 0;
  for (const auto& [x, y] : mean) {
    const double step = (x - 64) / 644 * kSteps;
    if (step < 0.985 * kSteps) worst = std::max(worst, std::abs(y - place.y(3'000'000 - step)));
  }
  CHECK(worst < 0.2);
  CHECK(std::abs(mean.back().first - 708) < 0.2);
}

TEST_CASE("the loss curve is well-formed for every log", "[train][curve]") {
  LossHistory losses;
  for (const int steps : {0, 1, 2, 7, 1000, 30000}) {
    losses = {};
    for (int i = 1; i <= steps; ++i) {
      losses.training.add({i, 2 + 3.5 / std::sqrt(i)});
      if (i % 100 == 0 || steps == 30000) losses.held_out.add({i, 2.1 + 3.5 / std::sqrt(i)});
    }
    const std::string svg = loss_curve(losses);
    CAPTURE(steps);
    CHECK(well_formed(svg));
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
    CHECK(svg.size() < 64 * 1024);
    CHECK(svg == loss_curve(losses));
  }
  CHECK(loss_curve(losses).find("loss in nats per byte") != std::string::npos);
  CHECK_FALSE(well_formed("<svg><g></svg>"));
  losses = {};
  for (int i = 1; i <= 5; ++i) losses.training.add({i, 1});  // a flat line has no range
  CHECK(well_formed(loss_curve(losses)));
  losses = {};
  losses.held_out.add({3, 1});
  CHECK(well_formed(loss_curve(losses)));
}

/// Lines of steps first .. last, with losses that no other step has, and an evaluation after every third one.
void write_steps(Log& log, std::int64_t first, std::int64_t last) {
  for (std::int64_t step = first; step <= last; ++step) {
    const auto s = static_cast<double>(step);
    log.write({step, 2 + std::sin(s) + 9 / s, 0.1, 1.5, 10 * step, 0.5 * s});
    if (step % 3 == 0) log.write({step, {2 + std::cos(s) + 9 / s, 100}});
  }
}

TEST_CASE("the picture is a function of the log alone, wherever a run was resumed",
          "[train][curve][resume]") {
  const TemporaryFolder folder;
  constexpr std::int64_t kSteps = 20000;  // both series are merged, the training losses three times
  std::string whole;
  {
    Log log(folder / "whole", 0);
    write_steps(log, 1, kSteps);
    CHECK(log.losses().training.span() == 8);
    CHECK(log.losses().held_out.span() == 2);
    whole = loss_curve(log.losses());
  }
  for (const std::int64_t step : {5, 4096, 4097, 12345, 19999, 20000}) {
    const std::string path = folder / std::to_string(step);
    {
      Log log(path, 0);
      write_steps(log, 1, std::min(step + 100, kSteps));
    }
    {  // a crash lost what was after `step`
      Log log(path, step);
      write_steps(log, step + 1, std::min(step + 50, kSteps));
    }
    Log log(path, step);
    write_steps(log, step + 1, kSteps);
    CAPTURE(step);
    CHECK((loss_curve(log.losses()) == whole));
  }
}

TEST_CASE("a resumed run leaves the picture of an uninterrupted one", "[train][curve][resume]") {
  const test::Threads one(1);
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "whole");
  test::train_to_end(run);
  const std::string whole = read_file(run.out + "/loss.svg");
  CHECK(polyline(whole, "training").size() == 12);
  CHECK(polyline(whole, "held").size() == 6);
  run.out = folder / "resumed";
  test::train_to_end(run);
  fs::remove_all(checkpoint_folder(run.out, 12));
  fs::remove(run.out + "/loss.svg");
  run.resume = true;
  test::train_to_end(run);
  CHECK(read_file(run.out + "/loss.svg") == whole);
}

}  // namespace
}  // namespace retnet
