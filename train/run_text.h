/// @file
/// The text of a run: how its folder remembers it, so that it is found again from anywhere.
///
/// Files are remembered by their absolute paths. What will not be there again, because it came through a pipe
/// or is the text inside the program, which another program may have another one of, is copied into the run's
/// folder, under a name made of its hash: `RUN/data-85944171f73967e8.txt`.
#pragma once

#include <string>
#include <vector>

#include "train/checkpoint.h"
#include "train/corpus.h"
#include "train/run_folder.h"

namespace retnet {

/// True iff there is text among `files` that only a copy keeps: "bundled", or a stream (is_stream()).
bool must_be_kept(const std::vector<std::string>& files);

/// How trainer.json names files: by absolute paths, and a copy in the folder of the run by its name alone.
std::vector<std::string> recorded_files(const std::vector<std::string>& files, const std::string& run);

/// A copy of text in the folder of a run, of any size, in constant memory.
class KeptText {
 public:
  /// Copies all of it, under a temporary name. Only for who holds the run's lock.
  /// @param files  as Corpus takes them; streams are read to their ends
  /// @throws Error naming what cannot be read or written
  KeptText(const std::vector<std::string>& files, const std::string& run, const Watch& watch);

  const Corpus& text() const { return text_; }

  std::string name() const { return kept_text_name(text_.hash()); }

  /// Gives the copy its name, durably, and returns it, open; without this call the destructor removes it. A
  /// whole copy of the same text that is there already stays as it is.
  Corpus keep(const Watch& watch);

 private:
  std::string run_;
  AtomicFile copy_;
  Corpus text_;
};

/// The text that a run was begun on, and where it is.
struct FoundText {
  std::vector<std::string> files;
  Corpus text;
};

/// Finds it again, and compares size and hash. Relative paths, which a run of an earlier version may have
/// recorded, are tried from here and from the folder that the run lies in.
/// @param folder  of the run, or of one of its checkpoints
/// @throws Error that says what is missing or has changed, and to give --data
FoundText find_text(const std::string& folder, const TrainerState& state, const Watch& watch);

}  // namespace retnet
