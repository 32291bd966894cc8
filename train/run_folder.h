/// @file
/// The folder of a run: which checkpoints are in it, what interrupted writes left, and who may write to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace retnet {

/// "RUN/step-000500".
std::string checkpoint_folder(const std::string& run, std::int64_t step);

/// Steps of the checkpoints of a run, the newest first; none when there is no such folder.
/// @throws Error when the folder cannot be read
std::vector<std::int64_t> checkpoint_steps(const std::string& run);

/// Removes what writes that a crash cut short have left: names with ".tmp.". Only for who holds the lock.
void remove_leftovers(const std::string& run);

/// Creates a folder and those above it, unless they exist, and syncs those that hold their names.
/// @throws Error saying why it cannot
void create_folder(const std::string& path);

/// Removes a folder and everything in it, as far as possible.
void remove_folder(const std::string& path);

/// While it lives, no other RunLock of the same folder can be made, in this process or another. Released with
/// the process, however that ends. The file `RUN/.lock` stays behind and means nothing by itself.
class RunLock {
 public:
  /// @throws Error when somebody else holds it, or the folder cannot be written
  explicit RunLock(const std::string& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace retnet
