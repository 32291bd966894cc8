// Data: how text is split and cut into windows, and which text is refused.

#include "train/dataset.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "tests/support/close.h"
#include "tests/support/test.h"
#include "tests/train/tiny_run.h"
#include "train/bundled_text.h"
#include "train/evaluate.h"

namespace retnet {
namespace {

using test::bit_difference;
using test::error_message;
using test::TemporaryFolder;
using test::write_text;

/// Bytes 0, 1, 2, .., so that a byte tells where it stood.
std::string counting(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += static_cast<char>(i);
  return text;
}

TEST_CASE("text is split, hashed and joined", "[train][dataset]") {
  const TemporaryFolder folder;
  write_text(folder / "a", "foo"), write_text(folder / "b", "bar"), write_text(folder / "ab", "foobar");
  const Dataset joined({folder / "a", folder / "b"}, 0.34), whole({folder / "ab"}, 0);
  CHECK(joined.size() == 6);
  CHECK(joined.held_out_size() == 2);
  CHECK(joined.train_size() == 4);
  CHECK(whole.held_out_size() == 0);
  CHECK(joined.hash() == 0x85944171f73967e8ull);  // FNV-1a 64 of "foobar", from its authors' test vectors
  CHECK(joined.hash() == whole.hash());
  CHECK(Dataset({folder / "b", folder / "a"}, 0).hash() != whole.hash());
}

TEST_CASE("training windows lie in the training part and follow from seed, step and part",
          "[train][dataset]") {
  const TemporaryFolder folder;
  write_text(folder / "data", counting(100));
  const Dataset data({folder / "data"}, 0.2);
  std::set<int> begins;
  for (std::int64_t step = 1; step <= 200; ++step) {
    const Batch batch = data.train_batch(4, 7, 3, step, 0);
    REQUIRE(batch.tokens.shape() == Shape{4, 7});
    for (std::int64_t row = 0; row < 4; ++row) {
      const int begin = static_cast<int>(batch.tokens.at({row, 0}));
      begins.insert(begin);
      for (std::int64_t i = 0; i < 7; ++i) {
        REQUIRE(batch.tokens.at({row, i}) == begin + i);
        REQUIRE(batch.targets.at({row, i}) == begin + i + 1);
      }
    }
  }
  // 80 bytes have 73 windows of 7 with a byte after them. 800 draws miss one of them with probability 0.001.
  CHECK(*begins.begin() == 0);
  CHECK(*begins.rbegin() == 72);
  CHECK(begins.size() >= 72);
  const auto tokens = [&](std::int64_t seed, std::int64_t step, std::int64_t part) {
    return data.train_batch(8, 7, seed, step, part).tokens;
  };
  CHECK(bit_difference(tokens(1, 5, 0), tokens(1, 5, 0)).empty());
  CHECK_FALSE(bit_difference(tokens(1, 5, 0), tokens(2, 5, 0)).empty());
  CHECK_FALSE(bit_difference(tokens(1, 5, 0), tokens(1, 6, 0)).empty());
  CHECK_FALSE(bit_difference(tokens(1, 5, 0), tokens(1, 5, 1)).empty());
}

TEST_CASE("held-out windows predict every byte but the first, once", "[train][dataset]") {
  const TemporaryFolder folder;
  for (const int size : {2, 3, 8, 9, 15, 16, 17, 100}) {
    CAPTURE(size);
    write_text(folder / "data", counting(size));
    const Dataset data({folder / "data"}, 1);
    std::vector<int> seen(static_cast<std::size_t>(size));
    for (std::int64_t i = 0; i < data.held_out_windows(7); ++i) {
      const Batch batch = data.held_out_batch({i}, 7);
      REQUIRE(batch.tokens.shape() == Shape{1, data.held_out_length(i, 7)});
      for (std::int64_t j = 0; j < batch.tokens.dim(1); ++j) {
        CHECK(batch.targets.at({0, j}) == batch.tokens.at({0, j}) + 1);
        ++seen[static_cast<std::size_t>(batch.targets.at({0, j}))];
      }
    }
    seen[0] += 1;
    CHECK(seen == std::vector<int>(static_cast<std::size_t>(size), 1));
  }
}

TEST_CASE("a held-out batch holds windows of one length", "[train][dataset]") {
  const TemporaryFolder folder;
  write_text(folder / "data", counting(10));
  const Dataset data({folder / "data"}, 1);
  CHECK(data.held_out_batch({1, 0}, 4).tokens.at({0, 0}) == 4);
  CHECK(error_message([&] {
          data.held_out_batch({0, 2}, 4);
        }) == "data: the shorter last window needs a batch of its own");
  CHECK(error_message([&] { data.held_out_batch({3}, 4); }) == "data: held-out window 3 is outside 0 .. 2");
}

TEST_CASE("text that cannot be used is refused with its name", "[train][dataset]") {
  const TemporaryFolder folder;
  write_text(folder / "empty", "");
  write_text(folder / "secret", "text");
  const auto problem = [&](const std::string& name) {
    return error_message([&] { Dataset({name.empty() ? name : folder / name}, 0.1); });
  };
  CHECK(problem("missing") == folder / "missing" + ": cannot read: No such file or directory");
  CHECK(problem(".") == folder / "." + ": cannot read: Is a directory");
  CHECK(problem("empty") == folder / "empty" + ": the file is empty; give one with text to learn from");
  CHECK(error_message([] { Dataset(std::vector<std::string>{}, 0.1); }) ==
        "data: needs at least one file, or \"bundled\"");
  ::chmod((folder / "secret").c_str(), 0);
  if (::geteuid() != 0) CHECK(problem("secret") == folder / "secret" + ": cannot read: Permission denied");
}

namespace {

/// Paths of the files that the program bundles, sorted, found by looking through the source.
std::set<std::string> bundled_files() {
  const std::string source = RETNET_SOURCE_DIR "/";
  std::set<std::string> paths{"CONTRIBUTING.md", "README.md"};
  for (const char* folder : {"autograd", "cmake", "docs", "kernels", "retnet", "tensor", "tests", "train"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(source + folder))
      if (std::set<std::string>{".h", ".cpp", ".hip", ".md", ".py", ".cmake"}.count(entry.path().extension()))
        paths.insert(entry.path().string().substr(source.size()));
  return paths;
}

}  // namespace

TEST_CASE("the bundled text is the book and the source, whole files held out at its end", "[train][dataset]") {
  const std::string_view text = bundled_text();
  const Dataset data({"bundled"}, bundled_held_out());
  REQUIRE(data.size() == static_cast<std::int64_t>(text.size()));
  const auto border = static_cast<std::size_t>(data.train_size());
  CHECK(bundled_held_out() > 0.05);
  CHECK(bundled_held_out() < 0.2);
  // Each file stands once, next in one of the two parts.
  std::size_t trained = 0, held_out = border;
  std::set<std::string> held_out_files;
  for (const std::string& path : bundled_files()) {
    INFO(path);
    const std::string content = read_file(RETNET_SOURCE_DIR "/" + path);
    const bool in_training = text.substr(0, border).substr(trained).starts_with(content);
    std::size_t& at = in_training ? trained : held_out;
    REQUIRE(text.substr(at).starts_with(content));
    at += content.size();
    if (!in_training) held_out_files.insert(path);
  }
  CHECK(trained == border);
  CHECK(held_out == text.size());
  // The rule looks at a name only, so these stay where they are whatever else is added: md5 begins with 00 .. 19.
  for (const char* path : {"README.md", "docs/gradients.md", "kernels/bf16.h", "retnet/model.h"})
    CHECK(held_out_files.count(path) == 1);
  for (const char* path : {"CONTRIBUTING.md", "docs/parallel.md", "retnet/block.cpp", "tensor/tensor.h"})
    CHECK(held_out_files.count(path) == 0);
}

TEST_CASE("text that is too short for a window says so", "[train][dataset]") {
  const TemporaryFolder folder;
  write_text(folder / "data", counting(100));
  const auto problem = [&](double held_out, std::int64_t window) {
    return error_message([&] { Dataset({folder / "data"}, held_out).require_window(window); });
  };
  CHECK(problem(0.1, 9) == "no error");
  CHECK(problem(0.1, 10) ==
        "data: a window of 10 needs 11 bytes to train on and as many held out, got 90 and 10; "
        "give more text or a smaller window");
  CHECK(problem(0, 99) == "no error");
  CHECK(
      problem(0, 100) ==
      "data: a window of 100 needs 101 bytes to train on, got 100 and 0; give more text or a smaller window");
}

TEST_CASE("bytes become tokens and come back", "[train][dataset]") {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const Tensor tokens = encode(all);
  CHECK(tokens.shape() == Shape{1, 256});
  CHECK(tokens.at({0, 255}) == 255);
  CHECK(decode(tokens.to_vector<std::int32_t>()) == all);
  CHECK(error_message([] { decode({65, 256}); }) == "decode: a token must be a byte, 0 .. 255, got 256");
}

TEST_CASE("evaluation does not depend on the batch size", "[train][dataset]") {
  const TemporaryFolder folder;
  const Run run = test::tiny_run(folder, "run");
  const RetNet model(run.config);
  const Dataset data(run.data, 0.1);
  const Evaluation one = evaluate(model, data, 10, 1, {}), many = evaluate(model, data, 10, 7, {});
  CHECK(one.bytes == data.held_out_size() - 1);
  CHECK(one.nats == many.nats);
  CHECK(one.nats == Approx(std::log(256)).epsilon(0.2));
  CHECK(one.bits() == Approx(one.nats / 0.693147180559945));
  CHECK(one.perplexity() == Approx(std::exp(one.nats)));
  CHECK(evaluate(model, data, 10, 4, {}, 3).bytes == 30);
  write_text(folder / "byte", "a");
  CHECK(error_message([&] { evaluate(model, Dataset({folder / "byte"}, 1), 10, 1, {}); }) ==
        "evaluate: needs at least 2 bytes of text, got 1");
}

}  // namespace
}  // namespace retnet
