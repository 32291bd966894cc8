/// @file
/// What can be read only once, from front to back: standard input, pipes, terminals, process substitutions.
#pragma once

#include <cstdint>
#include <string>

namespace retnet {

/// True iff `path` means standard input: `-`, or one of the names that the system has for it, /dev/stdin,
/// /dev/fd/0 and /proc/self/fd/0.
bool is_standard_input(const std::string& path);

/// What messages call an input: "standard input", or its path in one line.
std::string input_name(const std::string& path);

/// True iff what `path` names will not be there again, or not the same: standard input, a pipe, a device, a
/// socket, and whatever is in /dev/fd or /proc. False for what does not exist, and for a folder.
bool is_stream(const std::string& path);

/// A file of any kind, read once from where it stands to its end.
class InputStream {
 public:
  /// Does not wait for somebody to write to a pipe; read_some() does.
  /// @throws Error naming what is missing, unreadable or a directory
  explicit InputStream(const std::string& path);
  ~InputStream();
  InputStream(const InputStream&) = delete;
  InputStream& operator=(const InputStream&) = delete;

  const std::string& name() const { return name_; }  ///< what messages call it, see input_name()

  /// Waits, then reads up to `count` bytes; 0 only at the end. @throws Error when reading fails
  std::int64_t read_some(void* bytes, std::int64_t count);

 private:
  void wait() const;

  std::string name_;
  int descriptor_ = -1;
};

/// All of a file, a pipe or standard input that a user named: see is_standard_input().
/// @throws Error as InputStream does, and when there are more than `most` bytes
std::string read_input(const std::string& path, std::int64_t most);

}  // namespace retnet
