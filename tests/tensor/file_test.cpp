// Reading and writing files, and what is left when writing fails.
#include "tensor/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>

#include "tensor/safetensors.h"
#include "tensor/text.h"
#include "tests/support/system_calls.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// Files beyond `bytes` cannot be written while it lives; the error is EFBIG, as that of a full disk would be
// ENOSPC.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

// The error of `body` while every fsync in a folder after the first `n` fails.
std::string with_failing_fsync(const TemporaryFolder& folder, int n, const std::function<void()>& body) {
  Disturbance disturbance{folder.path(), "fsync", Disturbance::Kind::power, n + 1, EIO};
  const Disturbed disturbed(disturbance);
  return error_message(body);
}

}  // namespace

TEST_CASE("a file is read whole, whatever its size says", "[file]") {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 100'000u}) {
    const std::string bytes(size, '\0');
    write_file_atomic(folder / "x", bytes);
    CHECK(read_file(folder / "x") == bytes);
  }
  CHECK(contains(read_file("/proc/self/status"), "Name:"));  // claims to have 0 bytes
}

TEST_CASE("what cannot be read is named, with the reason", "[file]") {
  const TemporaryFolder folder;
  const auto message = [](const std::string& path) { return error_message([&] { read_file(path); }); };
  CHECK(message(folder / "missing") == folder / "missing: cannot read: No such file or directory");
  CHECK(message(folder.path()) == folder.path() + ": cannot read: Is a directory");
  CHECK(message(folder / "a\nb") == folder / "a\\nb: cannot read: No such file or directory");
  CHECK(message("") == "\"\": cannot read: No such file or directory");
  CHECK(message("/dev/null") == "/dev/null: cannot read: not a regular file");
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(message(folder / "pipe") ==
        folder / "pipe: cannot read: not a regular file");  // and it does not wait
  REQUIRE(symlink("loop", (folder / "loop").c_str()) == 0);
  CHECK(contains(message(folder / "loop"), "symbolic links"));
  write_file_atomic(folder / "x", "x");
  CHECK(contains(message(folder / "x/y"), "Not a directory"));
  if (geteuid() != 0) {
    chmod((folder / "x").c_str(), 0);
    CHECK(message(folder / "x") == folder / "x: cannot read: Permission denied");
  }
}

TEST_CASE("a read beyond the end of a file is an error", "[file]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "x", "0123456789");
  const InputFile file(folder / "x");
  CHECK(file.size() == 10);
  char bytes[8];
  file.read(2, bytes, 8);
  CHECK(std::string(bytes, 8) == "23456789");
  CHECK(file.read_some(7, bytes, 8) == 3);
  CHECK(contains(error_message([&] { file.read(7, bytes, 8); }),
                 "cannot read 8 bytes at byte 7: the file ends at 10"));
}

TEST_CASE("a file is replaced whole, and keeps its permissions", "[file]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x";
  write_file_atomic(path, "old");
  chmod(path.c_str(), 0600);
  {
    AtomicFile file(path);
    file.write("new ");
    file.write("text");
    file.overwrite(0, "N");
    CHECK_THROWS_AS(file.overwrite(8, "x"), Error);
    CHECK(read_file(path) == "old");
    CHECK(folder.count() == 2);
    file.commit();
    CHECK_THROWS_AS(file.commit(), Error);
    CHECK_THROWS_AS(file.write("more"), Error);
  }
  CHECK(read_file(path) == "New text");
  CHECK(folder.count() == 1);
  struct stat status {};
  stat(path.c_str(), &status);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a file that is not committed leaves nothing", "[file]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "x", "old");
  { AtomicFile(folder / "x").write("new"); }
  CHECK(read_file(folder / "x") == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("the temporary file of a crashed process is not in the way", "[file]") {
  const TemporaryFolder folder;
  const std::string stale = folder / "x.tmp." + std::to_string(getpid()) + ".0";
  write_file_atomic(stale, "stale");
  write_file_atomic(folder / "x", "new");
  CHECK(read_file(folder / "x") == "new");
  CHECK(read_file(stale) == "stale");
}

TEST_CASE("what cannot be written is named, with the reason", "[file]") {
  const TemporaryFolder folder;
  const auto message = [](const std::string& path) {
    return error_message([&] { write_file_atomic(path, "x"); });
  };
  write_file_atomic(folder / "file", "x");
  CHECK(message(folder / "file/x") == folder / "file/x: cannot write: Not a directory");
  CHECK(message(folder / "missing/x") == folder / "missing/x: cannot write: No such file or directory");
  CHECK(message(folder.path()) == folder.path() + ": cannot write: Is a directory");
  CHECK(message("/dev/full") == "/dev/full: cannot write: not a regular file");
  CHECK(contains(message(folder / std::string(300, 'x')), "File name too long"));
  CHECK(error_message([&] { fsync_directory(folder / "missing"); }) ==
        folder / "missing: cannot open the folder: No such file or directory");
  if (geteuid() != 0) {
    chmod(folder.path().c_str(), 0500);
    CHECK(message(folder / "y") == folder / "y: cannot write: Permission denied");
    chmod(folder.path().c_str(), 0700);
  }
}

TEST_CASE("when the disk is full the old file stays and the new one goes", "[file][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  save(path, Tensor::from<float>({1}, {1}));
  const std::string before = read_file(path);
  for (const rlim_t room : {0u, 8u, 100u, 300u, 4000u}) {
    std::string message;
    {
      const FileSizeLimit limit(room);
      message = error_message([&] { save(path, Tensor::from(std::vector<double>(1000), {1000})); });
    }
    CHECK(message == path + ": cannot write: File too large");
    CHECK(read_file(path) == before);
    CHECK(folder.count() == 1);
  }
}

TEST_CASE("when fsync fails the old file stays and the new one goes", "[file][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  save(path, Tensor::from<float>({1}, {1}));
  const std::string before = read_file(path);
  const auto save_two = [&] { save(path, Tensor::from<float>({2}, {1})); };
  CHECK(with_failing_fsync(folder, 0, save_two) ==
        path + ": cannot write to the disk (fsync): Input/output error");
  CHECK(read_file(path) == before);
  CHECK(folder.count() == 1);
  // The folder's fsync comes after the rename: the new file is whole, but may not survive a loss of power.
  CHECK(with_failing_fsync(folder, 1, save_two) ==
        folder.path() + ": cannot write the folder to the disk (fsync): Input/output error");
  CHECK(load(path).item() == 2);
  CHECK(folder.count() == 1);
}

TEST_CASE("when the rename fails the temporary file goes", "[file]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x";
  {
    AtomicFile file(path);
    file.write("new");
    REQUIRE(mkdir(path.c_str(), 0700) == 0);
    CHECK(error_message([&] { file.commit(); }) == path + ": cannot write (rename): Is a directory");
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("text from outside is escaped and shortened", "[file]") {
  CHECK(printable("") == "\"\"");
  CHECK(printable("a/ü\n\x1b[2J\x7f") == "a/ü\\n\\x1b[2J\\x7f");
  CHECK(quote("a\"b\\c\n\t\xc3") == R"("a\"b\\c\n\t\xc3")");
  CHECK(quote(std::string(48, 'x')) == "\"" + std::string(48, 'x') + "\"");
  CHECK(quote(std::string(49, 'x')) == "\"" + std::string(48, 'x') + "...\" (49 bytes)");
}
