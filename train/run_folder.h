/// @file
/// The folder of a run: which checkpoints are in it, what of it this program made, and who may write to it.
///
/// Nothing is removed but files of these names, and folders that are empty without them: whatever else lies
/// in a run is its owner's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace retnet {

/// What AtomicFile calls the copy of a text begins so while it is made: ".data.tmp.17.0".
inline constexpr const char* kTextCopy = ".data";

/// Files of a run, and of each of its checkpoints.
inline constexpr const char* kRunFiles[] = {"config.json", "trainer.json", "log.jsonl", "loss.svg"};
inline constexpr const char* kCheckpointFiles[] = {"config.json", "model.safetensors",
                                                   "optimizer.safetensors", "trainer.json"};

/// Names of what is in a folder, in no order; none where there is no folder. @throws Error when it cannot be
/// listed
std::vector<std::string> names_in(const std::string& folder);

/// "RUN/step-000500".
std::string checkpoint_folder(const std::string& run, std::int64_t step);

/// Steps of the checkpoints of a run, the newest first; none when there is no such folder. A folder of such a
/// name that holds none of a checkpoint's files is none. @throws Error when the folder cannot be read
std::vector<std::int64_t> checkpoint_steps(const std::string& run);

/// Removes what writes that a crash cut short have left: `FILE.tmp.PID.N` for the files of a run,
/// `step-NNNNNN.tmp.PID` and `step-NNNNNN.tmp.PID.old` with the files of a checkpoint in them. Only for who
/// holds the lock.
void remove_leftovers(const std::string& run);

/// Gives a checkpoint that is to be removed or replaced a temporary name, so that it is whole or absent.
/// @returns that name, for discard()
std::string retire_checkpoint(const std::string& folder);

/// Removes the checkpoint's files in a retired folder, and the folder. What else is in it goes back to where
/// it was: to `home`, which by now may be another checkpoint. Leaves what it cannot remove.
void discard(const std::string& retired, const std::string& home);

/// Removes the files of a checkpoint from a folder, and the folder if nothing else is in it; as far as
/// possible.
void remove_unfinished(const std::string& folder) noexcept;

/// Removes the log, the curve, the checkpoints and the texts of a run, which it need not have. config.json
/// and trainer.json, by which a run is known, stay: the next one replaces them.
/// @param in_use  names of texts that stay
void clear_run(const std::string& run, const std::vector<std::string>& in_use);

/// The name of a text that is kept in the folder of a run: "data-85944171f73967e8.txt".
/// @param hash  FNV-1a of its bytes
std::string kept_text_name(std::uint64_t hash);

/// True for such names.
bool is_kept_text(const std::string& name);

/// Names of the texts kept in the folder of a run, but for those in use.
std::vector<std::string> kept_texts(const std::string& run, const std::vector<std::string>& in_use);

/// Removes copies of texts that a crash cut short. Only for who holds the lock.
void remove_partial_copies(const std::string& run);

/// Creates a folder and those above it, unless they exist, and syncs those that hold their names.
/// @throws Error saying why it cannot
void create_folder(const std::string& path);

/// Renames a folder. @throws Error saying why it cannot
void rename_folder(const std::string& from, const std::string& to);

/// While it lives, no other RunLock of the same folder can be made, in this process or another. Released with
/// the process, however that ends. The file `RUN/.lock` stays behind and means nothing by itself.
class RunLock {
 public:
  /// @throws Error when somebody else holds it, or the folder cannot be written
  explicit RunLock(const std::string& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace retnet
