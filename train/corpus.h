/// @file
/// The bytes of several files, one after the other, read where they lie.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"
#include "tensor/file.h"

namespace retnet {

/// Who is told how far a read is that may take minutes.
struct Watch {
  std::ostream* progress = nullptr;          ///< where a line of progress goes, or nullptr
  int terminal = -1;                         ///< descriptor of the terminal that this is, or -1: none
  std::chrono::milliseconds patience{1000};  ///< what is read sooner needs no words
};

/// FNV-1a of 64 bits, byte after byte.
class Fnv1a {
 public:
  void update(const char* bytes, std::int64_t count);
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ull;
};

/// Bytes of several files in their order. Files are held open and read when they are asked for, so that text
/// may be larger than memory; a file that is replaced meanwhile stays what it was. Copies share the files.
class Corpus {
 public:
  Corpus() = default;  ///< no bytes

  /// @param files  paths; "bundled" is the text inside the program. What can be read only once (is_stream())
  ///               is first copied to a ScratchFile
  /// @throws Error naming the file that is missing, unreadable, a directory or empty
  explicit Corpus(const std::vector<std::string>& files, const Watch& watch = {});
  /// A file whose hash is known.
  Corpus(const std::string& path, std::uint64_t hash) : Corpus(std::vector<std::string>{path}) {
    hash_ = hash;
  }

  std::int64_t size() const { return size_; }  ///< bytes in all

  /// Bytes offset .. offset + count - 1, from one file or across several. For any thread.
  /// @throws Error for a range that is not inside; naming the file when it cannot be read, or is shorter than
  ///         it was
  void read(std::int64_t offset, char* bytes, std::int64_t count) const;

  /// FNV-1a of all bytes. The first call reads them, about a second for a gigabyte; not while other threads
  /// use this object. @throws Error as read() does
  std::uint64_t hash(const Watch& watch = {}) const;

 private:
  /// One of the files. The text inside the program has no file.
  struct Part {
    std::int64_t begin = 0, size = 0;
    std::shared_ptr<const InputFile> file;
    std::string_view text;
  };

  void add(Part part);

  std::vector<Part> parts_;
  std::int64_t size_ = 0;
  mutable std::optional<std::uint64_t> hash_;
};

/// Reads what `path` names, of whatever kind, once and from front to back, and hands it on piece by piece.
/// @param path  a file, a stream (is_stream()), or "bundled"
/// @return the number of bytes
/// @throws Error naming what cannot be read or is empty; what `take` throws
std::int64_t read_through(const std::string& path, const Watch& watch,
                          const std::function<void(const char*, std::int64_t)>& take);

}  // namespace retnet
