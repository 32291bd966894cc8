#include "train/curve.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace retnet {
namespace {

// The drawing area within the picture, in pixels.
constexpr double kWidth = 760, kHeight = 440, kLeft = 64, kRight = 708, kTop = 56, kBottom = 384;

/// A point of a curve: step and loss.
using Point = std::pair<double, double>;
using Points = std::vector<Point>;

/// Digits after the point are fixed, and no locale changes them.
std::string fixed(double value, int digits) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits).ptr;
  return {text, end};
}

/// A place on an axis that is worth a number.
struct Tick {
  double value;
  int digits;  ///< after the point
};

/// An axis, linear or logarithmic.
struct Axis {
  double low, high;  ///< values at its ends
  double from, to;   ///< pixels of these
  bool logarithmic;
  std::vector<Tick> ticks;

  double place(double value) const {
    const double part = logarithmic ? std::log(std::max(value, low) / low) / std::log(high / low)
                                    : (value - low) / (high - low);
    return from + part * (to - from);
  }
};

/// Steps from 0, with ticks at multiples of 1, 2 or 5 times a power of ten.
Axis step_axis(double last) {
  Axis axis{0, std::max(1.0, last), kLeft, kRight, false, {}};
  double power = 1;
  while (power * 10 < axis.high / 8) power *= 10;
  double step = 10 * power;
  for (const double factor : {5, 2, 1})
    if (axis.high / 8 <= factor * power) step = factor * power;
  for (double value = 0; value <= axis.high; value += step) axis.ticks.push_back({value, 0});
  return axis;
}

/// The loss on a logarithmic scale, for most of a run happens where it is small. Ticks are as round as there
/// is room.
Axis loss_axis(const LossHistory& losses) {
  double low = INFINITY, high = 1e-6;
  for (const LossSeries* series : {&losses.training, &losses.held_out})
    for (const LossBucket& bucket : series->buckets())
      low = std::min(low, bucket.low.loss), high = std::max(high, bucket.high.loss);
  low = std::max(1e-6, std::min(low, high));
  const double room = std::max(1.04, std::pow(high / low, 0.04));
  Axis axis{low / room, high * room, kBottom, kTop, true, {}};
  const std::vector<std::vector<double>> rounds{{1},
                                                {2, 5},
                                                {3},
                                                {1.5, 4, 7},
                                                {2.5},
                                                {1.2, 1.7, 6, 8},
                                                {2.2, 2.7, 3.5, 4.5},
                                                {1.1, 1.3, 1.4, 1.6, 1.8}};
  for (const std::vector<double>& factors : rounds)
    for (int decade = -6; decade <= 6; ++decade)
      for (const double factor : factors) {
        const double value = factor * std::pow(10, decade), at = axis.place(value);
        bool fits = value >= axis.low && value <= axis.high;
        for (const Tick& tick : axis.ticks) fits = fits && std::abs(axis.place(tick.value) - at) >= 30;
        const bool whole = factor == std::floor(factor);
        if (fits) axis.ticks.push_back({value, std::max(0, (whole ? 0 : 1) - decade)});
      }
  return axis;
}

/// The lowest and the highest loss of every bucket, by step, and the last of all.
Points extremes(const LossSeries& series) {
  Points points;
  for (const LossBucket& bucket : series.buckets()) {
    const auto& [first, second] =
        std::minmax(bucket.low, bucket.high, [](const auto& a, const auto& b) { return a.step < b.step; });
    points.push_back({static_cast<double>(first.step), first.loss});
    if (second.step != first.step) points.push_back({static_cast<double>(second.step), second.loss});
  }
  const Point last{static_cast<double>(series.back().step), series.back().loss};
  if (!points.empty() && points.back() != last) points.push_back(last);
  return points;
}

/// Mean over each bucket and those at most `reach` before and after it.
Points smoothed(const LossSeries& series, std::size_t reach) {
  const std::vector<LossBucket>& buckets = series.buckets();
  std::vector<double> sums{0}, counts{0};
  for (const LossBucket& bucket : buckets) {
    sums.push_back(sums.back() + bucket.sum);
    counts.push_back(counts.back() + static_cast<double>(bucket.count));
  }
  Points means;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    // At the steep beginning the reach shrinks on both sides, so that the slope does not bend.
    const std::size_t before = std::min(reach, i), after = std::min(before, buckets.size() - 1 - i);
    const std::size_t begin = i - before, end = i + after + 1;
    means.push_back({static_cast<double>(buckets[i].first + buckets[i].last) / 2,
                     (sums[end] - sums[begin]) / (counts[end] - counts[begin])});
  }
  return means;
}

/// At most two points, the lowest and the highest, for every pixel, and the last of all: a long run makes no
/// large file, and the curve ends where its last value is written.
Points thinned(const Points& points, const Axis& x) {
  Points thin;
  for (std::size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    const auto column = std::floor(x.place(points[begin].first));
    while (end < points.size() && std::floor(x.place(points[end].first)) == column) ++end;
    const auto by_loss = [](const Point& a, const Point& b) { return a.second < b.second; };
    const auto [low, high] = std::minmax_element(points.begin() + static_cast<std::ptrdiff_t>(begin),
                                                 points.begin() + static_cast<std::ptrdiff_t>(end), by_loss);
    thin.push_back(std::min(*low, *high));
    if (low->first != high->first) thin.push_back(std::max(*low, *high));
  }
  if (!thin.empty() && thin.back() != points.back()) thin.push_back(points.back());
  return thin;
}

std::string text(double x, double y, const std::string& kind, const std::string& anchor,
                 const std::string& words) {
  return "<text class=\"" + kind + "\" x=\"" + fixed(x, 1) + "\" y=\"" + fixed(y, 1) + "\" text-anchor=\"" +
         anchor + "\">" + words + "</text>\n";
}

std::string line(const std::string& kind, double x1, double y1, double x2, double y2) {
  return "<line class=\"" + kind + "\" x1=\"" + fixed(x1, 1) + "\" y1=\"" + fixed(y1, 1) + "\" x2=\"" +
         fixed(x2, 1) + "\" y2=\"" + fixed(y2, 1) + "\"/>\n";
}

std::string curve(const std::string& kind, const Points& points, const Axis& x, const Axis& y) {
  if (points.empty()) return "";
  std::string svg = "<polyline class=\"" + kind + "\" points=\"";
  for (const auto& [step, loss] : points)
    svg += fixed(x.place(step), 1) + "," + fixed(y.place(loss), 1) + " ";
  svg.back() = '"';
  return svg + "/>\n";
}

std::string dot(const Point& point, const Axis& x, const Axis& y) {
  return "<circle class=\"dot\" cx=\"" + fixed(x.place(point.first), 1) + "\" cy=\"" +
         fixed(y.place(point.second), 1) + "\" r=\"2.6\"/>\n";
}

std::string axes(const Axis& x, const Axis& y) {
  std::string svg;
  for (const Tick& tick : y.ticks) {
    const double at = y.place(tick.value);
    svg += line("grid", kLeft, at, kRight, at) +
           text(kLeft - 9, at + 4, "tick", "end", fixed(tick.value, tick.digits));
  }
  for (const Tick& tick : x.ticks) {
    const double at = x.place(tick.value);
    svg += line("axis", at, kBottom, at, kBottom + 5) +
           text(at, kBottom + 20, "tick", "middle", fixed(tick.value, tick.digits));
  }
  svg += line("axis", kLeft, kBottom, kRight, kBottom);
  return svg + text((kLeft + kRight) / 2, kBottom + 42, "label", "middle", "step") +
         text(kLeft - 48, kTop - 32, "label", "start", "loss in nats per byte, logarithmic");
}

/// @param mean  of how many steps the thick line shows the mean
std::string legend(std::int64_t mean, bool training, bool held_out) {
  const double y = kTop - 36, x = kRight - 305;
  std::string svg;
  if (training) {
    const std::string words = mean == 1 ? "" : ", mean of " + std::to_string(mean) + " steps";
    svg += line("training", x, y, x + 26, y) + text(x + 33, y + 4, "label", "start", "training" + words);
  }
  if (held_out)
    svg += line("held", kRight - 85, y, kRight - 59, y) + "<circle class=\"dot\" cx=\"" +
           fixed(kRight - 72, 1) + "\" cy=\"" + fixed(y, 1) + "\" r=\"2.6\"/>\n" +
           text(kRight - 52, y + 4, "label", "start", "held out");
  return svg;
}

/// The values at the right ends of the curves, moved apart where they would overlap.
std::string last_values(const Points& training, const Points& held_out, const Axis& y) {
  const double apart = 14;
  double train_at = training.empty() ? 0 : y.place(training.back().second);
  double held_at = held_out.empty() ? 0 : y.place(held_out.back().second);
  if (!training.empty() && !held_out.empty() && std::abs(held_at - train_at) < apart) {
    const double middle = (held_at + train_at) / 2, sign = held_at <= train_at ? -1 : 1;
    held_at = middle + sign * apart / 2, train_at = middle - sign * apart / 2;
  }
  std::string svg;
  const double x = kRight + 7;
  if (!training.empty()) svg += text(x, train_at + 4, "value", "start", fixed(training.back().second, 3));
  if (!held_out.empty())
    svg += text(x, held_at + 4, "value heldvalue", "start", fixed(held_out.back().second, 3));
  return svg;
}

// Blue and orange are told apart by every kind of colour vision; both have enough contrast on either
// background.
constexpr const char* kHead =
    R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 440" width="760" height="440" role="img">
<style>
text { font-family: system-ui, "Helvetica Neue", Arial, sans-serif; font-size: 12px; fill: #57606a }
.paper { fill: #ffffff }
.label { fill: #24292f }
.value { font-weight: 600; fill: #0b62c4 }
.heldvalue { fill: #b35900 }
.grid { stroke: #d8dee4; stroke-width: 1 }
.axis { stroke: #8c959f; stroke-width: 1 }
polyline { fill: none; stroke-linejoin: round; stroke-linecap: round }
.each { stroke: #0b62c4; stroke-width: 1; stroke-opacity: 0.25 }
.training { stroke: #0b62c4; stroke-width: 2 }
.held { stroke: #d97706; stroke-width: 2 }
.dot { fill: #d97706 }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 }
  .paper { fill: #0d1117 }
  .label { fill: #e6edf3 }
  .value { fill: #58a6ff }
  .heldvalue { fill: #f0a040 }
  .grid { stroke: #262c34 }
  .axis { stroke: #6e7681 }
  .each, .training { stroke: #58a6ff }
  .held { stroke: #f0a040 }
  .dot { fill: #f0a040 }
}
</style>
)";

}  // namespace

std::string loss_curve(const LossHistory& losses) {
  const LossSeries &training = losses.training, &held_out = losses.held_out;
  const auto last = static_cast<double>(std::max(training.back().step, held_out.back().step));
  const Axis x = step_axis(last), y = loss_axis(losses);
  const std::size_t reach = training.buckets().size() / 100;
  const Points mean = smoothed(training, reach), held = extremes(held_out);

  std::string svg = kHead;
  svg += "<title>Loss over " + fixed(last, 0) + " steps</title>\n";
  svg += "<rect class=\"paper\" width=\"" + fixed(kWidth, 0) + "\" height=\"" + fixed(kHeight, 0) +
         "\" rx=\"6\"/>\n";
  svg += axes(x, y);
  if (reach > 0) svg += curve("each", thinned(extremes(training), x), x, y);
  svg += curve("training", thinned(mean, x), x, y) + curve("held", thinned(held, x), x, y);
  if (held.size() <= 60)
    for (const Point& point : held) svg += dot(point, x, y);
  const std::int64_t steps = (2 * static_cast<std::int64_t>(reach) + 1) * training.span();
  return svg + legend(steps, !mean.empty(), !held.empty()) + last_values(mean, held, y) + "</svg>\n";
}

}  // namespace retnet
