/// @file
/// The system calls by which files are read and written, watched and disturbed: each is counted and can be
/// written down, and any of them can fail, end the process, or transfer less than it was asked to.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace retnet::test {

/// A system call on a file or folder.
struct SystemCall {
  std::string name;  ///< create, reopen, open, read, write, truncate, fsync, rename, mkdir, unlink or rmdir
  std::string path;  ///< absolute
  std::string to;    ///< the new path of a rename, the number of bytes that a read or write asks for

  bool operator==(const SystemCall&) const = default;
};

/// What happens to the calls on what is in a folder, or on the folder itself. An fsync does nothing: it takes
/// the time of a disk, and nobody cuts the power in a test.
struct Disturbance {
  enum class Kind {
    none,
    fail,   ///< call number `at` does nothing and reports `error`
    power,  ///< from call number `at` on all report `error`, as a disk does that is gone
    stop,   ///< the process ends at call number `at`: a write has then done a half, others nothing
    first   ///< `other` is called just before call number `at`: what somebody else does at that moment
  };
  std::string folder;      ///< its absolute path; calls elsewhere are left alone and do not count
  std::string only;        ///< calls of this name alone count; empty: all
  Kind kind = Kind::none;  ///< what is done
  int at = 0;              ///< to which call, counted from 1
  int error = 0;           ///< an errno
  bool in_pieces = false;  ///< reads and writes transfer a few bytes, and each is interrupted first (EINTR)
  std::function<void()> other = {};
  std::string record = {};  ///< a file outside the folder that gets a line for each call; empty: none
};

/// The exit code of a process that Disturbance::Kind::stop has ended.
inline constexpr int kStopped = 77;

/// While it lives, the calls of this process are disturbed. There is one at a time.
class Disturbed {
 public:
  explicit Disturbed(const Disturbance& disturbance);
  ~Disturbed();
  Disturbed(const Disturbed&) = delete;
  Disturbed& operator=(const Disturbed&) = delete;
};

/// The calls that were recorded in a file.
std::vector<SystemCall> recorded_calls(const std::string& record);

}  // namespace retnet::test
