#include "tensor/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "tensor/error.h"
#include "tensor/text.h"

namespace retnet {
namespace {

// Some systems refuse a single read or write of 2 GiB or more.
constexpr std::int64_t kLargestTransfer = std::int64_t{1} << 30;

std::string parent_folder(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// @param path  what messages call the file
void write_at(int descriptor, const std::string& path, std::int64_t offset, const void* bytes,
              std::int64_t count) {
  const char* const from = static_cast<const char*>(bytes);
  for (std::int64_t done = 0; done < count;) {
    const auto part = static_cast<std::size_t>(std::min(count - done, kLargestTransfer));
    const ssize_t put = ::pwrite(descriptor, from + done, part, offset + done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail_system(path, "cannot write", put < 0 ? errno : EIO);
    done += put;
  }
}

}  // namespace

void fail_system(const std::string& path, const char* what, int error) {
  fail(printable(path).c_str(), what, ": ", std::generic_category().message(error));
}

InputFile::InputFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a named pipe would otherwise wait for somebody to write to it.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_system(path, "cannot read", errno);
  struct stat status {};
  int error = ::fstat(descriptor_, &status) == 0 ? 0 : errno;
  if (error == 0 && S_ISDIR(status.st_mode)) error = EISDIR;
  if (error == 0 && S_ISREG(status.st_mode)) {
    size_ = status.st_size;
    return;
  }
  ::close(descriptor_);  // no destructor runs when a constructor throws
  if (error != 0) fail_system(path, "cannot read", error);
  fail(printable(path).c_str(), "cannot read: not a regular file");
}

InputFile::~InputFile() { ::close(descriptor_); }

std::int64_t InputFile::read_some(std::int64_t offset, void* bytes, std::int64_t count) const {
  char* const out = static_cast<char*>(bytes);
  std::int64_t done = 0;
  while (done < count) {
    const auto part = static_cast<std::size_t>(std::min(count - done, kLargestTransfer));
    const ssize_t got = ::pread(descriptor_, out + done, part, offset + done);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system(path_, "cannot read", errno);
    done += got;
  }
  return done;
}

void InputFile::read(std::int64_t offset, void* bytes, std::int64_t count) const {
  if (read_some(offset, bytes, count) == count) return;
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_system(path_, "cannot read", errno);
  fail(printable(path_).c_str(), "cannot read ", count, " bytes at byte ", offset, ": the file ends at ",
       status.st_size, "; was it truncated meanwhile?");
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail_system(path, "cannot write", EISDIR);
  // Renaming over a device such as /dev/null would replace it for everybody.
  require(!exists || S_ISREG(status.st_mode), printable(path).c_str(), "cannot write: not a regular file");
  // Process numbers recur, in containers above all, so a crashed process may have left the very same name.
  for (int n = 0; descriptor_ < 0; ++n) {
    temporary_ = path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(n);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST && errno != EINTR) fail_system(path, "cannot write", errno);
  }
  // Where it fails, on file systems without permissions, the file still has those of a new one.
  if (exists) static_cast<void>(::fchmod(descriptor_, status.st_mode & 0777));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!renamed_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::int64_t count) {
  require_open();
  write_at(descriptor_, path_, written_, bytes, count);
  written_ += count;
}

void AtomicFile::overwrite(std::int64_t offset, std::string_view bytes) {
  require_open();
  const auto count = static_cast<std::int64_t>(bytes.size());
  require(offset >= 0 && count <= written_ - offset, printable(path_).c_str(), "cannot overwrite ", count,
          " bytes at byte ", offset, " of ", written_);
  write_at(descriptor_, path_, offset, bytes.data(), count);
}

void AtomicFile::require_open() const {
  require(descriptor_ >= 0, printable(path_).c_str(), "cannot write: the file is committed already");
}

void AtomicFile::commit_as(const std::string& path) {
  require_open();
  // Without fsync before the rename, a loss of power may leave the new name on an empty file.
  int result = 0;
  do result = ::fsync(descriptor_);
  while (result != 0 && errno == EINTR);
  if (result != 0) fail_system(path_, "cannot write to the disk (fsync)", errno);
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0 && errno != EINTR) fail_system(path_, "cannot write (close)", errno);
  if (::rename(temporary_.c_str(), path.c_str()) != 0) fail_system(path, "cannot write (rename)", errno);
  renamed_ = true;
  fsync_directory(parent_folder(path));
}

ScratchFile::ScratchFile() {
  const char* const wanted = std::getenv("TMPDIR");
  folder_ = wanted != nullptr && *wanted != '\0' ? wanted : "/tmp";
  std::string name = folder_ + "/retnet-XXXXXX";
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail_system(folder_, "cannot write a temporary file", errno);
  ::unlink(name.c_str());
}

ScratchFile::~ScratchFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ScratchFile::write(const void* bytes, std::int64_t count) {
  write_at(descriptor_, folder_, written_, bytes, count);
  written_ += count;
}

std::shared_ptr<const InputFile> ScratchFile::finish() {
  const std::string name = "temporary file in " + folder_;
  return std::shared_ptr<const InputFile>(new InputFile(name, std::exchange(descriptor_, -1), written_));
}

std::string read_file(const std::string& path) {
  const InputFile file(path);
  // The size is a hint: files of /proc claim 0 bytes, and a log may be growing.
  std::string bytes(static_cast<std::size_t>(file.size()) + 1, '\0');
  std::int64_t done = 0;
  while (true) {
    const std::int64_t room = static_cast<std::int64_t>(bytes.size()) - done;
    const std::int64_t got = file.read_some(done, bytes.data() + done, room);
    done += got;
    if (got < room) break;
    bytes.resize(2 * bytes.size() + 4096);
  }
  bytes.resize(static_cast<std::size_t>(done));
  return bytes;
}

void write_file_atomic(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void fsync_directory(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_system(path, "cannot open the folder", errno);
  int result = 0;
  do result = ::fsync(descriptor);
  while (result != 0 && errno == EINTR);
  const int error = result != 0 ? errno : 0;
  ::close(descriptor);
  if (error != 0 && error != EINVAL) fail_system(path, "cannot write the folder to the disk (fsync)", error);
}

}  // namespace retnet
