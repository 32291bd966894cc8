#include "train/corpus.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "tensor/stream.h"
#include "tensor/text.h"
#include "train/bundled_text.h"
#include "train/output.h"
#include "train/terminal_line.h"

namespace retnet {
namespace {

constexpr std::int64_t kPiece = std::int64_t{1} << 20;

std::string_view bundled() {
  const std::string_view text = bundled_text();
  require(!text.empty(), "bundled", "this program was built without a text inside; give a file");
  return text;
}

void require_not_empty(std::int64_t size, const std::string& name) {
  require(size > 0, printable(name).c_str(), "the file is empty; give one with text to learn from");
}

/// Files are held open, and a shell allows a program 1024 of them unless it asks for more.
void allow_open_files(std::size_t count) {
  rlimit limit{};
  const auto wanted = static_cast<rlim_t>(count + 256);
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));  // where it fails, so does opening, with a reason
}

/// Says how far a read is, when it takes long.
class Reading {
  using Clock = std::chrono::steady_clock;

 public:
  /// @param total  bytes in all, 0 when nobody knows
  Reading(const Watch& watch, const std::string& what, std::int64_t total)
      : watch_(watch), what_(what), total_(total) {
    if (watch.progress != nullptr && watch.terminal >= 0) line_.emplace(*watch.progress, watch.terminal);
  }
  ~Reading() {
    if (line_) line_->clear();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  /// @param count  bytes that were read since the last call
  void add(std::int64_t count) {
    done_ += count;
    if (watch_.progress == nullptr || Clock::now() < next_) return;
    next_ = Clock::now() + (line_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10));
    std::string text = "reading " + what_ + ": " + human_bytes(done_);
    if (total_ > 0) text += " of " + human_bytes(total_);
    if (line_)
      line_->draw(text);
    else
      *watch_.progress << text << std::endl;
  }

 private:
  const Watch& watch_;
  std::string what_;
  std::int64_t total_, done_ = 0;
  Clock::time_point next_ = Clock::now() + watch_.patience;
  std::optional<TerminalLine> line_;
};

}  // namespace

void Fnv1a::update(const char* bytes, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    hash_ = (hash_ ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3ull;
}

std::int64_t read_through(const std::string& path, const Watch& watch,
                          const std::function<void(const char*, std::int64_t)>& take) {
  if (path == "bundled") {
    take(bundled().data(), static_cast<std::int64_t>(bundled().size()));
    return static_cast<std::int64_t>(bundled().size());
  }
  InputStream stream(path);
  Reading reading(watch, stream.name(), 0);
  std::vector<char> piece(kPiece);
  std::int64_t size = 0;
  while (true) {
    const std::int64_t got = stream.read_some(piece.data(), kPiece);
    if (got == 0) break;
    take(piece.data(), got);
    size += got;
    reading.add(got);
  }
  require_not_empty(size, stream.name());
  return size;
}

Corpus::Corpus(const std::vector<std::string>& files, const Watch& watch) {
  require(!files.empty(), "data", "needs at least one file, or \"bundled\"");
  allow_open_files(files.size());
  for (const std::string& path : files) {
    if (path == "bundled") {
      add({size_, static_cast<std::int64_t>(bundled().size()), nullptr, bundled()});
    } else if (is_stream(path)) {
      ScratchFile scratch;
      read_through(path, watch, [&](const char* bytes, std::int64_t count) { scratch.write(bytes, count); });
      const auto file = scratch.finish();
      add({size_, file->size(), file, {}});
    } else {
      const auto file = std::make_shared<const InputFile>(path);
      require_not_empty(file->size(), path);
      add({size_, file->size(), file, {}});
    }
  }
}

void Corpus::add(Part part) {
  size_ += part.size;
  parts_.push_back(std::move(part));
}

void Corpus::read(std::int64_t offset, char* bytes, std::int64_t count) const {
  require(offset >= 0 && count >= 0 && count <= size_ - offset, "data", "required bytes inside 0 .. ",
          size_ - 1, ", got ", count, " from ", offset);
  // The last part that begins at or before the offset.
  auto part = std::upper_bound(parts_.begin(), parts_.end(), offset,
                               [](std::int64_t at, const Part& p) { return at < p.begin; });
  if (part != parts_.begin()) --part;
  while (count > 0) {
    const std::int64_t inside = offset - part->begin, some = std::min(count, part->size - inside);
    if (part->file)
      part->file->read(inside, bytes, some);
    else
      std::memcpy(bytes, part->text.data() + inside, static_cast<std::size_t>(some));
    offset += some, bytes += some, count -= some;
    ++part;
  }
}

std::uint64_t Corpus::hash(const Watch& watch) const {
  if (hash_) return *hash_;
  Reading reading(watch, "the text", size_);
  std::vector<char> piece(static_cast<std::size_t>(std::min(size_, kPiece)));
  Fnv1a hash;
  for (std::int64_t at = 0, count = 0; at < size_; at += count) {
    count = std::min(size_ - at, kPiece);
    read(at, piece.data(), count);
    hash.update(piece.data(), count);
    reading.add(count);
  }
  hash_ = hash.value();
  return *hash_;
}

}  // namespace retnet
