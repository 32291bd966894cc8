// How a run remembers its text, and finds it again: paths, copies, runs of earlier versions.

#include "train/run_text.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/support/test.h"
#include "tests/train/tiny_run.h"
#include "train/bundled_text.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using test::TemporaryFolder;
using test::train_to_end;
using test::write_text;

using Files = std::vector<std::string>;

/// While it lives, the process works in this folder.
class WorkingFolder {
 public:
  explicit WorkingFolder(const std::string& path) : before_(fs::current_path()) { fs::current_path(path); }
  ~WorkingFolder() { fs::current_path(before_); }
  WorkingFolder(const WorkingFolder&) = delete;
  WorkingFolder& operator=(const WorkingFolder&) = delete;

 private:
  fs::path before_;
};

std::vector<std::string> copies_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (const std::string name = entry.path().filename(); name.find(".txt") != name.npos)
      names.push_back(name);
  return names;
}

std::string text_of(const std::string& folder) {
  const Corpus text = find_text(folder, load_trainer_state(folder), {}).text;
  std::string bytes(static_cast<std::size_t>(text.size()), '?');
  text.read(0, bytes.data(), text.size());
  return bytes;
}

TEST_CASE("a run remembers absolute paths", "[train][run_text]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4);
  {
    const WorkingFolder inside(folder.path());
    run.data = {"data.txt", "./data.txt"}, run.out = "run";
    train_to_end(run);
  }
  run.out = folder / "run";
  const Files expected{fs::canonical(folder.path()).string() + "/data.txt",
                       fs::canonical(folder.path()).string() + "/./data.txt"};
  for (const std::string& at : {run.out, run.out + "/step-000004"}) {
    CHECK(load_trainer_state(at).data == expected);
    CHECK(text_of(at) == test::sample_text() + test::sample_text());
  }
  CHECK(copies_in(run.out).empty());
}

TEST_CASE("a run of an earlier version finds what it named as typed", "[train][run_text]") {
  const TemporaryFolder folder;
  const Run run = test::tiny_run(folder, "runs", 4);
  train_to_end(run);
  const auto recorded = [&](const std::string& at, const Files& files) {
    TrainerState state = load_trainer_state(at);
    state.data = files;
    save_trainer_state(at, state);
  };
  fs::create_directory(folder / "elsewhere");
  const WorkingFolder inside(folder / "elsewhere");
  for (const std::string& at : {run.out, run.out + "/step-000004"}) {
    CAPTURE(at);
    recorded(at, {"data.txt"});
    CHECK(text_of(at) == test::sample_text());  // it lies beside the run
    write_text("data.txt", "another text");
    CHECK(text_of(at) == test::sample_text());  // not the one that is here
    recorded(at, {"../data.txt"});
    CHECK(text_of(at) == test::sample_text());  // from here
    recorded(at, {"other.txt"});
    CHECK(error_message([&] { text_of(at); }) ==
          at + ": the text it was trained on is not to be found (" + at +
              "/other.txt: cannot read: No such file or directory); name it with --data");
    // What came through a pipe is not waited for.
    for (const char* stream : {"-", "/dev/stdin"}) {
      recorded(at, {stream});
      CHECK(error_message([&] {
              text_of(at);
            }).starts_with(at + ": the text it was trained on is not to be found ("));
    }
    CHECK(error_message([&] { text_of(at); }).find("(/dev/stdin: cannot be read a second time)") !=
          std::string::npos);
  }
  recorded(run.out, {folder / "data.txt"});
  std::string changed = test::sample_text();
  changed[7] ^= 1;
  write_text(folder / "data.txt", changed);
  CHECK(error_message([&] {
          text_of(run.out);
        }).starts_with(run.out + ": the text it was trained on has changed since: required "));
}

TEST_CASE("a run of an earlier version on the text inside the program", "[train][run_text]") {
  if (bundled_text().empty()) return;
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4);
  run.data = {"bundled"}, run.settings.held_out = 0.001;
  train_to_end(run);
  const auto recorded = [&](const std::string& at, std::int64_t size, std::uint64_t hash) {
    TrainerState state = load_trainer_state(at);
    state.data = {"bundled"}, state.data_size = size, state.data_hash = hash;
    save_trainer_state(at, state);
  };
  const Corpus bundled(Files{"bundled"});
  for (const std::string& name : copies_in(run.out)) fs::remove(run.out + "/" + name);
  recorded(run.out + "/step-000004", bundled.size(), bundled.hash());
  run.resume = true, run.data.clear();
  CHECK(train_to_end(run).step == 4);  // the same text: it goes on, and keeps it from now on
  CHECK(copies_in(run.out).size() == 1);
  recorded(run.out + "/step-000004", 1000, 1);
  CHECK(error_message([&] { text_of(run.out + "/step-000004"); }) ==
        run.out +
            "/step-000004: was trained on the text inside another version of this program, of 1000 "
            "bytes, which the run did not keep; got one of " +
            std::to_string(bundled.size()) + " bytes; give that text with --data");
}

TEST_CASE("a run on the text inside the program is a run on a copy of it", "[train][run_text]") {
  if (bundled_text().empty()) return;
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4), piped = test::tiny_run(folder, "piped", 4);
  run.data = {"bundled"}, run.settings.held_out = 0.001;
  train_to_end(run);
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  piped.data = {folder / "pipe"}, piped.settings.held_out = 0.001;
  std::thread writer([&] { write_text(folder / "pipe", std::string(bundled_text())); });
  train_to_end(piped);
  writer.join();
  // Nothing in its folder says where the text came from. So a program with another text goes on with it as
  // this one does with a text that was piped.
  for (const char* file : {"/trainer.json", "/step-000004/trainer.json", "/step-000004/model.safetensors"})
    CHECK(read_file(run.out + file) == read_file(piped.out + file));
  CHECK(copies_in(run.out) == copies_in(piped.out));
  CHECK(load_trainer_state(run.out).data == copies_in(run.out));
  CHECK((text_of(run.out + "/step-000004") == bundled_text()));
}

TEST_CASE("the copy of a text is whole or absent, and written once", "[train][run_text]") {
  const TemporaryFolder folder;
  write_text(folder / "a", "foo"), write_text(folder / "b", "bar");
  fs::create_directory(folder / "run");
  const std::string run = folder / "run", name = "data-85944171f73967e8.txt";  // FNV-1a of "foobar"
  CHECK(is_kept_text(name));
  for (const char* other : {"data.txt", "data-85944171f73967e.txt", "data-85944171F73967E8.txt",
                            "data-85944171f73967e8.txt.tmp.1.0", "data-85944171f73967e8Xtxt"})
    CHECK_FALSE(is_kept_text(other));
  { KeptText(Files{folder / "a", folder / "b"}, run, {}); }
  CHECK(fs::is_empty(run));
  const auto keep = [&] {
    KeptText copy(Files{folder / "a", folder / "b"}, run, {});
    CHECK(copy.name() == name);
    CHECK(copy.keep({}).size() == 6);
  };
  keep();
  CHECK(read_file(run + "/" + name) == "foobar");
  CHECK(recorded_files({run + "/" + name, run + "/./" + name, folder / name, "bundled"}, run) ==
        Files{name, name, folder / name, "bundled"});
  const auto written = fs::last_write_time(run + "/" + name);
  fs::last_write_time(run + "/" + name, written - std::chrono::hours(1));
  keep();
  CHECK(fs::last_write_time(run + "/" + name) == written - std::chrono::hours(1));
  write_text(run + "/" + name, "fooba!");  // damaged: written again
  keep();
  CHECK(read_file(run + "/" + name) == "foobar");
  CHECK(std::distance(fs::directory_iterator(run), fs::directory_iterator()) == 1);
}

TEST_CASE("text that a run cannot use leaves no copy", "[train][run_text]") {
  const TemporaryFolder folder;
  Run run = test::tiny_run(folder, "run", 4);
  const auto problem = [&](const std::string& text) {
    fs::remove(folder / "pipe");
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    run.data = {folder / "pipe"};
    std::thread writer([&] { write_text(folder / "pipe", text); });
    const std::string message = error_message([&] { train_to_end(run); });
    writer.join();
    return message;
  };
  CHECK(problem("too short").starts_with("data: a window of 10 needs 11 bytes"));
  CHECK(problem("") == folder / "pipe" + ": the file is empty; give one with text to learn from");
  CHECK(copies_in(run.out).empty());
  CHECK(problem(test::sample_text()) == "no error");
  const std::vector<std::string> copies = copies_in(run.out);
  CHECK(copies.size() == 1);
  run.resume = true;
  CHECK(problem(test::sample_text() + "more").starts_with(run.out + ": the run was begun on other data"));
  CHECK(problem(test::sample_text()) == "no error");
  CHECK(copies_in(run.out) == copies);
}

}  // namespace
}  // namespace retnet
