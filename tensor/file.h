/// @file
/// Files read with every error named, and written so that a crash leaves the old file or the new one, never a
/// part.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace retnet {

/// @throws Error "PATH: WHAT: REASON", with the reason that the system gives for an errno
[[noreturn]] void fail_system(const std::string& path, const char* what, int error);

/// A regular file open for reading at any offset. Nothing is mapped: a mapped file that somebody truncates
/// kills its reader, a short read is an Error. A file that is renamed, removed or replaced by another one
/// stays readable for who has it open.
class InputFile {
 public:
  /// @throws Error when the file is missing, unreadable, a directory, or no regular file (a pipe, a device)
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }  ///< in bytes, when it was opened

  /// Up to `count` bytes from `offset`; fewer only at the end of the file. @throws Error when reading fails
  std::int64_t read_some(std::int64_t offset, void* bytes, std::int64_t count) const;
  /// Exactly `count` bytes from `offset`. @throws Error when reading fails or the file ends before
  void read(std::int64_t offset, void* bytes, std::int64_t count) const;

 private:
  friend class ScratchFile;
  InputFile(const std::string& path, int descriptor, std::int64_t size)
      : path_(path), size_(size), descriptor_(descriptor) {}

  std::string path_;
  std::int64_t size_ = 0;
  int descriptor_ = -1;
};

/// Writes a file under a temporary name in the same folder, `PATH.tmp.PID.N`; commit() gives it its name. So
/// the file at `path` is the old one, or none, until the new one is whole and on the disk.
///
/// An existing file keeps its permissions; a symbolic link is replaced by the file. Without commit() the
/// destructor removes the temporary file; after a crash it stays, and whoever owns the folder may remove it.
class AtomicFile {
 public:
  /// @throws Error when the temporary file cannot be created, or `path` is a directory, device or pipe
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends. @throws Error when writing fails: a full disk, say
  void write(const void* bytes, std::int64_t count);
  void write(std::string_view bytes) { write(bytes.data(), static_cast<std::int64_t>(bytes.size())); }
  /// Overwrites bytes written before. @throws Error when writing fails
  void overwrite(std::int64_t offset, std::string_view bytes);
  /// fsync, close, rename, fsync of the folder; once. @throws Error in the name of the first that fails. The
  /// old file is then still in place, unless it was the last step: the new file is in place, but may not
  /// survive a loss of power.
  void commit() { commit_as(path_); }
  /// The same under another name in the same folder, for a file that is named after what it holds.
  void commit_as(const std::string& path);
  /// The name that the file has before commit().
  const std::string& temporary() const { return temporary_; }

 private:
  void require_open() const;

  std::string path_, temporary_;
  std::int64_t written_ = 0;
  int descriptor_ = -1;
  bool renamed_ = false;
};

/// Writes what is read again by nobody but this process: a file in the system's folder for temporary files
/// (TMPDIR, or /tmp) that has no name, and so is gone with the process, however that ends.
class ScratchFile {
 public:
  /// @throws Error naming the folder when no file can be created there
  ScratchFile();
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  /// Appends. @throws Error naming the folder when writing fails: a full disk, say
  void write(const void* bytes, std::int64_t count);
  /// Everything written, for reading; nothing can be written any more.
  std::shared_ptr<const InputFile> finish();

 private:
  std::string folder_;
  std::int64_t written_ = 0;
  int descriptor_ = -1;
};

/// The whole file. @throws Error as InputFile does
std::string read_file(const std::string& path);

/// Replaces the file at `path` by one that holds `bytes`, at once and durably. @throws Error as AtomicFile
/// does
void write_file_atomic(const std::string& path, std::string_view bytes);

/// Makes the creations, renames and removals in a folder durable. A file system that cannot (EINVAL) is taken
/// to need no such call. @throws Error when it fails
void fsync_directory(const std::string& path);

}  // namespace retnet
