#include "tensor/storage.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "tensor/error.h"

namespace retnet {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

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

/// Blocks that were freed wait here for the next request of their size. A training step asks for the same
/// sizes as the step before, so after the first step no memory comes from the system, and no page is touched
/// anew.
class Cache {
 public:
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = free_.find(bytes);
    if (found == free_.end() || found->second.empty()) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    stats_.cached -= static_cast<std::int64_t>(bytes);
    return block;
  }

  void give_back(void* block, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    stats_.live -= static_cast<std::int64_t>(bytes);
    if (!kReuse) {
      std::free(block);
      return;
    }
    free_[bytes].push_back(block);
    stats_.cached += static_cast<std::int64_t>(bytes);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [bytes, blocks] : free_)
      for (void* block : blocks) std::free(block);
    free_.clear();
    stats_.cached = 0;
  }

  /// Counts a block as in use; not before it is had, so that a refused request leaves no trace in the peak.
  void count(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    stats_.live += static_cast<std::int64_t>(bytes);
    stats_.peak = std::max(stats_.peak, stats_.live);
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
  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  MemoryStats stats_;
};

/// Never destroyed, because tensors in static variables may outlive any static object of this file.
Cache& cache() {
  static Cache* instance = new Cache;
  return *instance;
}

bool& poison() {
  static bool on = std::getenv("RETNET_POISON") != nullptr;
  return on;
}

/// Sizes in use: multiples of the alignment, and above 16 of those in steps of 1/8 of a power of two, so that
/// slightly different requests share blocks.
std::size_t rounded(std::size_t bytes) {
  std::size_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max(step, (bytes + step - 1) / step * step);
}

}  // namespace

Storage::Storage(std::int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  require(device == Device::cpu, "storage",
          "this build has no GPU; use Device::cpu, or configure with -DRETNET_GPU=amd or nvidia");
  require(bytes >= 0 && bytes < std::int64_t{1} << 62, "storage", "cannot allocate ", bytes, " bytes");
  const std::size_t size = rounded(static_cast<std::size_t>(bytes));
  data_ = cache().take(size);
  if (!data_) data_ = std::aligned_alloc(kAlignment, size);
  if (!data_) {
    cache().release();
    data_ = std::aligned_alloc(kAlignment, size);
  }
  if (!data_)
    fail("storage", "out of memory: asked for ", bytes >> 20, " MiB with ", memory_stats().live >> 20,
         " MiB in use; use a smaller batch, window or model");
  cache().count(size);
  if (poison()) std::memset(data_, 0xFF, static_cast<std::size_t>(bytes));
}

Storage::~Storage() { cache().give_back(data_, rounded(static_cast<std::size_t>(bytes_))); }

MemoryStats memory_stats() { return cache().stats(); }
void reset_peak_memory() { cache().reset_peak(); }
void release_cached_memory() { cache().release(); }
void set_poison(bool on) { poison() = on; }

}  // namespace retnet
