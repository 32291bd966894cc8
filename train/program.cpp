#include "train/program.h"

#include <iostream>
#include <new>

#include "train/commands.h"
#include "train/output.h"

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
  std::vector<std::vector<std::string>> rows;
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

int dispatch(const std::vector<std::string>& arguments) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  if (first == "--help" || first == "-h" || first == "help") return print(program_help()), kSuccess;
  if (first == "--version") return print("retnet " RETNET_VERSION "\n"), kSuccess;

  std::vector<std::string> names{"--help", "--version"};
  for (const Command& command : commands()) {
    if (command.name != first) {
      names.push_back(command.name);
      continue;
    }
    if (!parse(command, {arguments.begin() + 1, arguments.end()})) return print(help_text(command)), kSuccess;
    require_standard_output();
    return command.run();
  }
  if (arguments.empty()) throw UsageError("a command is required; retnet --help lists them");
  const std::string nearest = did_you_mean(first, names);
  throw UsageError((first[0] == '-' ? "unknown flag " : "unknown command ") + quote(first) +
                   (nearest.empty() ? "; retnet --help lists them" : nearest));
}

bool is_command(const std::string& name) {
  for (const Command& command : commands())
    if (command.name == name) return true;
  return false;
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  const auto complain = [&](const char* message) {
    const std::string command = !arguments.empty() && is_command(arguments[0]) ? " " + arguments[0] : "";
    std::cerr << "retnet" + command + ": " + printable(message) + "\n" << std::flush;
  };
  try {
    prepare_standard_streams();
    return dispatch(arguments);
  } catch (const ClosedPipe&) {
    return kFailure;
  } catch (const UsageError& error) {
    complain(error.what());
    return kUsage;
  } catch (const std::bad_alloc&) {
    complain("out of memory; smaller sizes need less");
  } catch (const std::exception& error) {
    complain(error.what());
  }
  return kFailure;
}

}  // namespace retnet
