#include "train/program.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>

#include "tensor/memory_limit.h"
#include "tensor/text.h"
#include "train/commands.h"
#include "train/foreign_words.h"
#include "train/output.h"
#include "train/threads.h"

namespace retnet {
namespace {

std::vector<Command> commands() {
  return {train_command(), eval_command(),  generate_command(), forms_command(),
          info_command(),  bench_command(), gradcheck_command()};
}

std::string program_help() {
  std::string text =
      "retnet: trains, evaluates and samples Retentive Networks\n\n"
      "usage: retnet COMMAND [options]\n\ncommands:\n";
  for (const Command& command : commands()) {
    std::string name = command.name;
    name.resize(12, ' ');
    text += "  " + name + command.summary + "\n";
  }
  return text +
         "\noptions:\n  --version   version of this program\n  -h, --help  this text, or that of a command\n"
         "\nexamples:\n"
         "  retnet train --out runs/first\n"
         "  retnet generate --model runs/first --prompt \"Retention \"\n"
         "  retnet train --help\n";
}

// @param running  becomes the name of the command, for messages
int dispatch(const std::vector<std::string>& arguments, const char*& running) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  if (first == "--help" || first == "-h" || first == "help") return print(program_help()), kSuccess;
  if (first == "--version") return print("retnet " RETNET_VERSION "\n"), kSuccess;

  const std::vector<Command> all = commands();
  std::vector<std::string> names;
  for (const Command& command : all) {
    if (command.name != first) {
      names.push_back(command.name);
      continue;
    }
    running = arguments[0].c_str();
    if (!parse(command, {arguments.begin() + 1, arguments.end()}, all))
      return print(help_text(command)), kSuccess;
    require_standard_output();
    start_threads();
    return command.run();
  }
  if (arguments.empty()) throw UsageError("a command is required; retnet --help lists them");
  const bool flag = first.starts_with('-');
  std::string hint = flag ? "" : command_hint(first);
  if (hint.empty() && !flag) hint = did_you_mean(first, names);
  if (const std::string near = flag ? nearest_flag(first, {"--help", "--version"}) : ""; !near.empty())
    hint = "; did you mean " + near + "?";
  else if (flag)
    hint = "; flags come after a command: retnet COMMAND " + printable(first);
  throw UsageError((flag ? "unknown flag " : "unknown command ") + quote(first) +
                   (hint.empty() ? "; retnet --help lists them" : hint));
}

// One line on standard error, written without memory from the heap: "retnet train: message".
void write_line(const char* command, const char* message) noexcept {
  char line[4096];
  const int length =
      std::snprintf(line, sizeof line, "retnet%s%s: %s", *command ? " " : "", command, message);
  std::size_t size = std::min(static_cast<std::size_t>(std::max(length, 0)), sizeof line - 2);
  for (std::size_t i = 0; i < size; ++i)
    if (static_cast<unsigned char>(line[i]) < 0x20) line[i] = ' ';
  line[size++] = '\n';
  for (std::size_t done = 0; done < size;) {
    const ssize_t put = ::write(STDERR_FILENO, line + done, size - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    done += static_cast<std::size_t>(put);
  }
}

// The same with control characters spelt out, where there is the memory for it.
void complain(const char* command, const char* message) noexcept {
  try {
    write_line(command, printable(message).c_str());
  } catch (const std::bad_alloc&) {
    write_line(command, message);
  }
}

// Something small could not be had: what is to be named is the limit.
void complain_of_memory(const char* command) noexcept {
  const MemoryLeft left = memory_left();
  const MemorySize rest(left.bytes);
  char message[512];
  if (left.bytes == INT64_MAX)
    std::snprintf(message, sizeof message, "out of memory; use smaller sizes");
  else
    std::snprintf(message, sizeof message, "out of memory: %s %s; use smaller sizes, or raise that limit",
                  rest.text, left.limit);
  write_line(command, message);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  const char* command = "";
  try {
    prepare_standard_streams();
    return dispatch(arguments, command);
  } catch (const ClosedPipe&) {
    return kFailure;
  } catch (const UsageError& error) {
    complain(command, error.what());
    return kUsage;
  } catch (const OutOfMemory& error) {
    write_line(command, error.what());
  } catch (const std::bad_alloc&) {
    complain_of_memory(command);
  } catch (const std::exception& error) {
    complain(command, error.what());
  }
  return kFailure;
}

int run_main(int count, char** arguments) {
  prepare_process(arguments);
  try {
    return run_program({arguments + (count > 0 ? 1 : 0), arguments + count});
  } catch (const std::bad_alloc&) {  // of the arguments
    complain_of_memory("");
    return kFailure;
  }
}

}  // namespace retnet
