// The log: written, read in one pass, cut back to a step.

#include "train/log.h"

#include <filesystem>

#include "tests/support/test.h"
#include "tests/train/tiny_run.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using test::error_message;
using test::TemporaryFolder;
using test::write_text;

/// Writes steps first .. last, with an evaluation after every second one.
void write_steps(Log& log, std::int64_t first, std::int64_t last) {
  for (std::int64_t step = first; step <= last; ++step) {
    const auto s = static_cast<double>(step);
    log.write({step, 5 / s, 0.1, 1.5, 10 * step, 0.5 * s});
    if (step % 2 == 0) log.write({step, {6 / s, 100}});
  }
}

void write_log(const std::string& path) {
  Log log(path, 0);
  write_steps(log, 1, 9);
}

TEST_CASE("a log is read as it was written", "[train][log]") {
  const TemporaryFolder folder;
  const std::string path = folder / "log.jsonl";
  CHECK(read_log(path).steps.empty());
  Log log(path, 0);
  write_steps(log, 1, 4);
  CHECK(log.seconds() == 2);
  CHECK(log.last_evaluation() == 4);
  const LogRecords records = read_log(path);
  REQUIRE(records.steps.size() == 4);
  REQUIRE(records.evaluations.size() == 2);
  CHECK(records.steps[2].loss == 5.0 / 3);
  CHECK(records.steps[2].tokens == 30);
  CHECK(records.evaluations[1].held_out.nats == 1.5);
  CHECK(records.bytes == static_cast<std::int64_t>(read_file(path).size()));
  CHECK(
      read_file(path).starts_with("{\"step\":1,\"loss\":5.0,\"learning_rate\":0.1,\"gradient_norm\":1.5,"
                                  "\"tokens\":10,\"seconds\":0.5}\n"));
}

TEST_CASE("a log is cut back to a step, whatever a crash left at its end", "[train][log]") {
  const TemporaryFolder folder;
  const std::string path = folder / "log.jsonl";
  write_log(path);
  const std::string whole = read_file(path);
  for (std::int64_t step = 1; step <= 9; ++step)
    for (const std::string& torn : {std::string(), std::string("{\"step\":10,\"lo"), std::string(50, '\0'),
                                    std::string("nonsense\nand more\n")}) {
      write_text(path, whole + torn);
      {
        Log log(path, step);
        CHECK(log.seconds() == 0.5 * static_cast<double>(step));
        CHECK(log.last_evaluation() == step / 2 * 2);
        write_steps(log, step + 1, 9);
      }
      CHECK(read_file(path) == whole);
    }
  { const Log log(path, 0); }
  CHECK(read_file(path).empty());
}

TEST_CASE("a log that is damaged before its end is not continued", "[train][log]") {
  const TemporaryFolder folder;
  const std::string path = folder / "log.jsonl";
  write_log(path);
  std::string bytes = read_file(path);
  bytes[bytes.find('\n') + 3] = '\0';
  write_text(path, bytes);
  const std::string message = error_message([&] { read_log(path); });
  CHECK(message.starts_with(path + ": line 2: "));
  CHECK(message.ends_with("; the log is damaged: move it away to go on without it"));
  write_text(path, "{\"step\":1}\n{\"step\":2}\n");
  CHECK(error_message([&] { read_log(path); }).starts_with(path + ": line 1: "));
  write_text(path, std::string(3 << 20, ' ') + "\n{\"step\":2}\n");
  CHECK(error_message([&] { read_log(path); }).starts_with(path + ": a line is longer than 1048576 bytes"));
}

TEST_CASE("lines are read across the ends of blocks", "[train][log]") {
  const TemporaryFolder folder;
  const std::string path = folder / "log.jsonl";
  std::int64_t bytes = 0;
  {
    Log log(path, 0);
    for (std::int64_t step = 1; step <= 30000; ++step) log.write({step, 1.0 / 3, 0.1, 1.5, step, 0.25});
    bytes = static_cast<std::int64_t>(fs::file_size(path));
    log.write({30001, 0.5, 0.1, 1.5, 1, 0.25});
  }
  REQUIRE(bytes > 2 << 20);  // more than two blocks
  const LogRecords records = read_log(path, 30000);
  CHECK(records.bytes == bytes);
  REQUIRE(records.steps.size() == 30000);
  bool right = true;
  for (std::size_t i = 0; i < records.steps.size(); ++i)
    right = right && records.steps[i].step == static_cast<std::int64_t>(i + 1) &&
            records.steps[i].loss == 1.0 / 3;
  CHECK(right);
}

TEST_CASE("a log on a full disk is an error", "[train][log]") {
  const TemporaryFolder folder;
  CHECK(error_message([&] { Log(folder / "none/log.jsonl", 0); }) ==
        folder / "none/log.jsonl" + ": cannot write: No such file or directory");
  CHECK(error_message([&] { Log(folder.path(), 0); }) == folder.path() + ": cannot write: Is a directory");
}

}  // namespace
}  // namespace retnet
