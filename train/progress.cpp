#include "train/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace retnet {
namespace {

constexpr double kTerminalSeconds = 0.1;  // between two versions of the line on a terminal
constexpr double kLineSeconds = 10;       // between two lines elsewhere

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// 16304 as "16,304".
std::string thousands(double value) {
  std::string text = std::to_string(std::llround(value));
  for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3)
    text.insert(static_cast<std::size_t>(i), 1, ',');
  return text;
}

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

Progress::Progress(std::ostream* out, bool terminal, std::int64_t done, std::int64_t steps)
    : out_(out), terminal_(terminal), done_before_(done), done_(done), steps_(steps) {}

Progress::~Progress() {
  if (out_ != nullptr && width_ > 0) *out_ << std::endl;
}

double Progress::elapsed(Clock::time_point since) const {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

void Progress::step(std::int64_t step, double loss, std::int64_t tokens, double seconds) {
  const double weight = std::max(0.1, 1.0 / static_cast<double>(++seen_));
  loss_ += weight * (loss - loss_);
  rate_ += weight * (static_cast<double>(tokens) / std::max(seconds, 1e-9) - rate_);
  done_ = step;
  if (due()) show(false);
}

bool Progress::due() const {
  return out_ != nullptr && elapsed(shown_) >= (terminal_ ? kTerminalSeconds : kLineSeconds);
}

void Progress::evaluation(const Evaluation& held_out) {
  held_out_ = held_out.nats;
  show(true);
}

void Progress::say(const std::string& message) {
  if (out_ == nullptr) return;
  if (width_ > 0) *out_ << '\n';
  width_ = 0;
  *out_ << message << std::endl;
}

std::string Progress::line() const {
  std::string text = "step " + std::to_string(done_) + "/" + std::to_string(steps_);
  if (seen_ > 0) text += "  loss " + fixed(loss_, 3);
  if (held_out_) text += "  held out " + fixed(*held_out_, 3);
  if (seen_ == 0) return text;
  text += "  " + thousands(rate_) + " tokens/s";
  // Evaluations and checkpoints take time too, so what is left is judged by all the time that has passed.
  const double per_step =
      elapsed(begin_) / static_cast<double>(std::max<std::int64_t>(1, done_ - done_before_));
  if (done_ < steps_) return text + "  " + duration(per_step * static_cast<double>(steps_ - done_)) + " left";
  return text + "  " + duration(elapsed(begin_)) + " in all";
}

void Progress::show(bool stay) {
  if (out_ == nullptr) return;
  shown_ = Clock::now();
  const std::string text = line();
  if (!terminal_) {
    *out_ << text << std::endl;
    return;
  }
  const std::size_t blanks =
      width_ > text.size() ? width_ - text.size() : 0;  // over the rest of a longer line
  *out_ << '\r' << text << std::string(blanks, ' ');
  if (stay) *out_ << '\n';
  out_->flush();
  width_ = stay ? 0 : text.size();
}

}  // namespace retnet
