#include "tensor/storage.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/memory.h"
#include "tensor/dispatch.h"

namespace retnet {
namespace {

constexpr std::int64_t kAlignment = 64;  // a cache line, and the widest vector register

// A sanitizer can tell a use after free only if memory really is freed.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kReuse = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kReuse = false;
#else
constexpr bool kReuse = true;
#endif
#else
constexpr bool kReuse = true;
#endif

bool& poison() {
  static bool on = std::getenv("RETNET_POISON") != nullptr;
  return on;
}

/// Sizes in use: multiples of the alignment, and above 16 of those in steps of 1/8 of a power of two, so that
/// slightly different requests share blocks.
std::int64_t rounded(std::int64_t bytes) {
  std::int64_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max(step, (bytes + step - 1) / step * step);
}

/// The memory of one device. Blocks that were freed wait here for the next request of their size. A training
/// step asks for the same sizes as the step before, so after the first step no memory comes from the system,
/// and no page is touched anew.
class Cache {
 public:
  explicit Cache(Device device) : device_(device) {}

  void* take(std::int64_t bytes) {
    const std::int64_t size = rounded(bytes);
    void* block = reused(size);
    if (!block) block = allocated(size);
    if (!block) {
      release();
      block = allocated(size);
    }
    if (!block)
      fail("storage", device_ == Device::hip ? "the GPU is out of memory" : "out of memory", ": asked for ",
           bytes >> 20, " MiB with ", stats().live >> 20,
           " MiB in use; use a smaller batch, window or model");
    count(size);
    if (poison()) on_device("storage", device_, [&](auto exec) { kernels::poison(exec, block, bytes); });
    return block;
  }

  void give_back(void* block, std::int64_t bytes) {
    const std::int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    stats_.live -= size;
    if (!kReuse) return free(block);
    free_[size].push_back(block);
    stats_.cached += size;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : free_)
      for (void* block : blocks) free(block);
    free_.clear();
    stats_.cached = 0;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }

 private:
  void* reused(std::int64_t size) {
    const std::lock_guard lock(mutex_);
    const auto found = free_.find(size);
    if (found == free_.end() || found->second.empty()) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    stats_.cached -= size;
    return block;
  }

  void* allocated(std::int64_t size) {
    return on_device("storage", device_, [&](auto exec) { return kernels::allocate(exec, size); });
  }

  void free(void* block) {
    on_device("storage", device_, [&](auto exec) { kernels::release(exec, block); });
  }

  /// Counts a block as in use; not before it is had, so that a refused request leaves no trace in the peak.
  void count(std::int64_t size) {
    const std::lock_guard lock(mutex_);
    stats_.live += size;
    stats_.peak = std::max(stats_.peak, stats_.live);
  }

  const Device device_;
  std::mutex mutex_;
  std::map<std::int64_t, std::vector<void*>> free_;
  MemoryStats stats_;
};

/// Never destroyed, because tensors in static variables may outlive any static object of this file.
Cache& cache(Device device) {
  static Cache* const caches[] = {new Cache(Device::cpu), new Cache(Device::hip)};
  return *caches[static_cast<int>(device)];
}

}  // namespace

Storage::Storage(std::int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  require(kHasGpu || device == Device::cpu, "storage",
          "this build has no GPU; use Device::cpu, or configure with -DRETNET_GPU=amd or nvidia");
  require(bytes >= 0 && bytes < std::int64_t{1} << 62, "storage", "cannot allocate ", bytes, " bytes");
  data_ = cache(device).take(bytes);
}

Storage::~Storage() { cache(device_).give_back(data_, bytes_); }

MemoryStats memory_stats(Device device) { return cache(device).stats(); }
void reset_peak_memory(Device device) { cache(device).reset_peak(); }
void release_cached_memory(Device device) { cache(device).release(); }
void set_poison(bool on) { poison() = on; }

kernels::Hip hip() {
  return {nullptr, [](std::int64_t bytes) { return cache(Device::hip).take(bytes); },
          [](void* memory, std::int64_t bytes) { cache(Device::hip).give_back(memory, bytes); }};
}

}  // namespace retnet
