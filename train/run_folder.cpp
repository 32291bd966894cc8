#include "train/run_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>

#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/text.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;

/// What a path itself is; a link is a link, wherever it leads.
fs::file_type type_of(const std::string& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type();
}

/// Removes a file of ours; a link or a folder of its name is somebody else's.
void remove_file(const std::string& path) {
  if (type_of(path) == fs::file_type::regular) ::unlink(path.c_str());
}

/// True iff `text` is ".N" so many times, as in the "17.0" of "loss.svg.tmp.17.0".
bool is_numbers(std::string_view text, int count) {
  for (; count > 0; --count) {
    std::size_t end = 1;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    if (text.empty() || text[0] != '.' || end == 1) return false;
    text.remove_prefix(end);
  }
  return text.empty();
}

/// True iff `name` is that of the file, or what AtomicFile calls it while it is written.
bool is_temporary(std::string_view name, std::string_view file) {
  const std::string start = std::string(file) + ".tmp";
  return name.starts_with(start) && is_numbers(name.substr(start.size()), 2);
}

/// The step of a name that checkpoint_folder() makes, or 0: for "step-5" and "step-000005.tmp.17", say.
std::int64_t step_of(const std::string& name) {
  std::int64_t step = 0;
  if (!name.starts_with("step-")) return 0;
  std::from_chars(name.data() + 5, name.data() + name.size(), step);
  return step > 0 && checkpoint_folder("", step) == "/" + name ? step : 0;
}

bool holds_checkpoint(const std::string& folder) {
  if (type_of(folder) != fs::file_type::directory) return false;
  const auto is_in = [&](const char* file) {
    return type_of(folder + "/" + file) != fs::file_type::not_found;
  };
  return std::any_of(std::begin(kCheckpointFiles), std::end(kCheckpointFiles), is_in);
}

/// Removes the files of a checkpoint from a folder. @returns whether the folder was empty then, and is gone
bool remove_files(const std::string& folder) {
  for (const std::string& name : names_in(folder))
    for (const char* file : kCheckpointFiles)
      if (name == file || is_temporary(name, file)) remove_file(folder + "/" + name);
  return ::rmdir(folder.c_str()) == 0;
}

}  // namespace

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  // The iterator of the library of C++ would end the program where there is no memory for a name.
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(folder.c_str()), ::closedir);
  if (!list && (errno == ENOENT || errno == ENOTDIR)) return names;
  while (list) {
    errno = 0;
    const dirent* const entry = ::readdir(list.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno == ENOMEM) throw std::bad_alloc();
  if (errno != 0) fail_system(folder, "cannot list the folder", errno);
  return names;
}

std::string checkpoint_folder(const std::string& run, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "/step-%06lld", static_cast<long long>(step));
  return run + name;
}

std::vector<std::int64_t> checkpoint_steps(const std::string& run) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : names_in(run))
    if (const std::int64_t step = step_of(name); step > 0 && holds_checkpoint(run + "/" + name))
      steps.push_back(step);
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

void remove_leftovers(const std::string& run) {
  for (const std::string& name : names_in(run)) {
    const std::string path = run + "/" + name;
    for (const char* file : kRunFiles)
      if (is_temporary(name, file)) remove_file(path);
    const std::string home = name.substr(0, name.find(".tmp."));
    if (step_of(home) == 0) continue;
    std::string_view rest = std::string_view(name).substr(std::min(name.size(), home.size() + 4));
    const bool retired = rest.ends_with(".old");
    if (retired) rest.remove_suffix(4);
    if (!is_numbers(rest, 1)) continue;
    if (retired)
      discard(path, run + "/" + home);
    else
      remove_unfinished(path);
  }
}

std::string retire_checkpoint(const std::string& folder) {
  const std::string retired = folder + ".tmp." + std::to_string(::getpid()) + ".old";
  rename_folder(folder, retired);
  return retired;
}

void discard(const std::string& retired, const std::string& home) {
  // A link of such a name leads to a folder that is not ours.
  if (type_of(retired) != fs::file_type::directory || remove_files(retired)) return;
  if (holds_checkpoint(retired)) return;  // a file could not be removed: no part of a checkpoint goes back
  // Fails where there is a checkpoint again: a folder takes the place of an empty one only.
  if (::rename(retired.c_str(), home.c_str()) == 0) return;
  for (const std::string& name : names_in(retired))
    if (type_of(home + "/" + name) == fs::file_type::not_found)
      ::rename((retired + "/" + name).c_str(), (home + "/" + name).c_str());
  ::rmdir(retired.c_str());
}

void remove_unfinished(const std::string& folder) noexcept {
  try {
    if (type_of(folder) == fs::file_type::directory) remove_files(folder);
  } catch (const std::exception&) {
    // Without memory, or in a folder that nobody may list, it stays for the next run to remove.
  }
}

std::string kept_text_name(std::uint64_t hash) {
  char name[48];
  std::snprintf(name, sizeof name, "data-%016llx.txt", static_cast<unsigned long long>(hash));
  return name;
}

bool is_kept_text(const std::string& name) {
  std::uint64_t hash = 0;
  if (!name.starts_with("data-")) return false;
  std::from_chars(name.data() + 5, name.data() + name.size(), hash, 16);
  return name == kept_text_name(hash);
}

std::vector<std::string> kept_texts(const std::string& run, const std::vector<std::string>& in_use) {
  std::vector<std::string> names;
  for (const std::string& name : names_in(run))
    if (is_kept_text(name) && std::find(in_use.begin(), in_use.end(), name) == in_use.end())
      names.push_back(name);
  return names;
}

void remove_partial_copies(const std::string& run) {
  for (const std::string& name : names_in(run))
    if (is_temporary(name, kTextCopy)) remove_file(run + "/" + name);
}

void clear_run(const std::string& run, const std::vector<std::string>& in_use) {
  for (const std::int64_t step : checkpoint_steps(run)) {
    const std::string folder = checkpoint_folder(run, step);
    discard(retire_checkpoint(folder), folder);
  }
  for (const char* file : {"log.jsonl", "loss.svg"}) remove_file(run + "/" + file);
  for (const std::string& name : kept_texts(run, in_use)) remove_file(run + "/" + name);
}

void create_folder(const std::string& path) {
  std::error_code error;
  std::vector<fs::path> fresh;
  for (fs::path at = path; !at.empty() && !fs::exists(at, error); at = at.parent_path()) fresh.push_back(at);
  fs::create_directories(path, error);
  // A link to a folder is none to create_directories, but good enough.
  std::error_code ignored;
  require(!error || fs::is_directory(path, ignored), printable(path).c_str(),
          "cannot create the folder: ", error.message());
  // A name is on the disk when the folder that holds it is; one that may not be read cannot be synced.
  for (const fs::path& folder : fresh) {
    const std::string parent = folder.has_parent_path() ? folder.parent_path().string() : ".";
    if (::access(parent.c_str(), R_OK) == 0) fsync_directory(parent);
  }
}

void rename_folder(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  require(!error, printable(to).c_str(), "cannot write (rename): ", error.message());
}

RunLock::RunLock(const std::string& run) {
  const std::string path = run + "/.lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_system(path, "cannot write", errno);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return;  // some file systems have no locks
  ::close(descriptor_);
  fail(printable(run).c_str(), "another process trains in this folder; wait for it, or choose another one");
}

RunLock::~RunLock() { ::close(descriptor_); }

}  // namespace retnet
