// Streams: what can be read only once is read whole, or named with the reason.

#include "tensor/stream.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "tensor/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet {
namespace {

using test::error_message;
using test::TemporaryFolder;

constexpr std::int64_t kPlenty = std::int64_t{1} << 30;

TEST_CASE("what is a stream, and what is standard input", "[stream]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "file", "x");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const char* name : {"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"}) {
    CAPTURE(name);
    CHECK(is_standard_input(name));
    CHECK(is_stream(name));
  }
  for (const std::string& name :
       {folder / "pipe", std::string("/dev/null"), std::string("/proc/self/status")}) {
    CAPTURE(name);
    CHECK_FALSE(is_standard_input(name));
    CHECK(is_stream(name));
  }
  for (const std::string& name : {folder / "file", folder.path(), folder / "missing", std::string("./-")}) {
    CAPTURE(name);
    CHECK_FALSE(is_stream(name));
  }
}

TEST_CASE("files and pipes of any length are read whole", "[stream]") {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 65535u, 65536u, 65537u, 1000000u}) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * i >> 7);
    write_file_atomic(folder / "file", text);
    CAPTURE(size);
    CHECK((read_input(folder / "file", kPlenty) == text));
    const std::string pipe = folder / ("pipe" + std::to_string(size));
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    // It is opened before anybody writes, and written in pieces.
    std::thread writer([&] {
      std::FILE* const file = std::fopen(pipe.c_str(), "w");
      for (std::size_t i = 0; i < size; i += 70001) {
        std::fwrite(text.data() + i, 1, std::min<std::size_t>(70001, size - i), file);
        std::fflush(file);
      }
      std::fclose(file);
    });
    CHECK((read_input(pipe, kPlenty) == text));
    writer.join();
    CHECK((read_input(folder / "file", static_cast<std::int64_t>(size)) == text));
    if (size > 0)
      CHECK(error_message([&] { read_input(folder / "file", static_cast<std::int64_t>(size) - 1); }) ==
            folder / "file" + ": required at most " + std::to_string(size - 1) + " bytes, got more");
  }
  CHECK(read_input("/proc/self/status", kPlenty).find("Name:") == 0);
  CHECK(error_message([] { read_input("/dev/zero", 1000); }) ==
        "/dev/zero: required at most 1000 bytes, got more");
}

TEST_CASE("a stream that cannot be read is named, with the reason", "[stream]") {
  const TemporaryFolder folder;
  const auto message = [](const std::string& path) {
    return error_message([&] { read_input(path, kPlenty); });
  };
  CHECK(message(folder / "missing") == folder / "missing: cannot read: No such file or directory");
  CHECK(message(folder.path()) == folder.path() + ": cannot read: Is a directory");
  CHECK(message("") == "\"\": cannot read: No such file or directory");
}

TEST_CASE("a scratch file has no name and reads as it was written", "[file]") {
  const TemporaryFolder folder;
  const char* const before = std::getenv("TMPDIR");
  const std::string saved = before == nullptr ? "" : before;
  ::setenv("TMPDIR", folder.path().c_str(), 1);
  ScratchFile scratch;
  scratch.write("abc", 3), scratch.write("defg", 4);
  CHECK(folder.count() == 0);
  const auto file = scratch.finish();
  REQUIRE(file->size() == 7);
  char bytes[4] = {};
  file->read(2, bytes, 4);
  CHECK(std::string(bytes, 4) == "cdef");
  ::setenv("TMPDIR", (folder / "missing").c_str(), 1);
  CHECK(error_message([] { ScratchFile(); }) ==
        folder / "missing: cannot write a temporary file: No such file or directory");
  if (before == nullptr)
    ::unsetenv("TMPDIR");
  else
    ::setenv("TMPDIR", saved.c_str(), 1);
}

TEST_CASE("a file may get its name when all of it is there", "[file]") {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "x");
    file.write("text");
    CHECK(read_file(file.temporary()) == "text");
    file.commit_as(folder / "named after its text");
  }
  CHECK(read_file(folder / "named after its text") == "text");
  CHECK(folder.count() == 1);
}

}  // namespace
}  // namespace retnet
