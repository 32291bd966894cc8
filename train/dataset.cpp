#include "train/dataset.h"

#include <algorithm>
#include <utility>

#include "train/streams.h"

namespace retnet {
namespace {

std::int32_t token(char byte) { return static_cast<unsigned char>(byte); }

/// Windows that begin at the given bytes, each with the byte after every one of its bytes as the target.
Batch windows_at(const Corpus& text, const std::vector<std::int64_t>& begins, std::int64_t window) {
  std::vector<std::int32_t> tokens, targets;
  tokens.reserve(begins.size() * static_cast<std::size_t>(window));
  targets.reserve(begins.size() * static_cast<std::size_t>(window));
  std::string bytes(static_cast<std::size_t>(window) + 1, '\0');
  for (const std::int64_t begin : begins) {
    text.read(begin, bytes.data(), window + 1);
    for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
      tokens.push_back(token(bytes[i]));
      targets.push_back(token(bytes[i + 1]));
    }
  }
  const Shape shape{static_cast<std::int64_t>(begins.size()), window};
  return {Tensor::from(tokens, shape), Tensor::from(targets, shape)};
}

}  // namespace

Dataset::Dataset(Corpus text, double held_out) : text_(std::move(text)), wants_held_out_(held_out > 0) {
  require(held_out >= 0 && held_out <= 1, "data", "the fraction held out must be in [0, 1], got ", held_out);
  train_size_ = size() - static_cast<std::int64_t>(static_cast<double>(size()) * held_out);
}

void Dataset::require_window(std::int64_t window) const {
  const bool fits = train_size() > window && (!wants_held_out_ || held_out_size() > window);
  require(fits, "data", "a window of ", window, " needs ", window + 1, " bytes to train on",
          wants_held_out_ ? " and as many held out" : "", ", got ", train_size(), " and ", held_out_size(),
          "; give more text or a smaller window");
}

Batch Dataset::train_batch(std::int64_t batch, std::int64_t window, std::int64_t seed, std::int64_t step,
                           std::int64_t part) const {
  require(train_size() > window, "data", "a window of ", window, " needs ", window + 1,
          " bytes to train on, got ", train_size());
  const RandomKey key = step_key(Purpose::windows, seed, step, part);
  std::vector<std::int64_t> begins;
  for (std::int64_t row = 0; row < batch; ++row) {
    const auto i = 2 * static_cast<std::uint64_t>(row);
    const std::uint64_t high = kernels::random_bits(key, i), low = kernels::random_bits(key, i + 1);
    begins.push_back(scaled(high << 32 | low, train_size() - window));
  }
  return windows_at(text_, begins, window);
}

std::int64_t Dataset::held_out_windows(std::int64_t window) const {
  return held_out_size() < 2 ? 0 : (held_out_size() - 1 + window - 1) / window;
}

std::int64_t Dataset::held_out_length(std::int64_t i, std::int64_t window) const {
  return std::min(window, held_out_size() - 1 - i * window);
}

Batch Dataset::held_out_batch(const std::vector<std::int64_t>& windows, std::int64_t window) const {
  require(!windows.empty(), "data", "a batch needs at least one window");
  const std::int64_t length = held_out_length(windows[0], window);
  std::vector<std::int64_t> begins;
  for (const std::int64_t i : windows) {
    require(i >= 0 && i < held_out_windows(window), "data", "held-out window ", i, " is outside 0 .. ",
            held_out_windows(window) - 1);
    require(held_out_length(i, window) == length, "data", "the shorter last window needs a batch of its own");
    begins.push_back(train_size() + i * window);
  }
  return windows_at(text_, begins, length);
}

std::vector<std::int32_t> tokens_of(const std::string& text) {
  std::vector<std::int32_t> tokens(text.size());
  std::transform(text.begin(), text.end(), tokens.begin(), token);
  return tokens;
}

Tensor encode(const std::string& text) {
  return Tensor::from(tokens_of(text), {1, static_cast<std::int64_t>(text.size())});
}

std::string decode(const std::vector<std::int32_t>& tokens) {
  std::string text;
  for (const std::int32_t t : tokens) {
    require(t >= 0 && t < 256, "decode", "a token must be a byte, 0 .. 255, got ", t);
    text += static_cast<char>(t);
  }
  return text;
}

}  // namespace retnet
