// Storage: alignment, reuse of freed blocks, poison, statistics and requests that cannot be met.

#include "tensor/storage.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tensor/dispatch.h"
#include "tensor/ops.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// True iff freed blocks are kept for reuse: not under AddressSanitizer, which would then miss a use after
/// free.
bool blocks_are_kept() {
  release_cached_memory();
  { const Storage block(1000, Device::cpu); }
  return memory_stats().cached > 0;
}

TEST_CASE("storage is aligned to 64 bytes, at any size", "[storage]") {
  for (const std::int64_t bytes : {0, 1, 63, 64, 65, 1000, 4097, 1 << 20, (1 << 20) + 1}) {
    const Storage block(bytes, Device::cpu);
    CAPTURE(bytes);
    REQUIRE(block.data() != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(block.data()) % 64 == 0);
    CHECK(block.bytes() == bytes);
    CHECK(block.device() == Device::cpu);
  }
}

TEST_CASE("blocks in use never overlap", "[storage]") {
  std::vector<std::unique_ptr<Storage>> blocks;
  for (int round = 0; round < 3; ++round) {
    blocks.resize(blocks.size() / 2);
    for (int i = 0; i < 200; ++i) {
      blocks.push_back(std::make_unique<Storage>(1 + i * 37 % 5000, Device::cpu));
    }
    for (std::size_t i = 0; i < blocks.size(); ++i)
      std::fill_n(static_cast<std::size_t*>(blocks[i]->data()), blocks[i]->bytes() / 8, i);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const auto* words = static_cast<const std::size_t*>(blocks[i]->data());
      const std::int64_t n = blocks[i]->bytes() / 8;
      CHECK(std::count(words, words + n, i) == n);
    }
  }
}

TEST_CASE("a freed block serves the next request of about its size", "[storage]") {
  if (!blocks_are_kept()) return;
  release_cached_memory();
  void* first = nullptr;
  {
    const Storage block(100000, Device::cpu);
    first = block.data();
  }
  const std::int64_t kept = memory_stats().cached;
  CHECK(kept >= 100000);
  CHECK(kept <= 100000 * 9 / 8);
  {
    const Storage block(99990, Device::cpu);
    CHECK(block.data() == first);
    CHECK(memory_stats().cached == 0);
    const Storage other(100000, Device::cpu);
    CHECK(other.data() != first);
  }
  release_cached_memory();
  CHECK(memory_stats().cached == 0);
}

TEST_CASE("statistics follow what is in use", "[storage]") {
  const MemoryStats before = memory_stats();
  reset_peak_memory();
  CHECK(memory_stats().peak == before.live);
  {
    const Storage a(1 << 16, Device::cpu);
    CHECK(memory_stats().live - before.live == 1 << 16);
    { const Storage b(1 << 17, Device::cpu); }
    CHECK(memory_stats().live - before.live == 1 << 16);
  }
  CHECK(memory_stats().live == before.live);
  CHECK(memory_stats().peak - before.live == (1 << 16) + (1 << 17));
}

TEST_CASE("rounding up wastes at most an eighth", "[storage]") {
  for (std::int64_t bytes = 1; bytes < 1 << 22; bytes += bytes / 7 + 1) {
    const std::int64_t before = memory_stats().live;
    const Storage block(bytes, Device::cpu);
    const std::int64_t used = memory_stats().live - before;
    CAPTURE(bytes);
    CHECK(used >= bytes);
    CHECK(used <= bytes + std::max<std::int64_t>(64, bytes / 8));
  }
}

TEST_CASE("poisoned memory is NaN in every floating dtype", "[storage]") {
  set_poison(true);
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16})
    for (int round = 0; round < 2; ++round) {  // the second time, the block comes back from the first
      const Tensor x = Tensor::empty({1000}, dtype);
      for (const double value : x.to_vector<double>()) CHECK(std::isnan(value));
      fill(x, 1);
    }
  CHECK(Tensor::empty({1}, Dtype::i32).item() == -1);
}

TEST_CASE("a request that cannot be met is an error and changes nothing", "[storage]") {
  if (!blocks_are_kept()) return;  // AddressSanitizer ends the program instead
  reset_peak_memory();
  const MemoryStats before = memory_stats();
  const std::string message = error_message([] { Storage(std::int64_t{1} << 60, Device::cpu); });
  CHECK(message.find("out of memory: asked for 1.0 EiB with ") == 0);
  CHECK(message.find("; use a smaller batch, window or model") != std::string::npos);
  CHECK_THROWS_AS(Storage(std::int64_t{1} << 60, Device::cpu), OutOfMemory);
  CHECK(error_message([] {
          Tensor::empty({1 << 20, 1 << 20, 1 << 17}, Dtype::f64);
        }).find("a tensor [1048576, 1048576, 131072] f64: out of memory: asked for 1.0 EiB with ") == 0);
  CHECK(memory_stats().live == before.live);
  CHECK(memory_stats().peak == before.peak);
}

TEST_CASE("blocks that wait for their size make room for others", "[storage][memory]") {
  if (!blocks_are_kept()) return;
  set_poison(false);
  const pid_t child = ::fork();
  if (child == 0) {
    std::int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const auto limit = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + (300 << 20));
    const rlimit addresses{limit, limit};
    if (pages == 0 || ::setrlimit(RLIMIT_AS, &addresses) != 0) ::_exit(0);
    { const Storage block(160 << 20, Device::cpu); }
    ::_exit(error_message([] { Storage(200 << 20, Device::cpu); }) == "no error" ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  set_poison(std::getenv("RETNET_POISON") != nullptr);
}

TEST_CASE("storage of a negative size or on an absent device is refused", "[storage]") {
  CHECK(error_message([] { Storage(-1, Device::cpu); }) == "storage: cannot allocate -1 bytes");
  if (kHasGpu) return;
  CHECK(error_message([] { Storage(1, Device::hip); }) ==
        "storage: this build has no GPU; use Device::cpu, or configure with -DRETNET_GPU=amd or nvidia");
  CHECK(error_message([] { Tensor::zeros({1}).to(Device::hip); }) ==
        "to: this build has no GPU; configure with -DRETNET_GPU=amd or nvidia");
}

TEST_CASE("threads may allocate and free at the same time", "[storage]") {
  const std::int64_t before = memory_stats().live;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 2000; ++i) {
        const Tensor x = Tensor::full({1 + (i * 7 + t) % 100}, t, Dtype::f64);
        if (x.at({0}) != t) throw Error("another thread wrote here");
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(memory_stats().live == before);
}

}  // namespace
}  // namespace retnet::test
