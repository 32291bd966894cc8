#include "autograd/turns.h"

namespace retnet {

/// The first pass that may still add to the leaf.
std::int64_t Turns::next(const void* leaf) {
  std::int64_t& pass = added_[leaf];
  while (pass < static_cast<std::int64_t>(over_.size()) && over_[static_cast<std::size_t>(pass)]) ++pass;
  return pass;
}

void Turn::take(const void* leaf, const std::function<void()>& add) {
  std::unique_lock lock(turns_.mutex_);
  turns_.changed_.wait(lock, [&] { return turns_.next(leaf) == pass_; });
  lock.unlock();  // the others need not wait for the addition, but at this leaf
  add();
  lock.lock();
  turns_.added_[leaf] = pass_ + 1;
  turns_.changed_.notify_all();
}

Turn::~Turn() {
  const std::lock_guard lock(turns_.mutex_);
  turns_.over_[static_cast<std::size_t>(pass_)] = true;
  turns_.changed_.notify_all();
}

}  // namespace retnet
