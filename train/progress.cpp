#include "train/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

#include "tensor/text.h"
#include "train/output.h"

namespace retnet {
namespace {

constexpr double kTerminalSeconds = 0.1;  // between two versions of the line on a terminal
constexpr double kLineSeconds = 10;       // between two lines elsewhere

}  // namespace

std::string duration(double seconds) {
  const auto s = static_cast<long long>(std::llround(std::min(seconds, 3.6e9)));
  char text[64];
  if (s < 60)
    std::snprintf(text, sizeof text, "%lld s", s);
  else if (s < 3600)
    std::snprintf(text, sizeof text, "%lld min %02lld s", s / 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%lld h %02lld min", s / 3600, s % 3600 / 60);
  return text;
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(std::ostream* out, int terminal, std::int64_t done, std::int64_t steps, SecondsClock clock)
    : out_(out), done_before_(done), done_(done), steps_(steps), clock_(std::move(clock)) {
  if (out != nullptr && terminal >= 0) line_.emplace(*out, terminal);
  begin_ = shown_ = clock_();
}

void Progress::step(std::int64_t step, double loss, std::int64_t tokens, double seconds) {
  const double weight = std::max(0.1, 1.0 / static_cast<double>(++seen_));
  loss_ += weight * (loss - loss_);
  rate_ += weight * (static_cast<double>(tokens) / std::max(seconds, 1e-9) - rate_);
  done_ = step;
  if (due()) show(false);
}

bool Progress::due() const {
  return out_ != nullptr && clock_() - shown_ >= (line_ ? kTerminalSeconds : kLineSeconds);
}

void Progress::evaluation(const Evaluation& held_out) {
  held_out_ = held_out.nats;
  show(true);
}

void Progress::say(const std::string& message) {
  if (out_ == nullptr) return;
  if (line_) line_->end();
  *out_ << message << std::endl;
}

std::vector<Progress::Field> Progress::fields(bool evaluated) const {
  std::vector<Field> list{{"step " + std::to_string(done_) + "/" + std::to_string(steps_), 0}};
  if (seen_ > 0) list.push_back({"loss " + formatted("%.3f", loss_), evaluated ? 2 : 1});
  if (held_out_) list.push_back({"held out " + formatted("%.3f", *held_out_), evaluated ? 1 : 2});
  if (seen_ == 0) return list;
  list.push_back({with_commas(std::llround(rate_)) + " tokens/s", 4});
  // Evaluations and checkpoints take time too, so what is left is judged by all the time that has passed.
  const double passed = clock_() - begin_;
  const double per_step = passed / static_cast<double>(std::max<std::int64_t>(1, done_ - done_before_));
  const auto left = static_cast<double>(steps_ - done_);
  list.push_back({done_ < steps_ ? duration(per_step * left) + " left" : duration(passed) + " in all", 3});
  return list;
}

void Progress::show(bool evaluated) {
  if (out_ == nullptr) return;
  shown_ = clock_();
  std::vector<Field> list = fields(evaluated);
  const auto joined = [&] {
    std::string text = list[0].text;
    for (std::size_t i = 1; i < list.size(); ++i) text += "  " + list[i].text;
    return text;
  };
  if (!line_) {
    *out_ << joined() << std::endl;
    return;
  }
  while (list.size() > 1 && columns_of(joined()) > line_->room())
    list.erase(std::max_element(list.begin(), list.end(),
                                [](const Field& a, const Field& b) { return a.rank < b.rank; }));
  line_->draw(joined());
  if (evaluated) line_->end();
}

}  // namespace retnet
