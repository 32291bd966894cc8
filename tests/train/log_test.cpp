// The log, the picture that is drawn from it, and the line of progress.

#include "train/log.h"

#include <cmath>
#include <sstream>

#include "tests/support/test.h"
#include "tests/train/tiny_run.h"
#include "train/curve.h"
#include "train/progress.h"

namespace retnet {
namespace {

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
}

TEST_CASE("a log on a full disk is an error", "[train][log]") {
  const TemporaryFolder folder;
  CHECK(error_message([&] { Log(folder / "none/log.jsonl", 0); }) ==
        folder / "none/log.jsonl" + ": cannot write: No such file or directory");
  CHECK(error_message([&] { Log(folder.path(), 0); }) == folder.path() + ": cannot write: Is a directory");
}

/// Whether every tag is closed, in order: enough of XML for what loss_curve() writes.
bool well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const std::size_t end = svg.find('>', at);
    if (end == std::string::npos || svg.find('<', at + 1) < end) return false;
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag.back() == '/') continue;
    if (tag[0] != '/') {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    } else if (open.empty() || open.back() != tag.substr(1)) {
      return false;
    } else {
      open.pop_back();
    }
  }
  return open.empty();
}

TEST_CASE("the loss curve is well-formed for every log", "[train][curve]") {
  LogRecords records;
  for (const int steps : {0, 1, 2, 7, 1000, 30000}) {
    records = {};
    for (int i = 1; i <= steps; ++i) {
      records.steps.push_back({i, 2 + 3.5 / std::sqrt(i), 0, 0, 0, 0});
      if (i % 100 == 0) records.evaluations.push_back({i, {2.1 + 3.5 / std::sqrt(i), 1}});
    }
    const std::string svg = loss_curve(records);
    CAPTURE(steps);
    CHECK(well_formed(svg));
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
    CHECK(svg.size() < 64 * 1024);
    CHECK(svg == loss_curve(records));
  }
  CHECK(loss_curve(records).find("loss in nats per byte") != std::string::npos);
  CHECK_FALSE(well_formed("<svg><g></svg>"));
  records = {};
  for (int i = 1; i <= 5; ++i) records.steps.push_back({i, 1, 0, 0, 0, 0});  // a flat line has no range
  CHECK(well_formed(loss_curve(records)));
  records = {};
  records.evaluations.push_back({3, {1, 1}});
  CHECK(well_formed(loss_curve(records)));
}

TEST_CASE("progress is one line on a terminal and a line per evaluation elsewhere", "[train][progress]") {
  std::ostringstream terminal, file;
  {
    Progress a(&terminal, true, 0, 1000), b(&file, false, 0, 1000), silent(nullptr, true, 0, 1000);
    for (Progress* progress : {&a, &b, &silent}) {
      progress->step(1, 5.5, 16384, 1);
      progress->evaluation({4.25, 100});
    }
  }
  CHECK(terminal.str().starts_with("\rstep 1/1000  loss 5.500  held out 4.250  16,384 tokens/s  "));
  CHECK(file.str().starts_with("step 1/1000  loss 5.500  held out 4.250  16,384 tokens/s  "));
  CHECK(file.str().ends_with(" left\n"));
  CHECK(terminal.str().ends_with(" left\n"));
}

TEST_CASE("durations are read at a glance", "[train][progress]") {
  CHECK(duration(0.4) == "0 s");
  CHECK(duration(59.4) == "59 s");
  CHECK(duration(59.6) == "1 min 00 s");
  CHECK(duration(125) == "2 min 05 s");
  CHECK(duration(3 * 3600 + 20 * 60 + 5) == "3 h 20 min");
}

}  // namespace
}  // namespace retnet
