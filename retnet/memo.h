/// @file
/// The last results of a function, kept for the next call with the same arguments.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace retnet {

/// Remembers the last few results of a pure function. All layers of a network ask for the same tables of
/// angles and decays, one after the other, and so does every training step.
template <class Key, class Result>
class Memo {
 public:
  /// The result for `key`: the remembered one, or that of `compute()`.
  template <class Compute>
  const Result& operator()(const Key& key, Compute&& compute) {
    for (const auto& known : known_)
      if (known && known->first == key) return known->second;
    auto& oldest = known_[next_++ % known_.size()];
    oldest.reset();  // gives the memory back before new memory is asked for
    oldest.emplace(key, compute());
    return oldest->second;
  }

 private:
  std::array<std::optional<std::pair<Key, Result>>, 2> known_;  // the parallel form has two tables of decays
  std::size_t next_ = 0;
};

}  // namespace retnet
