// The order in which files reach the disk, by the system calls that were made: what a loss of power at any
// moment must find. And that it does not matter in which pieces the system reads and writes.

#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "retnet/model.h"
#include "tensor/file.h"
#include "tensor/safetensors.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"
#include "tests/train/disturbed_run.h"
#include "train/checkpoint.h"
#include "train/log.h"
#include "train/run_folder.h"
#include "train/run_text.h"

namespace retnet::test {
namespace {

namespace fs = std::filesystem;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

bool is_checkpoint(const std::string& path) {
  return std::regex_match(path, std::regex(".*/step-[0-9]{6,}"));
}

/// What is not yet on the disk after some calls, and the rules that their order has broken.
class Disk {
 public:
  void apply(const SystemCall& call) {
    if (call.name == "create" || call.name == "mkdir") entries_.insert(call.path);
    if (call.name == "create" || call.name == "write" || call.name == "truncate") contents_.insert(call.path);
    if (call.name == "unlink" || call.name == "rmdir") remove(call.path);
    if (call.name == "rename") rename(call.path, call.to);
    if (call.name == "fsync") {
      contents_.erase(call.path);
      std::erase_if(entries_, [&](const std::string& entry) { return folder_of(entry) == call.path; });
    }
  }

  /// After the last call.
  void end() {
    for (const std::string& path : contents_)
      if (!path.ends_with("/.lock")) problems_ += "what is written is synced before the end: " + path + "\n";
    for (const std::string& path : entries_)
      if (!path.ends_with("/.lock")) problems_ += "a folder is synced after a name in it: " + path + "\n";
  }

  const std::string& problems() const { return problems_; }

 private:
  static bool within(const std::string& path, const std::string& top) {
    return path == top || path.starts_with(top + "/");
  }

  void rename(const std::string& from, const std::string& to) {
    if (is_checkpoint(from)) remove(from);
    for (const std::string& path : contents_)
      if (within(path, from)) problems_ += "a file is synced before it gets its name: " + to + "\n";
    for (const std::string& path : entries_)
      if (path != from && within(path, from))
        problems_ += "a folder is synced before it gets its name: " + to + "\n";
    if (is_checkpoint(to) && contents_.count(folder_of(to) + "/log.jsonl") > 0)
      problems_ += "the log is synced before the checkpoint that knows of its lines: " + to + "\n";
    entries_.erase(from), entries_.insert(to);
  }

  void remove(const std::string& path) {
    const bool old = is_checkpoint(path) || is_checkpoint(folder_of(path));
    for (const std::string& entry : entries_)
      if (old && is_checkpoint(entry) && entry != path)
        problems_ += "a checkpoint is removed after the name of a newer one is synced: " + path + "\n";
    std::erase_if(contents_, [&](const std::string& each) { return within(each, path); });
    std::erase_if(entries_, [&](const std::string& each) { return within(each, path); });
  }

  std::set<std::string> contents_;  ///< files with bytes that are not synced
  std::set<std::string> entries_;   ///< new names whose folder is not synced
  std::string problems_;
};

std::string problems_of(const std::vector<SystemCall>& calls) {
  Disk disk;
  for (const SystemCall& call : calls) disk.apply(call);
  disk.end();
  return disk.problems();
}

std::ptrdiff_t count(const std::vector<SystemCall>& calls, const std::string& name,
                     const std::string& ending) {
  return std::count_if(calls.begin(), calls.end(), [&](const SystemCall& call) {
    return call.name == name && (call.name == "rename" ? call.to : call.path).ends_with(ending);
  });
}

/// The calls that `body` makes in a folder.
template <class Body>
std::vector<SystemCall> calls_of(const Place& place, Body&& body) {
  Disturbance disturbance;
  disturbance.folder = place.folder.path(), disturbance.record = place.outside / "calls";
  {
    const Disturbed disturbed(disturbance);
    body();
  }
  return recorded_calls(disturbance.record);
}

TEST_CASE("the rules of durability are told apart", "[train][durability]") {
  const auto broken = [](std::vector<SystemCall> calls) { return problems_of(calls); };
  const SystemCall file{"create", "/r/step-000002.tmp.1/a", ""}, rename{"rename", "/r/x.tmp.1.0", "/r/x"},
      sync{"fsync", "/r", ""};
  CHECK(broken({{"create", "/r/x.tmp.1.0", ""}, {"fsync", "/r/x.tmp.1.0", ""}, rename, sync}) == "");
  CHECK(broken({{"create", "/r/x.tmp.1.0", ""}, rename, {"fsync", "/r/x", ""}, sync}) != "");
  CHECK(broken({{"create", "/r/x.tmp.1.0", ""}, {"fsync", "/r/x.tmp.1.0", ""}, rename}) != "");
  CHECK(
      broken({file, {"fsync", file.path, ""}, {"rename", "/r/step-000002.tmp.1", "/r/step-000002"}, sync}) !=
      "");
  CHECK(broken({{"mkdir", "/r/step-000004", ""}, {"rename", "/r/step-000002", "/r/y"}, sync}) != "");
  CHECK(broken({{"write", "/r/log.jsonl", ""},
                {"rename", "/r/step-000002.tmp.1", "/r/step-000002"},
                {"fsync", "/r/log.jsonl", ""},
                sync}) != "");
}

TEST_CASE("a run writes its files in an order that survives a loss of power at any moment",
          "[train][durability]") {
  const Place place;
  const std::vector<SystemCall> calls = place.calls_of(place.train("runs/first", "--steps 8"));
  CHECK(problems_of(calls) == "");
  for (const char* checkpoint : {"/step-000002", "/step-000004", "/step-000006", "/step-000008"})
    CHECK(count(calls, "rename", checkpoint) == 1);
  CHECK(count(calls, "rename", "/loss.svg") >= 4);
  CHECK(count(calls, "rename", "/runs/first/config.json") == 1);
  CHECK(count(calls, "rename", "/runs/first/trainer.json") ==
        2);  // before config.json, and with its checksum
  CHECK(count(calls, "fsync", "/log.jsonl") >= 4);
  // Two are kept at any time; what is removed goes under another name first, so that it is never there in
  // part.
  std::set<std::string> kept;
  for (const SystemCall& call : calls) {
    if (call.name == "unlink" || call.name == "rmdir") CHECK(call.path.find(".tmp.") != call.path.npos);
    if (call.name != "rename") continue;
    if (is_checkpoint(call.to)) kept.insert(call.to);
    if (is_checkpoint(call.path)) {
      kept.erase(call.path);
      CHECK(kept.size() == 2);
    }
  }
  CHECK(kept == std::set<std::string>{place.folder / "runs/first/step-000006",
                                      place.folder / "runs/first/step-000008"});
}

TEST_CASE("a resumed run, one that replaces a torn checkpoint, and one that goes back keep that order",
          "[train][durability]") {
  const Place place;
  REQUIRE(place.run(place.train("run", "--steps 6")).code == 0);
  const std::string newest = place.folder / "run/step-000006";
  write_text(newest + "/model.safetensors", "torn");
  const std::vector<SystemCall> calls = place.calls_of(place.train("run", "--steps 6 --resume"));
  CHECK(problems_of(calls) == "");
  CHECK(count(calls, "rename", "/step-000006") == 1);
  CHECK(contents(newest + "/model.safetensors").size() > 100);
}

TEST_CASE("every other writer of files keeps it too", "[durability][file]") {
  const Place place;
  const auto in_order = [&](const std::string& name, auto&& write) {
    const std::string path = place.folder / name;
    for (const char* state : {"new", "replaced"}) {
      CAPTURE(name, state);
      const std::vector<SystemCall> calls = calls_of(place, [&] { write(path); });
      CHECK(problems_of(calls) == "");
      CHECK(count(calls, "rename", "/" + name) == 1);
    }
  };
  in_order("text", [](const std::string& path) { write_file_atomic(path, "text"); });
  in_order("x.json", [](const std::string& path) { write_json(path, Json(1)); });
  in_order("x.safetensors", [](const std::string& path) { save(path, Tensor::zeros({100})); });
  in_order("trainer.json", [&](const std::string&) { save_trainer_state(place.folder.path(), {}); });
  in_order("model.safetensors", [&](const std::string&) {
    RetNet model(small_config(), 1);
    save_model(place.folder.path(), model);
  });
}

TEST_CASE("the copy of a text gets its name when it is on the disk", "[train][durability]") {
  const Place place;
  const std::string text = place.folder / "data.txt", run = place.folder.path();
  const std::vector<SystemCall> calls = calls_of(place, [&] { KeptText({text}, run, {}).keep({}); });
  CHECK(problems_of(calls) == "");
  CHECK(count(calls, "rename", "/" + kept_texts(run, {}).at(0)) == 1);
}

TEST_CASE("reading and writing in pieces, each interrupted first, changes nothing", "[train][durability]") {
  const Place whole, pieces;
  Disturbance in_pieces;
  in_pieces.in_pieces = true;
  std::string seen[2];
  for (const Place* place : {&whole, &pieces}) {
    const Disturbance disturbance = place == &pieces ? in_pieces : Disturbance{};
    std::string& all = seen[place == &pieces];
    for (const char* more : {"--steps 4", "--steps 4 --resume"}) {
      const Outcome outcome = place->run(place->train("run", more), disturbance);
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
    }
    for (const char* name : {"config.json", "step-000002/model.safetensors", "step-000004/config.json",
                             "step-000004/model.safetensors", "step-000004/optimizer.safetensors"})
      all += contents(place->folder / (std::string("run/") + name));
    for (const LogStep& line : read_log(place->folder / "run/log.jsonl").steps)
      all += std::to_string(line.step) + " " + std::to_string(line.loss) + "\n";
    for (const char* words :
         {"generate --model RUN --prompt line --tokens 30", "eval --model RUN --threads 1"}) {
      const Outcome outcome =
          place->run(std::regex_replace(words, std::regex("RUN"), place->folder / "run"), disturbance);
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
      all += std::regex_replace(outcome.out, std::regex(place->folder.path() + "|in [0-9.]+ s.*"), "");
    }
  }
  CHECK(seen[0].size() > 2000);
  CHECK((seen[0] == seen[1]));
}

TEST_CASE("no single transfer is so large that a system refuses it", "[durability][file]") {
  const Place place;
  const std::int64_t wanted = std::int64_t{5} << 30;
  write_text(place.folder / "x", "0123456789");
  const std::vector<SystemCall> reads = calls_of(place, [&] {
    char bytes[16];  // the file is shorter
    CHECK(InputFile(place.folder / "x").read_some(0, bytes, wanted) == 10);
  });
  CHECK(count(reads, "read", "/x") >= 1);
  for (const SystemCall& call : reads)
    if (call.name == "read") CHECK(std::stoll(call.to) <= 0x7ffff000);  // what Linux transfers at most
  Disturbance disturbance{place.folder.path(), "write", Disturbance::Kind::fail, 1, ENOSPC};
  disturbance.record = place.outside / "calls";
  {
    const Disturbed disturbed(disturbance);
    AtomicFile file(place.folder / "y");
    CHECK(error_message([&] { file.write("", wanted); }).ends_with("cannot write: No space left on device"));
  }
  const std::vector<SystemCall> writes = recorded_calls(disturbance.record);
  REQUIRE(count(writes, "write", "") == 1);
  for (const SystemCall& call : writes)
    if (call.name == "write") CHECK(std::stoll(call.to) <= 0x7ffff000);
}

}  // namespace
}  // namespace retnet::test
