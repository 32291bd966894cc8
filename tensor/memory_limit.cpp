#include "tensor/memory_limit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace retnet {
namespace {

constexpr std::int64_t kNone = INT64_MAX;
using Path = char[1024];

/// The beginning of a small file, without memory from the heap; "" where it cannot be read.
struct SmallFile {
  char text[8192];

  SmallFile(const char* root, const char* folder, const char* name) : text{} {
    Path path;
    if (std::snprintf(path, sizeof path, "%s%s/%s", root, folder, name) >= static_cast<int>(sizeof path))
      return;
    const int descriptor = ::open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return;
    std::size_t size = 0;
    for (ssize_t got = 0; (got = ::read(descriptor, text + size, sizeof text - 1 - size)) > 0;)
      size += static_cast<std::size_t>(got);
    text[size] = '\0';
    ::close(descriptor);
  }

  /// The number that the file begins with, or `other` where it begins with none, such as "max".
  std::int64_t number(std::int64_t other) const {
    char* end = nullptr;
    const long long value = std::strtoll(text, &end, 10);
    return end == text ? other : value;
  }

  /// The number after a word at the beginning of a line, or 0.
  std::int64_t after(const char* word) const {
    const std::size_t length = std::strlen(word);
    for (const char* line = text; line != nullptr; line = std::strchr(line, '\n')) {
      if (*line == '\n') ++line;
      if (std::strncmp(line, word, length) == 0 && (line[length] == ' ' || line[length] == ':'))
        return std::strtoll(line + length + 1, nullptr, 10);
    }
    return 0;
  }
};

/// a + b, without an overflow; kNone stays it.
std::int64_t plus(std::int64_t a, std::int64_t b) { return a > kNone - b ? kNone : a + b; }

/// What one version of control groups calls its files.
struct GroupFiles {
  const char *limit, *usage, *swap_limit, *swap_usage;
  const char *inactive, *active;  ///< pages of files, which make room when memory is short
  bool swap_includes_memory;
};
constexpr GroupFiles kVersion1 = {"memory.limit_in_bytes",
                                  "memory.usage_in_bytes",
                                  "memory.memsw.limit_in_bytes",
                                  "memory.memsw.usage_in_bytes",
                                  "total_inactive_file",
                                  "total_active_file",
                                  true};
constexpr GroupFiles kVersion2 = {
    "memory.max", "memory.current", "memory.swap.max", "memory.swap.current", "inactive_file", "active_file",
    false};

/// What one group leaves. @param swap  bytes of swap that are unused
std::int64_t left_in_group(const char* root, const char* folder, const GroupFiles& files, std::int64_t swap) {
  const std::int64_t limit = SmallFile(root, folder, files.limit).number(kNone);
  if (limit == kNone) return kNone;
  const std::int64_t usage = SmallFile(root, folder, files.usage).number(0);
  const SmallFile pages(root, folder, "memory.stat");
  const std::int64_t memory =
      plus(std::max<std::int64_t>(0, limit - usage),
           pages.after(files.inactive) + pages.after(files.active) + pages.after("slab_reclaimable"));
  // Where nothing says how much may be swapped, all may.
  std::int64_t swapped = SmallFile(root, folder, files.swap_limit).number(kNone);
  if (swapped != kNone)
    swapped = std::max<std::int64_t>(0, swapped - SmallFile(root, folder, files.swap_usage).number(0) -
                                            (files.swap_includes_memory ? limit - usage : 0));
  return plus(memory, std::min(swapped, swap));
}

/// The least of a group and all above it. Inside a container the path may be that of another view of the
/// groups, which this one does not have: then the container's own group is what remains of it.
std::int64_t left_in_groups(const char* root, const char* mount, const char* group, const GroupFiles& files,
                            std::int64_t swap) {
  Path folder;
  if (std::snprintf(folder, sizeof folder, "%s%s", mount, group) >= static_cast<int>(sizeof folder))
    return kNone;
  std::int64_t least = kNone;
  while (std::strlen(folder) >= std::strlen(mount)) {
    least = std::min(least, left_in_group(root, folder, files, swap));
    char* const slash = std::strrchr(folder, '/');
    if (slash == nullptr) break;
    *slash = '\0';
  }
  return least;
}

/// The least that the control groups of the process leave.
std::int64_t left_in_groups(const char* root, std::int64_t swap) {
  std::int64_t least = kNone;
  SmallFile groups(root, "/proc/self", "cgroup");  // lines "4:memory:/path", and "0::/path" of version 2
  char* rest = nullptr;
  for (char* line = ::strtok_r(groups.text, "\n", &rest); line; line = ::strtok_r(nullptr, "\n", &rest)) {
    const char* const controllers = std::strchr(line, ':');
    const char* const path = controllers ? std::strchr(controllers + 1, ':') : nullptr;
    if (path == nullptr) continue;
    if (path == controllers + 1) {
      for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"})
        least = std::min(least, left_in_groups(root, mount, path + 1, kVersion2, swap));
    } else if (std::strncmp(controllers, ":memory:", 8) == 0) {
      least = std::min(least, left_in_groups(root, "/sys/fs/cgroup/memory", path + 1, kVersion1, swap));
    }
  }
  return least;
}

std::int64_t left_of(decltype(RLIMIT_AS) which, std::int64_t used) {
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      limit.rlim_cur > static_cast<rlim_t>(kNone))
    return kNone;
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(limit.rlim_cur) - used);
}

}  // namespace

MemoryLeft memory_left(const char* root) {
  MemoryLeft least{kNone, "can be had"};
  const auto hold = [&](std::int64_t bytes, const char* limit) {
    if (bytes < least.bytes) least = {bytes, limit};
  };
  const SmallFile machine(root, "/proc", "meminfo"), process(root, "/proc/self", "status");
  const std::int64_t swap = machine.after("SwapFree") * 1024,
                     available = machine.after("MemAvailable") * 1024;
  if (available > 0) hold(plus(available, swap), "are free on this machine");
  hold(left_in_groups(root, swap), "are left to this control group (its memory limit)");
  hold(left_of(RLIMIT_AS, process.after("VmSize") * 1024), "are left to this process (ulimit -v)");
  hold(left_of(RLIMIT_DATA, (process.after("VmData") + process.after("VmStk")) * 1024),
       "are left to this process (ulimit -d)");
  return least;
}

}  // namespace retnet
