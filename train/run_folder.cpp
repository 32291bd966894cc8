#include "train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <system_error>

#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/text.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;

/// Names of what is in a folder, in no order.
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    names.push_back(entry->path().filename().string());
  require(!error, printable(folder).c_str(), "cannot list the folder: ", error.message());
  return names;
}

}  // namespace

std::string checkpoint_folder(const std::string& run, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "/step-%06lld", static_cast<long long>(step));
  return run + name;
}

std::vector<std::int64_t> checkpoint_steps(const std::string& run) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : names_in(run)) {
    std::int64_t step = 0;
    if (!name.starts_with("step-")) continue;
    std::from_chars(name.data() + 5, name.data() + name.size(), step);
    // Only names that checkpoint_folder() makes: no "step-5", no "step-000005.tmp.17".
    if (step > 0 && checkpoint_folder("", step) == "/" + name) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

void remove_leftovers(const std::string& run) {
  for (const std::string& name : names_in(run))
    if (name.find(".tmp.") != std::string::npos) remove_folder(run + "/" + name);
}

void create_folder(const std::string& path) {
  std::error_code error;
  std::vector<fs::path> fresh;
  for (fs::path at = path; !at.empty() && !fs::exists(at, error); at = at.parent_path()) fresh.push_back(at);
  fs::create_directories(path, error);
  // A link to a folder is none to create_directories, but good enough.
  require(!error || fs::is_directory(path), printable(path).c_str(),
          "cannot create the folder: ", error.message());
  // A name is on the disk when the folder that holds it is; one that may not be read cannot be synced.
  for (const fs::path& folder : fresh) {
    const std::string parent = folder.has_parent_path() ? folder.parent_path().string() : ".";
    if (::access(parent.c_str(), R_OK) == 0) fsync_directory(parent);
  }
}

void remove_folder(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

RunLock::RunLock(const std::string& run) {
  const std::string path = run + "/.lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  require(descriptor_ >= 0, printable(path).c_str(),
          "cannot write: ", std::generic_category().message(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return;  // some file systems have no locks
  ::close(descriptor_);
  fail(printable(run).c_str(), "another process trains in this folder; wait for it, or choose another one");
}

RunLock::~RunLock() { ::close(descriptor_); }

}  // namespace retnet
