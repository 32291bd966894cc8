/// @file
/// The last result of a function, kept for the next call with the same arguments.
#pragma once

#include <optional>
#include <utility>

namespace retnet {

/// Remembers one result of a pure function. All layers of a network ask for the same tables of angles and
/// decays, one after the other, and so does every training step.
template <class Key, class Result>
class Memo {
 public:
  /// The result for `key`: the remembered one, or that of `compute()`.
  template <class Compute>
  const Result& operator()(const Key& key, Compute&& compute) {
    if (!last_ || !(last_->first == key)) {
      last_.reset();  // gives the memory back before new memory is asked for
      last_.emplace(key, compute());
    }
    return last_->second;
  }

 private:
  std::optional<std::pair<Key, Result>> last_;
};

}  // namespace retnet
