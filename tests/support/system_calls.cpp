// These functions stand in front of the C library's, for the test program and the libraries that it loads.
#undef _FORTIFY_SOURCE
#include "tests/support/system_calls.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace retnet::test {
namespace {

// Plain memory: whoever calls may be anywhere, in a constructor before main() too.
bool disturbed = false;
Disturbance now;
int calls = 0, record = -1;
bool interrupted = false;  // whether the read or write at hand has been
constexpr int kDescriptors = 256;
std::string* paths = nullptr;  // of the open descriptors

std::string absolute(int folder, const char* path) {
  if (path[0] == '/') return path;
  if (folder >= 0 && folder < kDescriptors && paths) return paths[folder] + "/" + path;
  char here[4096];
  return (getcwd(here, sizeof here) ? std::string(here) : "") + "/" + path;
}

std::string path_of(int descriptor) {
  return descriptor >= 0 && descriptor < kDescriptors && paths ? paths[descriptor] : "";
}

bool counts(const std::string& path) {
  return disturbed && (path == now.folder || path.starts_with(now.folder + "/"));
}

enum class Verdict { go_on, fail, stop };

/// Counts and records a call that is about to be made.
Verdict judge(const char* name, const std::string& path, const std::string& to) {
  if (!counts(path) || (!now.only.empty() && now.only != name)) return Verdict::go_on;
  ++calls;
  const std::string line = std::string(name) + "\t" + path + "\t" + to + "\n";
  if (record >= 0) static_cast<void>(syscall(SYS_write, record, line.data(), line.size()) == 0);
  const bool here = calls == now.at;
  if (here && now.kind == Disturbance::Kind::stop) return Verdict::stop;
  if (here && now.kind == Disturbance::Kind::first) {
    disturbed = false;
    now.other();
    disturbed = true;
  }
  if ((here && now.kind == Disturbance::Kind::fail) ||
      (calls >= now.at && now.kind == Disturbance::Kind::power)) {
    errno = now.error;
    return Verdict::fail;
  }
  return Verdict::go_on;
}

/// Makes a call unless it is to fail or to end the process.
template <class Call>
long through(const char* name, const std::string& path, const std::string& to, Call&& call) {
  switch (judge(name, path, to)) {
    case Verdict::fail:
      return -1;
    case Verdict::stop:
      _exit(kStopped);
    case Verdict::go_on:
      break;
  }
  return call();
}

/// Reads or writes `count` bytes, or what the disturbance leaves of them: `call(count)` does it.
template <class Call>
long transfer(const char* name, int descriptor, std::size_t count, Call&& call) {
  const std::string path = path_of(descriptor);
  if (!counts(path)) return call(count);
  if (now.in_pieces) {
    interrupted = !interrupted;
    if (interrupted) return errno = EINTR, -1;
    count = std::min<std::size_t>(count, 1 + count / 3);
  }
  switch (judge(name, path, std::to_string(count))) {
    case Verdict::fail:
      return -1;
    case Verdict::stop:
      if (name[0] == 'w') call(count / 2);
      _exit(kStopped);
    case Verdict::go_on:
      break;
  }
  return call(count);
}

int open_file(int folder, const char* path, int flags, mode_t mode) {
  if (!disturbed) return static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
  const std::string full = absolute(folder, path);
  const bool exists = syscall(SYS_faccessat, AT_FDCWD, full.c_str(), F_OK) == 0;
  const char* const name = (flags & O_CREAT) != 0 && !exists ? "create"
                           : (flags & O_ACCMODE) != O_RDONLY ? "reopen"
                                                             : "open";
  const auto descriptor = static_cast<int>(
      through(name, full, "", [&] { return syscall(SYS_openat, folder, path, flags, mode); }));
  if (descriptor >= 0 && descriptor < kDescriptors) paths[descriptor] = full;
  return descriptor;
}

int remove_at(int folder, const char* path, int flags) {
  const char* const name = (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink";
  return static_cast<int>(through(name, disturbed ? absolute(folder, path) : "", "",
                                  [&] { return syscall(SYS_unlinkat, folder, path, flags); }));
}

mode_t mode_from(std::va_list list, int flags) {
  return (flags & O_CREAT) != 0 ? static_cast<mode_t>(va_arg(list, unsigned)) : 0;
}

}  // namespace

Disturbed::Disturbed(const Disturbance& disturbance) {
  if (!paths) paths = new std::string[kDescriptors];
  now = disturbance, calls = 0, interrupted = false;
  if (!now.record.empty())
    record = static_cast<int>(syscall(SYS_openat, AT_FDCWD, now.record.c_str(),
                                      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  disturbed = true;
}

Disturbed::~Disturbed() {
  disturbed = false;
  if (record >= 0) close(record);
  record = -1;
}

std::vector<SystemCall> recorded_calls(const std::string& file) {
  std::vector<SystemCall> list;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    SystemCall call;
    std::getline(fields, call.name, '\t'), std::getline(fields, call.path, '\t'),
        std::getline(fields, call.to);
    list.push_back(call);
  }
  return list;
}

}  // namespace retnet::test

using namespace retnet::test;

extern "C" {

int open(const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = mode_from(list, flags);
  va_end(list);
  return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = mode_from(list, flags);
  va_end(list);
  return open_file(folder, path, flags, mode);
}

ssize_t pread(int descriptor, void* bytes, std::size_t count, off_t offset) {
  return transfer("read", descriptor, count,
                  [&](std::size_t part) { return syscall(SYS_pread64, descriptor, bytes, part, offset); });
}

ssize_t pwrite(int descriptor, const void* bytes, std::size_t count, off_t offset) {
  return transfer("write", descriptor, count,
                  [&](std::size_t part) { return syscall(SYS_pwrite64, descriptor, bytes, part, offset); });
}

ssize_t write(int descriptor, const void* bytes, std::size_t count) {
  return transfer("write", descriptor, count,
                  [&](std::size_t part) { return syscall(SYS_write, descriptor, bytes, part); });
}

int fsync(int descriptor) {
  return static_cast<int>(
      // Nobody cuts the power in a test, and a disk takes its time.
      through("fsync", path_of(descriptor), "",
              [&] { return disturbed ? 0 : syscall(SYS_fsync, descriptor); }));
}

int ftruncate(int descriptor, off_t size) noexcept {
  return static_cast<int>(
      through("truncate", path_of(descriptor), "", [&] { return syscall(SYS_ftruncate, descriptor, size); }));
}

int rename(const char* from, const char* to) noexcept {
  if (!disturbed) return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
  return static_cast<int>(through("rename", absolute(AT_FDCWD, from), absolute(AT_FDCWD, to),
                                  [&] { return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0); }));
}

int mkdir(const char* path, mode_t mode) noexcept {
  return static_cast<int>(through("mkdir", disturbed ? absolute(AT_FDCWD, path) : "", "",
                                  [&] { return syscall(SYS_mkdirat, AT_FDCWD, path, mode); }));
}

int unlink(const char* path) noexcept { return remove_at(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char* path, int flags) noexcept { return remove_at(folder, path, flags); }

// The same for files of any size, which is what the library of C++ calls.
int open64(const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = mode_from(list, flags);
  va_end(list);
  return open_file(AT_FDCWD, path, flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = mode_from(list, flags);
  va_end(list);
  return open_file(folder, path, flags, mode);
}

}  // extern "C"
