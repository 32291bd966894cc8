/// @file
/// The program in a process of its own whose file system calls are disturbed: faster to start than the
/// program's file, and with every call within reach.
#pragma once

#include <filesystem>
#include <map>

#include "kernels/parallel.h"
#include "tests/support/program.h"
#include "tests/support/system_calls.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/log.h"
#include "train/program.h"

namespace retnet::test {

/// Runs `retnet WORDS` on one thread (threads do not survive a fork) until it ends or is stopped.
/// @param streams  a folder, outside the disturbed one, for its standard output and error
inline Outcome run_disturbed(const std::string& streams, const std::string& words,
                             const Disturbance& disturbance) {
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const int out = ::open((streams + "/stdout").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = ::open((streams + "/stderr").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) _exit(99);
    kernels::set_num_threads(1);
    const Disturbed disturbed(disturbance);
    _exit(run_program(split_words(words)));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), contents(streams + "/stdout"),
          contents(streams + "/stderr")};
}

/// A folder with a text, whose files are disturbed, and one beside it for what is observed.
struct Place {
  Place() { write_text(folder / "data.txt", sample_text(900)); }

  std::string train(const std::string& out, const std::string& more) const {
    return "train --data " + (folder / "data.txt") + " --out " + (folder / out) +
           " --layers 1 --d-model 4 --heads 1 --key-width 2 --value-width 4 --ffn-width 4 --chunk 3"
           " --window 8 --batch 2 --dropout 0.1 --save-every 2 --eval-every 2 --eval-windows 1"
           " --held-out 0.1 --threads 1 --quiet " +
           more;
  }
  Outcome run(const std::string& words, Disturbance disturbance = {}) const {
    disturbance.folder = folder.path();
    return run_disturbed(outside.path(), words, disturbance);
  }
  std::vector<SystemCall> calls_of(const std::string& words) const {
    Disturbance disturbance;
    disturbance.record = outside / "calls";
    const Outcome outcome = run(words, disturbance);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return recorded_calls(disturbance.record);
  }

  TemporaryFolder folder, outside;
};

/// Everything that a finished run has left, by name, but for the times in its log.
inline std::map<std::string, std::string> left_by(const std::string& run) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run))
    files[entry.path().string().substr(run.size())] =
        entry.is_regular_file() ? contents(entry.path().string()) : "";
  std::string log;
  const LogRecords records = read_log(run + "/log.jsonl");
  for (const LogStep& r : records.steps)
    log += std::to_string(r.step) + " " + std::to_string(r.loss) + " " + std::to_string(r.tokens) + "\n";
  for (const LogEvaluation& r : records.evaluations)
    log += std::to_string(r.step) + " " + std::to_string(r.held_out.nats) + "\n";
  files["/log.jsonl"] = log;
  return files;
}

/// In which files two runs differ; "" in none.
inline std::string difference(const std::map<std::string, std::string>& a,
                              const std::map<std::string, std::string>& b) {
  std::string text;
  for (const auto& [name, bytes] : b)
    if (a.count(name) == 0)
      text += " " + name + " is missing";
    else if (a.at(name) != bytes)
      text += " " + name + " differs";
  for (const auto& [name, bytes] : a)
    if (b.count(name) == 0) text += " " + name + " is left over";
  return text;
}

}  // namespace retnet::test
