#include "train/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

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

/// What to do with the lines of a log.
struct Sink {
  std::function<void(const LogStep&)> step;
  std::function<void(const LogEvaluation&)> evaluation;
  std::function<void(const PlanChange&)> change;
};

/// Passes one line on, unless it is of a later step. @returns its step, or nothing when it was later
std::optional<std::int64_t> pass_on(std::string_view text, std::int64_t last_step, const std::string& source,
                                    const Sink& sink) {
  const Json line = Json::parse(text, source);
  const std::int64_t step = line.at("step", source).as_int(source + ": step");
  if (step > last_step) return std::nullopt;
  if (line.find("loss", source))
    sink.step(step_from(line, source));
  else if (const Json* changed = line.find("changed", source))
    sink.change({step, *changed});
  else
    sink.evaluation(evaluation_from(line, source));
  return step;
}

/// The lines of a file one after the other, with a block of it in memory.
class Lines {
 public:
  explicit Lines(const InputFile& file) : file_(file) {}

  /// Goes on to the next line. @returns false when there is none that is whole
  bool next() {
    begin_ = end_;
    while ((end_ = text_.find('\n', begin_)) == std::string::npos) {
      require(text_.size() - begin_ <= kBlock, printable(file_.path()).c_str(), "a line is longer than ",
              kBlock, " bytes");
      text_.erase(0, begin_);
      passed_ += static_cast<std::int64_t>(std::exchange(begin_, 0));
      const std::size_t before = text_.size();
      text_.resize(before + kBlock);
      const std::int64_t got =
          file_.read_some(passed_ + static_cast<std::int64_t>(before), text_.data() + before, kBlock);
      text_.resize(before + static_cast<std::size_t>(got));
      if (got == 0) return false;
    }
    ++end_;
    return true;
  }
  std::string_view line() const { return std::string_view(text_).substr(begin_, end_ - 1 - begin_); }
  std::int64_t end() const { return passed_ + static_cast<std::int64_t>(end_); }  ///< byte after the line

 private:
  static constexpr std::size_t kBlock = 1 << 20;

  const InputFile& file_;
  std::string text_;
  std::int64_t passed_ = 0;  ///< bytes of the file before the text
  std::size_t begin_ = 0, end_ = 0;
};

/// Reads a log up to and with a step. @returns the bytes of the file that the lines passed on take up
std::int64_t scan_log(const std::string& path, std::int64_t last_step, const Sink& sink) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return 0;
  const InputFile file(path);
  Lines lines(file);
  std::int64_t bytes = 0, reached = 0;
  for (std::int64_t number = 1;; ++number) {
    try {
      if (!lines.next()) break;
      const std::string source = printable(path) + ": line " + std::to_string(number);
      const std::optional<std::int64_t> step = pass_on(lines.line(), last_step, source, sink);
      if (!step) break;
      reached = *step;
    } catch (const Error& error) {
      // What a crash leaves may be damaged, but only beyond what was on the disk when the checkpoint was
      // written.
      if (reached >= last_step || lines.end() == file.size()) break;
      throw Error(std::string(error.what()) + "; the log is damaged: move it away to go on without it");
    }
    bytes = lines.end();
  }
  return bytes;
}

}  // namespace

LogRecords read_log(const std::string& path, std::int64_t last_step) {
  LogRecords records;
  const Sink sink{[&](const LogStep& step) { records.steps.push_back(step); },
                  [&](const LogEvaluation& evaluation) { records.evaluations.push_back(evaluation); },
                  [&](const PlanChange& change) { records.changes.push_back(change); }};
  records.bytes = scan_log(path, last_step, sink);
  return records;
}

Log::Log(const std::string& path, std::int64_t step) : path_(path) {
  const Sink sink{[&](const LogStep& record) { keep(record); },
                  [&](const LogEvaluation& record) { keep(record); }, [&](const PlanChange&) { ++changes_; }};
  const std::int64_t bytes = step > 0 ? scan_log(path, step, sink) : 0;
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_system(path, "cannot write", errno);
  // Shortening a file in place is atomic: what stays is not written again.
  if (::ftruncate(descriptor_, bytes) == 0) return;
  const int error = errno;
  ::close(descriptor_);
  fail_system(path, "cannot shorten the log", error);
}

Log::~Log() { ::close(descriptor_); }

void Log::append(const Json& line) {
  const std::string text = line.dump() + "\n";
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0) fail_system(path_, "cannot write", errno);
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
  fail_system(path_, "cannot write", error);
}

void Log::write(const LogStep& record) {
  append(Json::object({{"step", record.step},
                       {"loss", record.loss},
                       {"learning_rate", record.learning_rate},
                       {"gradient_norm", record.gradient_norm},
                       {"tokens", record.tokens},
                       {"seconds", record.seconds}}));
  keep(record);
}

void Log::write(const LogEvaluation& record) {
  append(Json::object({{"step", record.step},
                       {"held_out_nats", record.held_out.nats},
                       {"held_out_bits", record.held_out.bits()},
                       {"held_out_bytes", record.held_out.bytes}}));
  keep(record);
}

void Log::write(const PlanChange& record) {
  append(Json::object({{"step", record.step}, {"changed", record.changed}}));
  ++changes_;
}

void Log::keep(const LogStep& record) {
  seconds_ = record.seconds;
  losses_.training.add({record.step, record.loss});
}

void Log::keep(const LogEvaluation& record) { losses_.held_out.add({record.step, record.held_out.nats}); }

void Log::sync() {
  int result = 0;
  do result = ::fsync(descriptor_);
  while (result != 0 && errno == EINTR);
  // A log that is a device, /dev/full in a test, cannot be synced and need not be.
  if (result != 0 && errno != EINVAL) fail_system(path_, "cannot write to the disk (fsync)", errno);
}

}  // namespace retnet
