#include "tensor/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/text.h"

namespace retnet {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 30;  // some systems refuse a single read of 2 GiB or more

}  // namespace

bool is_standard_input(const std::string& path) {
  return path == "-" || path == "/dev/stdin" || path == "/dev/fd/0" || path == "/proc/self/fd/0";
}

std::string input_name(const std::string& path) {
  return is_standard_input(path) ? "standard input" : printable(path);
}

bool is_stream(const std::string& path) {
  if (is_standard_input(path)) return true;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) return false;
  // The descriptor of a regular file has a name too, which means another file tomorrow; files of /proc call
  // themselves regular and empty.
  return !S_ISREG(status.st_mode) || path.starts_with("/dev/fd/") || path.starts_with("/proc/");
}

InputStream::InputStream(const std::string& path) : name_(input_name(path)) {
  // Opened by name, standard input would be read from its beginning, and could not be a socket.
  descriptor_ = is_standard_input(path) ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                        : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_system(name_, "cannot read", errno);
  struct stat status {};
  int error = ::fstat(descriptor_, &status) == 0 ? 0 : errno;
  if (error == 0 && S_ISDIR(status.st_mode)) error = EISDIR;
  if (error == 0) return;
  ::close(descriptor_);  // no destructor runs when a constructor throws
  fail_system(name_, "cannot read", error);
}

InputStream::~InputStream() { ::close(descriptor_); }

void InputStream::wait() const {
  pollfd request{descriptor_, POLLIN, 0};
  while (::poll(&request, 1, -1) < 0)
    if (errno != EINTR) fail_system(name_, "cannot read", errno);
}

std::int64_t InputStream::read_some(void* bytes, std::int64_t count) {
  while (true) {
    // A pipe that nobody has opened for writing yet reads as if it were at its end, unless one waits first.
    wait();
    const ssize_t got = ::read(descriptor_, bytes, static_cast<std::size_t>(std::min(count, kMost)));
    if (got >= 0) return got;
    if (errno != EINTR && errno != EAGAIN) fail_system(name_, "cannot read", errno);
  }
}

std::string read_input(const std::string& path, std::int64_t most) {
  InputStream stream(path);
  std::string bytes;
  std::int64_t size = 0;
  while (true) {
    bytes.resize(static_cast<std::size_t>(std::min(2 * size + 65536, most + 1)));
    const std::int64_t got =
        stream.read_some(bytes.data() + size, static_cast<std::int64_t>(bytes.size()) - size);
    size += got;
    require(size <= most, stream.name().c_str(), "required at most ", most, " bytes, got more");
    if (got == 0) break;
  }
  bytes.resize(static_cast<std::size_t>(size));
  return bytes;
}

}  // namespace retnet
