#include "tensor/storage.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_set>
#include <utility>
#include <vector>

#include "kernels/memory.h"
#include "tensor/dispatch.h"
#include "tensor/memory_limit.h"

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

/// Free blocks by size. A block is freed in a destructor, where nothing may fail: so there is room in the
/// list for each block before it is made.
class FreeBlocks {
 public:
  /// Room for one more block of a size.
  void make_room(std::int64_t size) {
    List& list = lists_[size];
    if (list.blocks.capacity() == list.most) list.blocks.reserve(2 * list.most + 8);
    ++list.most;
  }
  /// One block of a size less is to be had.
  void give_up_room(std::int64_t size) { --lists_.find(size)->second.most; }

  void put(std::int64_t size, void* block) { lists_.find(size)->second.blocks.push_back(block); }

  /// A block of a size, or null where there is none.
  void* take(std::int64_t size) {
    const auto found = lists_.find(size);
    if (found == lists_.end() || found->second.blocks.empty()) return nullptr;
    void* block = found->second.blocks.back();
    found->second.blocks.pop_back();
    return block;
  }

  /// Takes all blocks: calls `use(size, block)` for each.
  template <class Use>
  void take_all(Use&& use) {
    for (auto& [size, list] : lists_)
      while (void* block = take(size)) use(size, block);
  }

 private:
  struct List {
    std::vector<void*> blocks;
    std::size_t most = 0;  ///< blocks that may come
  };
  std::map<std::int64_t, List> lists_;
};

class Cache;

/// The blocks of a graph. Its kernels have their addresses, so until it is gone nobody else may get one: not
/// those that were taken while it was recorded, and not those that were in use by then, which it may read.
struct RecordedBlocks {
  RecordedBlocks() = default;
  RecordedBlocks(const RecordedBlocks&) = delete;
  RecordedBlocks& operator=(const RecordedBlocks&) = delete;
  ~RecordedBlocks();

  Cache* cache = nullptr;                            ///< whose blocks they are, once it knows of this graph
  std::unordered_set<void*> before;                  ///< in use when the recording began, and since
  std::unordered_set<void*> taken;                   ///< while it was recorded
  FreeBlocks reusable;                               ///< of those taken, free again: for the same graph
  std::vector<std::pair<std::int64_t, void*>> kept;  ///< of those from before, no longer in use
};

/// The memory of one device. Blocks that were freed wait here for the next request of their size. A training
/// step asks for the same sizes as the step before, so after the first step no memory comes from the system,
/// and no page is touched anew.
class Cache {
 public:
  explicit Cache(Device device) : device_(device) {}

  void* take(std::int64_t bytes) {
    const std::int64_t size = rounded(bytes);
    void* block = reused(size);
    MemoryLeft left{INT64_MAX, ""};
    if (!block) block = allocated(size, left);
    if (!block && !recorded_) {
      release();
      block = allocated(size, left);
    }
    if (!block) refuse(bytes, left);
    try {
      count(block, size);
    } catch (...) {
      forget(block, size);
      throw;
    }
    if (poison()) on_device("storage", device_, [&](auto exec) { kernels::poison(exec, block, bytes); });
    return block;
  }

  void give_back(void* block, std::int64_t bytes) noexcept {
    const std::int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    stats_.live -= size;
    if (device_ == Device::hip) live_.erase(block);
    if (!kReuse && graphs_.empty()) return free(block, size);  // a graph goes on using its blocks
    stats_.cached += size;
    put(block, size);
  }

  /// From now on blocks are taken for a graph, until end_recording(). It has them until the result is gone.
  std::shared_ptr<RecordedBlocks> begin_recording() {
    const std::lock_guard lock(mutex_);
    const auto graph = std::make_shared<RecordedBlocks>();
    graph->before = live_;
    graph->kept.reserve(live_.size());
    graphs_.push_back(graph.get());
    graph->cache = this;
    recorded_ = graph.get();
    return graph;
  }

  void end_recording() {
    const std::lock_guard lock(mutex_);
    recorded_ = nullptr;
  }

  /// Returns what waits for anybody; graphs keep theirs.
  void release() {
    const std::lock_guard lock(mutex_);
    free_.take_all([&](std::int64_t size, void* block) { free(block, size), stats_.cached -= size; });
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }

  void* reused(std::int64_t size) {
    const std::lock_guard lock(mutex_);
    void* block = recorded_ ? recorded_->reusable.take(size) : nullptr;
    if (!block) block = free_.take(size);
    if (block) stats_.cached -= size;
    return block;
  }

  /// A graph is gone: its free blocks are for anybody, or for other graphs that have them too.
  void forget(RecordedBlocks& graph) noexcept {
    const std::lock_guard lock(mutex_);
    graphs_.erase(std::find(graphs_.begin(), graphs_.end(), &graph));
    for (const auto& [size, block] : graph.kept) put(block, size);
    graph.reusable.take_all([&](std::int64_t size, void* block) { put(block, size); });
  }

 private:
  /// Puts a free block where it waits: with the graph that has it, or for anybody.
  void put(void* block, std::int64_t size) {
    for (RecordedBlocks* graph : graphs_) {
      if (graph->taken.count(block) > 0) return graph->reusable.put(size, block);
      if (graph->before.erase(block) > 0) return graph->kept.push_back({size, block});
    }
    free_.put(size, block);
  }

  /// A new block, or null where the system does not have it; then `left` is why, as far as it is known.
  void* allocated(std::int64_t size, MemoryLeft& left) {
    // The system gives more than there is. It is asked again what there is for every so many bytes.
    constexpr std::int64_t kUnchecked = 1 << 26;
    if (device_ == Device::cpu && (unchecked_ += size) >= kUnchecked) {
      left = memory_left();
      if (size > left.bytes) return nullptr;
      unchecked_ = 0;
    }
    {
      const std::lock_guard lock(mutex_);
      free_.make_room(size);
    }
    void* const block =
        on_device("storage", device_, [&](auto exec) { return kernels::allocate(exec, size); });
    if (block) return block;
    if (device_ == Device::cpu) left = memory_left();
    const std::lock_guard lock(mutex_);
    free_.give_up_room(size);
    return nullptr;
  }

  [[noreturn]] void refuse(std::int64_t bytes, const MemoryLeft& left) {
    const MemorySize asked(bytes), in_use(stats().live), rest(left.bytes);
    const char* const advice = "use a smaller batch, window or model";
    if (device_ == Device::hip)
      throw OutOfMemory("the GPU is out of memory: asked for %s with %s in use; %s", asked.text, in_use.text,
                        advice);
    if (left.bytes == INT64_MAX)
      throw OutOfMemory("out of memory: asked for %s with %s in use; %s", asked.text, in_use.text, advice);
    throw OutOfMemory("out of memory: asked for %s with %s in use; %s %s; %s", asked.text, in_use.text,
                      rest.text, left.limit, advice);
  }

  void free(void* block, std::int64_t size) {
    on_device("storage", device_, [&](auto exec) { kernels::release(exec, block); });
    free_.give_up_room(size);
  }

  /// Returns a block that was taken and not counted.
  void forget(void* block, std::int64_t size) noexcept {
    const std::lock_guard lock(mutex_);
    if (recorded_) recorded_->taken.erase(block);
    live_.erase(block);
    free(block, size);
  }

  /// Counts a block as in use; not before it is had, so that a refused request leaves no trace in the peak.
  void count(void* block, std::int64_t size) {
    const std::lock_guard lock(mutex_);
    if (device_ == Device::hip) live_.insert(block);
    if (recorded_ && recorded_->taken.insert(block).second) recorded_->reusable.make_room(size);
    stats_.live += size;
    stats_.peak = std::max(stats_.peak, stats_.live);
  }

  const Device device_;
  std::mutex mutex_;
  FreeBlocks free_;
  std::atomic<std::int64_t> unchecked_{0};  // bytes from the system since its memory was looked at
  std::unordered_set<void*> live_;          // on a GPU: blocks in use
  std::vector<RecordedBlocks*> graphs_;     // all that there are
  RecordedBlocks* recorded_ = nullptr;      // the one that is being recorded
  MemoryStats stats_;
};

RecordedBlocks::~RecordedBlocks() {
  if (cache) cache->forget(*this);
}

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

namespace {

/// Where work of the GPU is queued: the default stream, or while a graph is recorded that of the recording.
void*& stream() {
  static void* current = nullptr;
  return current;
}

}  // namespace

kernels::Hip hip() {
  return {stream(), [](std::int64_t bytes) { return cache(Device::hip).take(bytes); },
          [](void* memory, std::int64_t bytes) { cache(Device::hip).give_back(memory, bytes); },
          stream() != nullptr};
}

void synchronize(Device device) {
  on_device("synchronize", device, [](auto exec) { kernels::synchronize(exec); });
}

namespace detail {

GraphMemory begin_recording(void* recording) {
  require(stream() == nullptr, "graph", "required one recording at a time, got another one within it");
  stream() = recording;
  return cache(Device::hip).begin_recording();
}

void end_recording() {
  stream() = nullptr;
  cache(Device::hip).end_recording();
}

}  // namespace detail

}  // namespace retnet
