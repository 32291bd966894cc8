/// @file
/// The program `retnet` as its users meet it: started, watched, interrupted.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace retnet::test {

/// What a run left behind.
struct Outcome {
  int code = 0;  ///< exit code, or 128 + the signal that ended it
  std::string out, err;

  /// Number of lines on standard error.
  std::ptrdiff_t error_lines() const { return std::count(err.begin(), err.end(), '\n'); }
};

/// Where its standard output goes.
enum class Stdout { file, closed, full_disk, broken_pipe };

struct Surroundings {
  Stdout standard_output = Stdout::file;
  rlim_t file_size = RLIM_INFINITY;  ///< no file may become larger
  int standard_error = -1;           ///< a descriptor, of a terminal say; -1: the file that wait() reads
};

inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The program, running in a folder.
class Program {
 public:
  Program(const std::string& folder, const std::vector<std::string>& arguments,
          const Surroundings& surroundings = {})
      : folder_(folder) {
    std::vector<std::string> words{RETNET_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    if (!prepare(surroundings)) _exit(99);
    execv(pointers[0], pointers.data());
    _exit(98);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  void signal(int number) const { kill(pid_, number); }

  /// Waits until a file has so many lines, or the program has ended. Returns whether it has them.
  bool wait_for_lines(const std::string& path, std::ptrdiff_t lines) const {
    while (true) {
      const std::string text = contents(path);
      if (std::count(text.begin(), text.end(), '\n') >= lines) return true;
      if (ended()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  /// Whether it has ended. wait() is still to be called.
  bool ended() const {
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid != 0;
  }

  Outcome wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return {code, contents(folder_ + "/stdout"), contents(folder_ + "/stderr")};
  }

 private:
  // In the child: folder, streams, limits.
  bool prepare(const Surroundings& surroundings) const {
    if (chdir(folder_.c_str()) != 0) return false;
    const int out = open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = surroundings.standard_error >= 0 ? surroundings.standard_error
                                                     : open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool ok = dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0;
    close(out), close(err);
    int ends[2];
    switch (surroundings.standard_output) {
      case Stdout::file:
        break;
      case Stdout::closed:
        ok = ok && close(STDOUT_FILENO) == 0;
        break;
      case Stdout::full_disk:
        ok = ok && dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO) >= 0;
        break;
      case Stdout::broken_pipe:
        ok = ok && pipe(ends) == 0 && dup2(ends[1], STDOUT_FILENO) >= 0;
        close(ends[0]), close(ends[1]);
        break;
    }
    const rlimit limit{surroundings.file_size, surroundings.file_size};
    return ok && (surroundings.file_size == RLIM_INFINITY || setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }

  std::string folder_;
  pid_t pid_ = -1;
};

/// Runs the program to its end.
inline Outcome run(const std::string& folder, const std::vector<std::string>& arguments,
                   const Surroundings& surroundings = {}) {
  return Program(folder, arguments, surroundings).wait();
}

/// "" when the program failed as it should: the exit code, nothing on standard output, one line on standard
/// error in the command's name that contains `words`.
inline std::string failure_problem(const Outcome& outcome, int code, const std::string& words) {
  std::string problem;
  if (outcome.code != code) problem += "exit code " + std::to_string(outcome.code) + "; ";
  if (!outcome.out.empty()) problem += "standard output is not empty; ";
  if (outcome.error_lines() != 1) problem += std::to_string(outcome.error_lines()) + " lines; ";
  if (outcome.err.rfind("retnet", 0) != 0) problem += "the line does not begin with retnet; ";
  if (outcome.err.find(words) == outcome.err.npos) problem += "\"" + words + "\" is missing; ";
  return problem.empty() ? "" : problem + "got: " + outcome.err;
}

/// `words` at its spaces.
inline std::vector<std::string> split_words(const std::string& words) {
  std::vector<std::string> list;
  std::string word;
  for (const char c : words + " ") {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      list.push_back(word);
      word.clear();
    }
  }
  return list;
}

/// A text of `size` bytes with something to learn in it.
inline std::string sample_text(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) {
    text += "line " + std::to_string(i * i % 97) + (i % 3 == 0 ? " of the sample text\n" : " goes on\n");
  }
  return text.substr(0, size);
}

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace retnet::test
