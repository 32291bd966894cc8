// How much memory can still be had: the least of what the machine, the control groups and the limits of the
// process leave, read from pretended folders proc and sys.

#include "tensor/memory_limit.h"

#include <sys/resource.h>

#include <filesystem>

#include "tensor/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

/// A machine with 3 MiB of memory and 1 MiB of swap to be had.
struct Machine : TemporaryFolder {
  Machine() {
    file("proc/meminfo", "MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable:    3072 kB\nSwapFree:  1024 kB\n");
    file("proc/self/status", "Name:\tretnet\nVmSize:\t    2048 kB\nVmData:\t 700 kB\nVmStk:\t 324 kB\n");
  }
  void file(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(*this / name).parent_path());
    write_file_atomic(*this / name, text);
  }
  std::int64_t left(const std::string& limit) const {
    const MemoryLeft least = memory_left(path().c_str());
    CHECK(std::string(least.limit).find(limit) != std::string::npos);
    return least.bytes;
  }
};

TEST_CASE("where nothing limits memory there is no limit", "[memory][limit]") {
  const TemporaryFolder nothing;
  CHECK(memory_left(nothing.path().c_str()).bytes == INT64_MAX);
}

TEST_CASE("a machine leaves its available memory and its swap", "[memory][limit]") {
  CHECK(Machine().left("on this machine") == 4 * kMiB);
}

TEST_CASE("a control group leaves what its limit and those above it leave", "[memory][limit]") {
  const Machine machine;
  machine.file("proc/self/cgroup", "3:cpu:/elsewhere\n0::/a/b\n");
  machine.file("sys/fs/cgroup/a/b/memory.max", "max\n");
  CHECK(machine.left("on this machine") == 4 * kMiB);
  machine.file("sys/fs/cgroup/a/memory.max", "1000000\n");
  machine.file("sys/fs/cgroup/a/memory.current", "400000\n");
  CHECK(machine.left("control group") == 600000 + kMiB);  // of swap, nothing says how much it may use
  machine.file("sys/fs/cgroup/a/memory.swap.max", "5000\n");
  machine.file("sys/fs/cgroup/a/memory.swap.current", "2000\n");
  CHECK(machine.left("control group") == 603000);
  // Pages of files make room.
  machine.file("sys/fs/cgroup/a/memory.stat",
               "anon 70000\nactive_file 200\ninactive_file 1000\nslab_reclaimable 30\n");
  CHECK(machine.left("control group") == 604230);
  machine.file("sys/fs/cgroup/a/b/memory.max", "300000\n");
  machine.file("sys/fs/cgroup/a/b/memory.swap.max", "0\n");
  CHECK(machine.left("control group") == 300000);
  machine.file("sys/fs/cgroup/a/b/memory.current", "300001\n");
  CHECK(machine.left("control group") == 0);
  // In a container the path is that of another view of the groups.
  machine.file("proc/self/cgroup", "0::/../outside/of/this\n");
  machine.file("sys/fs/cgroup/memory.max", "200000\n");
  machine.file("sys/fs/cgroup/memory.swap.max", "0\n");
  CHECK(machine.left("control group") == 200000);
}

TEST_CASE("control groups of the first version count swap with memory", "[memory][limit]") {
  const Machine machine;
  machine.file("proc/self/cgroup", "5:memory:/x\n1:name=systemd:/y\n");
  machine.file("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2000000\n");
  machine.file("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "1500000\n");
  machine.file("sys/fs/cgroup/memory/x/memory.memsw.limit_in_bytes", "2500000\n");
  machine.file("sys/fs/cgroup/memory/x/memory.memsw.usage_in_bytes", "1800000\n");
  CHECK(machine.left("control group") == 700000);
  machine.file("sys/fs/cgroup/memory/x/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n");
  CHECK(machine.left("control group") == 701000);
}

TEST_CASE("a process leaves what its limits leave", "[memory][limit]") {
  const Machine machine;
  // Limits that nobody reaches, and a process that is said to be near to them.
  constexpr std::int64_t kLimit = std::int64_t{1} << 46;
  const auto left = [&](decltype(RLIMIT_AS) which, const std::string& status, const char* words) {
    rlimit before{};
    REQUIRE(::getrlimit(which, &before) == 0);
    const rlimit limit{static_cast<rlim_t>(kLimit), before.rlim_max};
    REQUIRE(::setrlimit(which, &limit) == 0);
    machine.file("proc/self/status", status);
    const std::int64_t bytes = machine.left(words);
    REQUIRE(::setrlimit(which, &before) == 0);
    return bytes;
  };
  const std::string size = "VmSize:\t" + std::to_string((kLimit - kMiB) / 1024) + " kB\n";
  CHECK(left(RLIMIT_AS, size, "ulimit -v") == kMiB);
  const std::string data = "VmData:\t" + std::to_string((kLimit - 2 * kMiB) / 1024) + " kB\nVmStk:\t512 kB\n";
  CHECK(left(RLIMIT_DATA, data, "ulimit -d") == 2 * kMiB - 512 * 1024);
  CHECK(left(RLIMIT_AS, "VmSize:\t" + std::to_string(kLimit) + " kB\n", "ulimit -v") == 0);
}

}  // namespace
}  // namespace retnet::test
