// Text that stays where it lies: files one after the other, larger than 4 GiB, shortened, replaced, piped.

#include "train/corpus.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>
#include <thread>

#include "tests/support/terminal.h"
#include "tests/support/test.h"
#include "tests/support/threads.h"
#include "tests/train/tiny_run.h"
#include "train/dataset.h"
#include "train/evaluate.h"

namespace retnet {
namespace {

using test::error_message;
using test::TemporaryFolder;
using test::write_text;

using Files = std::vector<std::string>;

std::string bytes_at(const Corpus& text, std::int64_t offset, std::int64_t count) {
  std::string bytes(static_cast<std::size_t>(count), '?');
  text.read(offset, bytes.data(), count);
  return bytes;
}

/// FNV-1a written down once more.
std::uint64_t fnv1a(const std::string& text) {
  std::uint64_t hash = 14695981039346656037ull;
  for (const char c : text) hash ^= static_cast<std::uint8_t>(c), hash *= 1099511628211ull;
  return hash;
}

TEST_CASE("every stretch of a text of several files is that of the joined text", "[train][corpus]") {
  const TemporaryFolder folder;
  std::string joined;
  Files files;
  for (const int size : {1, 5, 2, 1, 9}) {
    std::string part;
    for (int i = 0; i < size; ++i) part += static_cast<char>('a' + static_cast<int>(joined.size()) + i);
    files.push_back(folder / std::to_string(files.size()));
    write_text(files.back(), part);
    joined += part;
  }
  const Corpus text(files);
  const auto size = static_cast<std::int64_t>(joined.size());
  REQUIRE(text.size() == size);
  for (std::int64_t offset = 0; offset <= size; ++offset)
    for (std::int64_t count = 0; count <= size - offset; ++count)
      REQUIRE(bytes_at(text, offset, count) ==
              joined.substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(count)));
  CHECK(text.hash() == fnv1a(joined));
  CHECK(error_message([&] { bytes_at(text, 17, 2); }) ==
        "data: required bytes inside 0 .. 17, got 2 from 17");
  CHECK_THROWS_AS(bytes_at(text, -1, 1), Error);
}

TEST_CASE("the hash of a text of several pieces is that of its bytes", "[train][corpus]") {
  const TemporaryFolder folder;
  std::string a = test::sample_text(), b;
  while (b.size() < 2500000) b += a;
  write_text(folder / "a", a), write_text(folder / "b", b);
  CHECK(Corpus(Files{folder / "a", folder / "b"}).hash() == fnv1a(a + b));
}

TEST_CASE("windows beyond 4 GiB are read where they lie", "[train][corpus]") {
  const TemporaryFolder folder;
  constexpr std::int64_t kFar = (std::int64_t{1} << 32) + 1004;  // a multiple of 5
  // A file with a hole, which takes no room, and the marks of a text at its end and in the next file.
  std::FILE* const file = std::fopen((folder / "large").c_str(), "w");
  REQUIRE(file != nullptr);
  REQUIRE(::fseeko(file, kFar, SEEK_SET) == 0);
  REQUIRE(std::fputs("0123456789", file) >= 0);
  REQUIRE(std::fclose(file) == 0);
  write_text(folder / "next", "abcdefghij");
  const Corpus text({folder / "large", folder / "next"});
  REQUIRE(text.size() == kFar + 20);
  CHECK(bytes_at(text, kFar + 5, 10) == "56789abcde");
  CHECK(bytes_at(text, kFar - 2, 4) == std::string("\0\0", 2) + "01");

  const Batch batch = Dataset(text, 1).held_out_batch({kFar / 5}, 5);
  for (std::int64_t i = 0; i < 5; ++i) {
    CHECK(batch.tokens.at({0, i}) == '0' + i);
    CHECK(batch.targets.at({0, i}) == '1' + i);
  }

  // Of 1000 windows as many as are expected begin in the second part, which is 28 % of the text.
  write_text(folder / "ones", std::string(1 << 24, '1'));
  Files files{folder / "large"};
  files.resize(101, folder / "ones");
  const Batch drawn = Dataset(files, 0).train_batch(1000, 1, 1, 1, 0);
  int ones = 0;
  for (std::int64_t i = 0; i < 1000; ++i) ones += drawn.tokens.at({i, 0}) == '1';
  CHECK(ones > 240);
  CHECK(ones < 320);
}

TEST_CASE("a file that has become shorter is one error with its name", "[train][corpus]") {
  const TemporaryFolder folder;
  const std::string path = folder / "text";
  Run run = test::tiny_run(folder, "run");
  write_text(path, test::sample_text());
  const Dataset data(Files{path}, 0.5);
  const RetNet model(run.config);
  REQUIRE(::truncate(path.c_str(), 100) == 0);
  const auto problem = [&](auto body) {
    const std::string message = error_message(body);
    CHECK(message.find('\n') == message.npos);
    return message;
  };
  const std::string words = ": the file ends at 100; was it truncated meanwhile?";
  CHECK(problem([&] { data.held_out_batch({0}, 10); }) ==
        path + ": cannot read 11 bytes at byte " + std::to_string(data.train_size()) + words);
  for (const int threads : {1, 3}) {
    const test::Threads set(threads);
    CHECK(problem([&] { evaluate(model, data, 10, 4, {}); }).starts_with(path + ": cannot read 11 bytes at"));
  }
  CHECK(problem([&] {
          for (std::int64_t step = 1; step < 100; ++step) data.train_batch(4, 10, 1, step, 0);
        }).ends_with(words));
  CHECK(problem([&] { data.hash(); }).ends_with(words));
}

TEST_CASE("as many files as a folder holds are one text", "[train][corpus]") {
  const TemporaryFolder folder;
  write_text(folder / "a", "0123456789");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit usual{std::min<rlim_t>(1024, before.rlim_max), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &usual) == 0);
  const std::size_t many = before.rlim_max > 3000 ? 2000 : 10;
  CHECK(bytes_at(Corpus(Files(many, folder / "a")), static_cast<std::int64_t>(10 * many) - 12, 12) ==
        "890123456789");
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_CASE("a file that is replaced or removed stays what it was", "[train][corpus]") {
  const TemporaryFolder folder;
  write_text(folder / "text", "the old one"), write_text(folder / "new", "new");
  const Corpus text(Files{folder / "text"});
  std::filesystem::rename(folder / "new", folder / "text");
  CHECK(bytes_at(text, 0, 11) == "the old one");
  std::filesystem::remove(folder / "text");
  CHECK(text.hash() == fnv1a("the old one"));
}

TEST_CASE("a text is read once for its hash", "[train][corpus]") {
  const TemporaryFolder folder;
  write_text(folder / "text", "read once");
  const Corpus text(Files{folder / "text"});
  const std::uint64_t hash = text.hash();
  std::filesystem::resize_file(folder / "text", 0);
  CHECK(text.hash() == hash);
  CHECK(Corpus(text).hash() == hash);
}

/// A named pipe, and somebody who writes to it.
struct Pipe {
  Pipe(const std::string& path, const std::string& text) {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    writer = std::thread([path, text] { write_text(path, text); });
  }
  ~Pipe() { writer.join(); }
  std::thread writer;
};

TEST_CASE("what comes through a pipe is text like any other", "[train][corpus]") {
  const TemporaryFolder folder;
  write_text(folder / "a", "before ");
  std::string piped;
  while (piped.size() < 300000) piped += test::sample_text();  // more than a pipe holds
  const Pipe pipe(folder / "pipe", piped);
  const Corpus text(Files{folder / "a", folder / "pipe", folder / "a"});
  CHECK(bytes_at(text, 0, text.size()) == "before " + piped + "before ");
  CHECK(text.hash() == fnv1a("before " + piped + "before "));
  const Pipe empty(folder / "empty", "");
  CHECK(error_message([&] { Corpus(Files{folder / "empty"}); }) ==
        folder / "empty" + ": the file is empty; give one with text to learn from");
}

TEST_CASE("a long read says how far it is", "[train][corpus]") {
  const TemporaryFolder folder;
  write_text(folder / "a", std::string(3 << 20, 'x'));
  const test::Terminal terminal(80), narrow(20);
  const auto said = [&](int descriptor, int patience) {
    std::ostringstream out;
    Watch watch;
    watch.progress = &out, watch.terminal = descriptor, watch.patience = std::chrono::milliseconds(patience);
    Corpus(Files{folder / "a"}).hash(watch);
    return out.str();
  };
  CHECK(said(-1, 3600000) == "");
  CHECK(said(terminal.descriptor(), 3600000) == "");
  CHECK(said(-1, 0).starts_with("reading the text: 1.0 MiB of 3.0 MiB\n"));
  const std::string line = said(terminal.descriptor(), 0), first = "\rreading the text: 1.0 MiB of 3.0 MiB";
  CHECK(line.starts_with(first));
  CHECK(
      line.ends_with("\r" + std::string(first.size() - 1, ' ') + "\r"));  // and leaves nothing on the screen
  CHECK(said(narrow.descriptor(), 0).starts_with("\rreading the text: >\r"));
  // What comes through a pipe has no size that is known before.
  const Pipe pipe(folder / "pipe", std::string(3 << 20, 'x'));
  std::ostringstream out;
  read_through(folder / "pipe", {&out, -1, std::chrono::milliseconds(0)}, [](const char*, std::int64_t) {});
  CHECK(out.str().starts_with("reading " + folder / "pipe" + ": "));
  CHECK(out.str().find(" of ") == std::string::npos);
}

}  // namespace
}  // namespace retnet
