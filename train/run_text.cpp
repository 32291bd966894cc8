#include "train/run_text.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "tensor/stream.h"
#include "tensor/text.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;

bool is_relative(const std::string& path) { return path != "bundled" && !path.starts_with('/'); }

/// Where a relative path may lead from: the folder of a run or of one of its checkpoints, the one that this
/// is in, and the next, by its name and by where its links lead; and here.
std::vector<fs::path> bases_of(const std::string& folder) {
  std::vector<fs::path> bases;
  std::error_code ignored;
  for (fs::path base : {fs::absolute(folder, ignored).lexically_normal(), fs::canonical(folder, ignored)}) {
    if (!base.has_filename()) base = base.parent_path();  // "run/"
    for (int up = 0; up < 3; ++up, base = base.parent_path()) bases.push_back(base);
  }
  bases.push_back("");
  return bases;
}

/// Opens files that may not be there. @return nothing, and in `problem` why, when one cannot be read
std::optional<Corpus> try_open(const std::vector<std::string>& files, std::string& problem) {
  try {
    // What came through a pipe to an earlier version is gone; whatever stands there now must not be waited
    // for.
    for (const std::string& path : files)
      require(!is_stream(path), printable(path).c_str(), "cannot be read a second time");
    return Corpus(files);
  } catch (const Error& error) {
    if (problem.empty()) problem = error.what();
    return std::nullopt;
  }
}

}  // namespace

bool must_be_kept(const std::vector<std::string>& files) {
  return std::any_of(files.begin(), files.end(),
                     [](const std::string& path) { return path == "bundled" || is_stream(path); });
}

std::vector<std::string> recorded_files(const std::vector<std::string>& files, const std::string& run) {
  std::vector<std::string> recorded;
  for (const std::string& path : files) {
    std::error_code ignored;
    const fs::path whole = fs::absolute(path, ignored);
    const bool copy = is_kept_text(whole.filename()) && fs::equivalent(whole.parent_path(), run, ignored);
    recorded.push_back(path == "bundled" ? path : copy ? whole.filename().string() : whole.string());
  }
  return recorded;
}

KeptText::KeptText(const std::vector<std::string>& files, const std::string& run, const Watch& watch)
    : run_(run), copy_(run + "/" + kTextCopy) {
  Fnv1a hash;
  for (const std::string& path : files)
    read_through(path, watch, [&](const char* bytes, std::int64_t count) {
      copy_.write(bytes, count);
      hash.update(bytes, count);
    });
  text_ = Corpus(copy_.temporary(), hash.value());
}

Corpus KeptText::keep(const Watch& watch) {
  const std::string path = run_ + "/" + name();
  std::string problem;
  const std::optional<Corpus> there = try_open({path}, problem);
  if (!there || there->size() != text_.size() || there->hash(watch) != text_.hash()) copy_.commit_as(path);
  return Corpus(path, text_.hash());
}

FoundText find_text(const std::string& folder, const TrainerState& state, const Watch& watch) {
  const bool relative = std::any_of(state.data.begin(), state.data.end(), is_relative);
  std::string missing;
  std::optional<std::int64_t> other;  // size of a text that is not the run's
  for (const fs::path& base : relative ? bases_of(folder) : std::vector<fs::path>{""}) {
    FoundText found;
    for (const std::string& path : state.data)
      found.files.push_back(is_relative(path) ? (base / path).string() : path);
    const std::optional<Corpus> text = try_open(found.files, missing);
    if (!text) continue;
    if (text->size() == state.data_size && text->hash(watch) == state.data_hash) {
      found.text = *text;
      return found;
    }
    other = text->size();
  }
  const bool bundled = std::find(state.data.begin(), state.data.end(), "bundled") != state.data.end();
  if (other && bundled)
    fail(printable(folder).c_str(), "was trained on the text inside another version of this program, of ",
         state.data_size, " bytes, which the run did not keep; got one of ", *other,
         " bytes; give that text with --data");
  if (other)
    fail(printable(folder).c_str(), "the text it was trained on has changed since: required ",
         state.data_size, " bytes with the hash in trainer.json, got others, of ", *other,
         " bytes; name the text with --data");
  fail(printable(folder).c_str(), "the text it was trained on is not to be found (", missing,
       "); name it with --data");
}

}  // namespace retnet
