// What memory is left: of the machine, of control groups of both versions and those above them, in files as
// Linux writes them.

#include "tensor/memory_limit.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

/// A system's files below a folder of ours.
struct System : test::TemporaryFolder {
  using Files = std::map<std::string, std::string>;

  explicit System(const Files& files) {
    for (const auto& [name, text] : files) {
      const std::filesystem::path path = std::filesystem::path(this->path()) / name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << text;
    }
  }
  std::int64_t left() const { return memory_left(path().c_str()).bytes; }
  std::string limit() const { return memory_left(path().c_str()).limit; }
};

/// 4096 MiB available and 1024 MiB of unused swap.
const std::string kMachine =
    "MemTotal:        8388608 kB\nMemFree:          102400 kB\nMemAvailable:    4194304 kB\n"
    "SwapTotal:       2097152 kB\nSwapFree:        1048576 kB\n";

std::string mib(std::int64_t n) { return std::to_string(n * kMiB) + "\n"; }

TEST_CASE("where nothing is known, memory has no limit", "[memory_limit]") {
  CHECK(System({}).left() == INT64_MAX);
  CHECK(System({{"proc/meminfo", ""}, {"proc/self/cgroup", ""}}).left() == INT64_MAX);
  // A folder that is too deep to be asked about.
  CHECK(memory_left(std::string(2000, 'x').c_str()).bytes == INT64_MAX);
}

TEST_CASE("of the machine, what is available and the swap that is unused is left", "[memory_limit]") {
  const System system({{"proc/meminfo", kMachine}});
  CHECK(system.left() == (4096 + 1024) * kMiB);
  CHECK(system.limit() == "are free on this machine");
}

TEST_CASE("of a control group, version 2, its limit less what cannot make room is left", "[memory_limit]") {
  System::Files files = {{"proc/meminfo", kMachine},
                         {"proc/self/cgroup", "0::/a/b\n"},
                         {"sys/fs/cgroup/a/b/memory.max", mib(1000)},
                         {"sys/fs/cgroup/a/b/memory.current", mib(900)},
                         {"sys/fs/cgroup/a/b/memory.stat", "anon 1\nfile 5\ninactive_file_too " + mib(9999) +
                                                               "active_file " + mib(20) + "inactive_file " +
                                                               mib(30) + "slab_reclaimable " + mib(7)},
                         {"sys/fs/cgroup/a/b/memory.swap.max", "0\n"}};
  CHECK(System(files).left() == (100 + 20 + 30 + 7) * kMiB);
  CHECK(System(files).limit() == "are left to this control group (its memory limit)");

  // As much may be swapped as the group's limit of that leaves, and as there is.
  files["sys/fs/cgroup/a/b/memory.swap.max"] = mib(500);
  files["sys/fs/cgroup/a/b/memory.swap.current"] = mib(200);
  CHECK(System(files).left() == (157 + 300) * kMiB);
  files["sys/fs/cgroup/a/b/memory.swap.max"] = "max\n";
  CHECK(System(files).left() == (157 + 1024) * kMiB);

  // The group above is tighter.
  files["sys/fs/cgroup/a/memory.max"] = mib(50);
  files["sys/fs/cgroup/a/memory.current"] = mib(60);
  files["sys/fs/cgroup/a/memory.swap.max"] = "0\n";
  CHECK(System(files).left() == 0);
  files["sys/fs/cgroup/a/memory.max"] = "max\n";
  CHECK(System(files).left() == (157 + 1024) * kMiB);
  files["sys/fs/cgroup/a/b/memory.max"] = "max\n";
  CHECK(System(files).left() == (4096 + 1024) * kMiB);
}

TEST_CASE("inside a container, whose path is another one, the root of its groups counts", "[memory_limit]") {
  CHECK(System({{"proc/self/cgroup", "0::/docker/0123/other\n"},
                {"sys/fs/cgroup/memory.max", mib(64)},
                {"sys/fs/cgroup/memory.current", mib(14)}})
            .left() == 50 * kMiB);
}

TEST_CASE("of a control group, version 1, memory and swap have a limit together", "[memory_limit]") {
  System::Files files = {{"proc/meminfo", kMachine},
                         {"proc/self/cgroup", "12:cpu,cpuacct:/x\n4:memory:/jobs/7\n1:name=systemd:/\n"},
                         {"sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", mib(300)},
                         {"sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes", mib(100)},
                         {"sys/fs/cgroup/memory/jobs/7/memory.memsw.limit_in_bytes", mib(300)},
                         {"sys/fs/cgroup/memory/jobs/7/memory.memsw.usage_in_bytes", mib(100)},
                         {"sys/fs/cgroup/memory/jobs/7/memory.stat",
                          "inactive_file 5\ntotal_inactive_file " + mib(10) + "total_active_file " + mib(4)},
                         {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"}};
  CHECK(System(files).left() == (200 + 14) * kMiB);
  files["sys/fs/cgroup/memory/jobs/7/memory.memsw.limit_in_bytes"] = mib(340);
  CHECK(System(files).left() == (200 + 14 + 40) * kMiB);
}

TEST_CASE("a process leaves what its limits leave", "[memory_limit]") {
  // Limits that nobody reaches, and a process that is said to be near to them.
  constexpr std::int64_t kLimit = std::int64_t{1} << 46;
  const auto left = [&](decltype(RLIMIT_AS) which, const std::string& status, const std::string& words) {
    const System system({{"proc/meminfo", kMachine}, {"proc/self/status", status}});
    rlimit before{};
    REQUIRE(::getrlimit(which, &before) == 0);
    const rlimit limit{static_cast<rlim_t>(kLimit), before.rlim_max};
    REQUIRE(::setrlimit(which, &limit) == 0);
    const std::int64_t bytes = system.left();
    CHECK(system.limit() == "are left to this process (" + words + ")");
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
}  // namespace retnet
