// Which bytes are trained on, which are held out, and which of those are evaluated, byte by byte.

#include <algorithm>
#include <set>

#include "tests/support/small_models.h"
#include "tests/support/test.h"
#include "tests/support/threads.h"
#include "tests/train/reference_run.h"

namespace retnet {
namespace {

using test::write_text;

/// n bytes, all different, so that a byte tells where it stood. n <= 256
std::string numbered(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += static_cast<char>(i);
  return text;
}

/// n bytes in no order, so that a window of them is found at one place only.
std::string scrambled(std::int64_t n) {
  std::string text;
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text += static_cast<char>(state >> 56);
  }
  return text;
}

/// A row of a tensor of tokens, as text.
std::string row_of(const Tensor& tokens, std::int64_t row) {
  return decode(contiguous(select(tokens, 0, row)).to_vector<std::int32_t>());
}

void insert(std::set<int>& bytes, const Batch& batch) {
  for (const Tensor& tokens : {batch.tokens, batch.targets})
    for (const std::int32_t byte : tokens.to_vector<std::int32_t>()) bytes.insert(byte);
}

/// Numbers first .. last - 1.
std::set<int> range(std::int64_t first, std::int64_t last) {
  std::set<int> numbers;
  for (std::int64_t i = first; i < last; ++i) numbers.insert(static_cast<int>(i));
  return numbers;
}

TEST_CASE("a training window is where its random number says", "[train][windows][reference]") {
  const test::TemporaryFolder folder;
  const std::string text = scrambled(200000);
  write_text(folder / "data", text);
  const Dataset data({folder / "data"}, 0.25);
  const std::int64_t window = 8,
                     places = 150000 - window;  // the last of them ends, with its target, at 150000
  for (const std::int64_t seed : {std::int64_t{0}, std::int64_t{3}, std::int64_t{1} << 40, INT64_MAX})
    for (const std::int64_t step : {std::int64_t{1}, std::int64_t{77777}, (std::int64_t{1} << 31) - 1})
      for (const std::int64_t part : {0, 1, 65535}) {
        const Batch batch = data.train_batch(5, window, seed, step, part);
        for (std::int64_t row = 0; row < 5; ++row) {
          CAPTURE(seed, step, part, row);
          const auto begin = static_cast<std::size_t>(test::reference_window(seed, step, part, row, places));
          CHECK(row_of(batch.tokens, row) == text.substr(begin, window));
          CHECK(row_of(batch.targets, row) == text.substr(begin + 1, window));
        }
      }
}

TEST_CASE("among many windows none is a byte off", "[train][windows][reference]") {
  // The upper half of a product of 64-bit numbers: a carry that is lost moves one window in some thousands.
  const test::TemporaryFolder folder;
  const std::string text = scrambled(1000000);
  write_text(folder / "data", text);
  const std::int64_t rows = 50000, places = 1000000 - 2;
  const Batch batch = Dataset({folder / "data"}, 0).train_batch(rows, 2, 1, 1, 0);
  const std::vector<std::int32_t> tokens = batch.tokens.to_vector<std::int32_t>();
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto begin = static_cast<std::size_t>(test::reference_window(1, 1, 0, row, places));
    for (const std::size_t i : {0, 1})
      wrong += tokens[2 * static_cast<std::size_t>(row) + i] != static_cast<unsigned char>(text[begin + i]);
  }
  CHECK(wrong == 0);
}

TEST_CASE("no byte is both trained on and held out, and every byte is one of them", "[train][windows]") {
  const test::TemporaryFolder folder;
  for (const int size : {2, 3, 4, 9, 10, 11, 19, 20, 21, 99, 100, 101, 255, 256}) {
    write_text(folder / "data", numbered(size));
    for (const double fraction : {0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0}) {
      CAPTURE(size, fraction);
      const Dataset data({folder / "data"}, fraction);
      const auto held_out = static_cast<std::int64_t>(size * fraction);  // rounded down
      const std::int64_t trained = size - held_out;
      CHECK(data.held_out_size() == held_out);
      CHECK(data.train_size() == trained);
      // The shortest windows, by turns all places; and the longest, of which there is one.
      if (trained >= 2) {
        std::set<int> seen;
        for (std::int64_t step = 1; step <= 20; ++step)
          insert(seen, data.train_batch(trained, 1, 1, step, 0));
        CHECK(seen == range(0, trained));
        const Batch longest = data.train_batch(2, trained - 1, 1, 1, 0);
        CHECK(row_of(longest.tokens, 1) == numbered(static_cast<int>(trained) - 1));
        CHECK(test::error_message([&] { data.train_batch(1, trained, 1, 1, 0); }) ==
              "data: a window of " + std::to_string(trained) + " needs " + std::to_string(trained + 1) +
                  " bytes to train on, got " + std::to_string(trained));
      }
      for (const std::int64_t window : {std::int64_t{1}, std::int64_t{7}, held_out - 1, held_out}) {
        if (window < 1) continue;
        std::set<int> seen;
        for (std::int64_t i = 0; i < data.held_out_windows(window); ++i)
          insert(seen, data.held_out_batch({i}, window));
        CHECK(seen == (held_out < 2 ? std::set<int>() : range(trained, size)));
      }
    }
  }
}

TEST_CASE("several files are one text, and windows cross from one to the next", "[train][windows]") {
  const test::TemporaryFolder folder;
  const std::string text = scrambled(3000);
  write_text(folder / "all", text);
  write_text(folder / "a", text.substr(0, 1000)), write_text(folder / "b", text.substr(1000, 1));
  write_text(folder / "c", text.substr(1001));
  for (const double fraction : {0.1, 0.9}) {  // the border is in the last file, or in the first
    const Dataset one({folder / "all"}, fraction);
    const Dataset three({folder / "a", folder / "b", folder / "c"}, fraction);
    CHECK(three.train_size() == one.train_size());
    CHECK(three.hash() == one.hash());
    for (std::int64_t step = 1; step <= 10; ++step) {
      const Batch x = one.train_batch(9, 200, 1, step, 0), y = three.train_batch(9, 200, 1, step, 0);
      CHECK(test::bit_difference(y.tokens, x.tokens) == "");
      CHECK(test::bit_difference(y.targets, x.targets) == "");
    }
    for (std::int64_t i = 0; i < one.held_out_windows(150); ++i) {
      const Batch x = one.held_out_batch({i}, 150), y = three.held_out_batch({i}, 150);
      CHECK(test::bit_difference(y.tokens, x.tokens) == "");
      CHECK(test::bit_difference(y.targets, x.targets) == "");
    }
  }
}

TEST_CASE("an evaluation is the mean over the bytes of evenly spread windows, however many",
          "[train][windows][reference]") {
  const test::TemporaryFolder folder;
  const Config config = test::minute_config();
  RetNet model(config, 9, Dtype::f64);
  TrainSettings settings;
  settings.seed = 9, settings.window = 5;
  // Windows of 5: one short one; a few; 64, 65 and 129 of them, for 64 batches are computed side by side; and
  // as many with a last one of a single byte, or of all but one.
  for (const int held_out : {2, 5, 6, 7, 13, 320, 321, 322, 326, 642}) {
    std::string text = scrambled(held_out + 50);
    for (char& byte : text) byte = static_cast<char>(static_cast<unsigned char>(byte) % 11);
    write_text(folder / "data", text);
    settings.held_out = (held_out + 0.5) / static_cast<double>(text.size());
    const Dataset data({folder / "data"}, settings.held_out);
    REQUIRE(data.held_out_size() == held_out);
    const test::ReferenceTraining reference(config, settings, text);
    for (const std::int64_t windows : {0, 1, 3, 64, 65, 128, 1000}) {
      const Evaluation expected = reference.evaluate(windows).held_out;
      for (const std::int64_t batch : {1, 2, 7})
        for (const int threads : {1, 3}) {
          if (threads == 3 && (batch != 1 || windows != 0)) continue;
          CAPTURE(held_out, windows, batch, threads);
          const test::Threads chosen(threads);
          const Evaluation is = evaluate(model, data, settings.window, batch, {}, windows);
          CHECK(is.bytes == expected.bytes);
          CHECK(test::relative(is.nats, expected.nats) <= 1e-13);
        }
    }
  }
}

TEST_CASE("an evaluation runs in the form that it was asked for", "[train][windows]") {
  const test::TemporaryFolder folder;
  write_text(folder / "data", test::minute_text());
  const Dataset data({folder / "data"}, 1);
  RetNet model = test::random_model(test::minute_config(), 4, Dtype::f32);
  std::set<double> found;
  for (const FormOptions& form : {FormOptions{Form::parallel}, FormOptions{Form::recurrent},
                                  FormOptions{Form::chunkwise}, FormOptions{Form::chunkwise, 0, true}}) {
    // The same additions, one window after the other.
    double sum = 0;
    for (std::int64_t i = 0; i < data.held_out_windows(25); ++i) {
      const Batch batch = data.held_out_batch({i}, 25);
      ForwardOptions options;
      options.form = form;
      const Variable losses = cross_entropy(model.forward(batch.tokens, options), batch.targets);
      for (const double loss : losses.value().to_vector<double>()) sum += loss;
    }
    const double nats = evaluate(model, data, 25, 3, form).nats;
    CHECK(nats == sum / 200);
    found.insert(nats);
  }
  CHECK(found.size() == 4);  // each form rounds in its own way, so a form that is not run shows
}

TEST_CASE("an evaluation that is to end begins no batch", "[train][windows]") {
  const test::TemporaryFolder folder;
  write_text(folder / "data", test::minute_text());
  const Dataset data({folder / "data"}, 1);
  const RetNet model = test::random_model(test::minute_config(), 4, Dtype::f32);
  const std::atomic<bool> stop{true};
  reset_peak_memory();
  CHECK_FALSE(evaluate_until(stop, model, data, 5, 1, {}, 0).has_value());
  CHECK(memory_stats().peak == memory_stats().live);
}

TEST_CASE("a run evaluates in its own form", "[train][windows][trainer]") {
  const test::Threads one(1);
  const test::TemporaryFolder folder;
  write_text(folder / "data", test::minute_text());
  std::set<double> found;
  for (const FormOptions& form : {FormOptions{Form::parallel}, FormOptions{Form::recurrent},
                                  FormOptions{Form::chunkwise}, FormOptions{Form::chunkwise, 0, true}}) {
    Run run;
    run.config = test::minute_config(), run.settings = test::minute_settings(), run.config.vocab = 256;
    run.settings.form = form.form, run.settings.reference = form.reference;
    run.data = {folder / "data"}, run.out = folder / std::to_string(found.size()), run.quiet = true;
    const double nats = test::train_to_end(run).held_out.nats;
    const RetNet model = load_model(model_folder(run.out));
    CHECK(nats == evaluate(model, Dataset(run.data, run.settings.held_out), 5, 2, form).nats);
    found.insert(nats);
  }
  CHECK(found.size() == 4);
}

}  // namespace
}  // namespace retnet
