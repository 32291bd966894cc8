#include "train/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "tensor/file.h"
#include "tensor/text.h"

namespace retnet {
namespace {

LogStep step_from(const Json& line, const std::string& source) {
  const auto real = [&](const char* key) { return line.at(key, source).as_double(source + ": " + key); };
  LogStep record;
  record.step = line.at("step", source).as_int(source + ": step");
  record.loss = real("loss");
  record.learning_rate = real("learning_rate");
  record.gradient_norm = real("gradient_norm");
  record.tokens = line.at("tokens", source).as_int(source + ": tokens");
  record.seconds = real("seconds");
  return record;
}

LogEvaluation evaluation_from(const Json& line, const std::string& source) {
  LogEvaluation record;
  record.step = line.at("step", source).as_int(source + ": step");
  record.held_out.nats = line.at("held_out_nats", source).as_double(source + ": held_out_nats");
  record.held_out.bytes = line.at("held_out_bytes", source).as_int(source + ": held_out_bytes");
  return record;
}

/// Adds one line to the records, unless it is of a later step. @returns whether it was added
bool add_line(LogRecords& records, std::string_view text, std::int64_t last_step, const std::string& source) {
  const Json line = Json::parse(text, source);
  if (line.at("step", source).as_int(source + ": step") > last_step) return false;
  if (line.find("loss", source))
    records.steps.push_back(step_from(line, source));
  else if (const Json* changed = line.find("changed", source))
    records.changes.push_back({line.at("step", source).as_int(source + ": step"), *changed});
  else
    records.evaluations.push_back(evaluation_from(line, source));
  return true;
}

[[noreturn]] void fail_system(const std::string& path, const char* what) {
  fail(printable(path).c_str(), what, ": ", std::generic_category().message(errno));
}

}  // namespace

LogRecords read_log(const std::string& path, std::int64_t last_step) {
  LogRecords records;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return records;
  const std::string text = read_file(path);
  for (std::size_t begin = 0, number = 1, end; begin < text.size(); begin = end + 1, ++number) {
    end = text.find('\n', begin);
    if (end == std::string::npos) break;
    try {
      const std::string source = printable(path) + ": line " + std::to_string(number);
      if (!add_line(records, std::string_view(text).substr(begin, end - begin), last_step, source)) break;
    } catch (const Error& error) {
      // What a crash leaves may be damaged, but only beyond what was on the disk when the checkpoint was
      // written.
      const bool reached = !records.steps.empty() && records.steps.back().step >= last_step;
      if (reached || end + 1 == text.size()) break;
      throw Error(std::string(error.what()) + "; the log is damaged: move it away to go on without it");
    }
    records.bytes = static_cast<std::int64_t>(end + 1);
  }
  return records;
}

Log::Log(const std::string& path, std::int64_t step) : path_(path) {
  const LogRecords records = step > 0 ? read_log(path, step) : LogRecords{};
  if (!records.steps.empty()) seconds_ = records.steps.back().seconds;
  if (!records.evaluations.empty()) last_evaluation_ = records.evaluations.back().step;
  changes_ = records.changes.size();
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_system(path, "cannot write");
  // Shortening a file in place is atomic: what stays is not written again.
  if (::ftruncate(descriptor_, records.bytes) == 0) return;
  const int error = errno;
  ::close(descriptor_);
  errno = error;
  fail_system(path, "cannot shorten the log");
}

Log::~Log() { ::close(descriptor_); }

void Log::append(const Json& line) {
  const std::string text = line.dump() + "\n";
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0) fail_system(path_, "cannot write");
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = ::write(descriptor_, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put == 0) errno = EIO;  // else it would be tried for ever
    if (put <= 0) break;
    done += static_cast<std::size_t>(put);
  }
  if (done == text.size()) return;
  const int error = errno;
  static_cast<void>(::ftruncate(descriptor_, before.st_size) == 0);  // shortening needs no space
  errno = error;
  fail_system(path_, "cannot write");
}

void Log::write(const LogStep& record) {
  append(Json::object({{"step", record.step},
                       {"loss", record.loss},
                       {"learning_rate", record.learning_rate},
                       {"gradient_norm", record.gradient_norm},
                       {"tokens", record.tokens},
                       {"seconds", record.seconds}}));
  seconds_ = record.seconds;
}

void Log::write(const LogEvaluation& record) {
  append(Json::object({{"step", record.step},
                       {"held_out_nats", record.held_out.nats},
                       {"held_out_bits", record.held_out.bits()},
                       {"held_out_bytes", record.held_out.bytes}}));
  last_evaluation_ = record.step;
}

void Log::write(const PlanChange& record) {
  append(Json::object({{"step", record.step}, {"changed", record.changed}}));
  ++changes_;
}

void Log::sync() {
  int result = 0;
  do result = ::fsync(descriptor_);
  while (result != 0 && errno == EINTR);
  // A log that is a device, /dev/full in a test, cannot be synced and need not be.
  if (result != 0 && errno != EINVAL) fail_system(path_, "cannot write to the disk (fsync)");
}

}  // namespace retnet
