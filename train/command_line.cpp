#include "train/command_line.h"

#include <CLI/CLI.hpp>

#include "kernels/parallel.h"
#include "tensor/stream.h"
#include "train/foreign_words.h"
#include "train/output.h"
#include "train/threads.h"

namespace retnet {
namespace {

std::string with_underscores(std::string name) {
  std::replace(name.begin() + 2, name.end(), '-', '_');
  return name;
}

std::vector<std::string> names(const Command& command) {
  std::vector<std::string> list{"--help"};
  for (const Option& option : command.options) list.push_back(option.name);
  return list;
}

const Option* find(const Command& command, const std::string& name) {
  for (const Option& option : command.options)
    if (name == option.name || name == with_underscores(option.name)) return &option;
  return nullptr;
}

// "; did you mean --temperature, a flag of retnet generate?": the flag of another command that was meant, or
// "" where none is near. @param exact  only if it is called so
std::string elsewhere(const Command& command, const std::vector<Command>& all, const std::string& flag,
                      bool exact) {
  for (const Command& other : all) {
    if (other.name == command.name) continue;
    if (find(other, flag) != nullptr) return "; that is a flag of retnet " + other.name;
    if (exact) continue;
    std::string hint = flag_hint(flag, names(other));
    if (const std::string near = nearest_flag(flag, names(other)); hint.empty() && !near.empty())
      hint = "; did you mean " + near + "?";
    if (!hint.empty()) return hint.insert(hint.size() - 1, ", a flag of retnet " + other.name);
  }
  return "";
}

// What is wrong with an argument that no flag took.
std::string unexpected(const Command& command, const std::vector<Command>& all, const std::string& argument) {
  if (argument.empty() || argument[0] != '-')
    return "unexpected argument " + quote(argument) + bare_hint(argument, names(command));
  const std::string name = argument.substr(0, argument.find('='));
  std::string hint = flag_hint(name, names(command));
  if (hint.empty()) hint = elsewhere(command, all, name, /*exact=*/true);
  if (const std::string near = nearest_flag(name, names(command)); hint.empty() && !near.empty())
    hint = "; did you mean " + near + "?";
  if (hint.empty()) hint = elsewhere(command, all, name, /*exact=*/false);
  if (hint.empty()) hint = "; retnet " + command.name + " --help lists them";
  return "unknown flag " + printable(name) + hint;
}

// The arguments with every flag and its value in one word, so that the parser takes no value for a flag: a
// path may begin with a dash. A flag of ours where the value of another should be is a forgotten value.
// `--data a.txt b.txt --quiet`, as a shell makes it of `--data *.txt --quiet`, gets the flag before each
// value: what begins with a dash is a flag, and a lone dash is standard input.
std::vector<std::string> joined_values(const Command& command, const std::vector<std::string>& arguments) {
  std::vector<std::string> joined;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    joined.push_back(arguments[i]);
    const std::string& argument = arguments[i];
    const std::size_t equals = argument.find('=');
    const Option* option = find(command, argument.substr(0, equals));
    if (option == nullptr) continue;
    const bool inside = equals != argument.npos;
    if (option->value.empty()) {
      // The parser would take --resume=false for --resume.
      if (inside) throw UsageError(option->name + " takes no value");
      continue;
    }
    const std::string needs = option->name + " needs a value (" + option->value + ")";
    const bool last = i + 1 == arguments.size();
    if (!inside && (last || find(command, arguments[i + 1]) != nullptr)) throw UsageError(needs);
    if (inside ? equals + 1 == argument.size() : arguments[i + 1].empty())
      throw UsageError(needs + " of at least one character, got an empty one");
    if (!inside) joined.back() += "=" + arguments[++i];
    if (!option->repeatable) continue;
    for (; i + 1 < arguments.size() && (!arguments[i + 1].starts_with('-') || arguments[i + 1] == "-"); ++i)
      joined.push_back(option->name + "=" + arguments[i + 1]);
  }
  return joined;
}

void set_values(const Option& option, const std::vector<std::string>& values) {
  if (values.size() > 1 && !option.repeatable) throw UsageError(option.name + " was given more than once");
  for (const std::string& value : values) try {
      option.set(value);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
}

}  // namespace

std::string flag_name(const std::string& key) {
  std::string name = "--" + key;
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

Option& Command::add_switch(const std::string& flag, bool& field, const std::string& help) {
  Option option{flag, "", help, "", [&field](const std::string&) { field = true; }};
  options.push_back(option);
  return options.back();
}

void Command::add_device(Device& field) {
  Option& option = add("--device", "NAME", field, "where to compute: cpu or hip");
  option.set = [&field](const std::string& text) {
    if (const std::string hint = device_hint(text); !hint.empty())
      fail("--device", "required cpu or hip, got ", quote(text), hint);
    parse_field("--device", text, field);
  };
}

void Command::add_threads() {
  Option option{"--threads",
                "N",
                "threads to compute with; results do not depend on it",
                std::to_string(kernels::num_threads()),
                {}};
  option.set = [](const std::string& text) {
    std::int64_t threads = 0;
    parse_field("--threads", text, threads);
    require(threads >= 1 && threads <= kernels::kMostThreads, "--threads", "required 1 .. ",
            kernels::kMostThreads, ", got ", threads);
    kernels::set_num_threads(static_cast<int>(threads));
  };
  options.push_back(option);
}

std::size_t choice_index(const std::string& flag, const std::string& text,
                         const std::vector<std::string>& choices) {
  const auto found = std::find(choices.begin(), choices.end(), text);
  if (found == choices.end())
    fail(flag.c_str(), "required ", joined(choices), ", got ", quote(text), did_you_mean(text, choices));
  return static_cast<std::size_t>(found - choices.begin());
}

void require_standard_input_once(const std::vector<std::string>& inputs) {
  if (std::count_if(inputs.begin(), inputs.end(), is_standard_input) > 1)
    throw UsageError("standard input can be read only once; give a file in place of one of them");
}

bool parse(const Command& command, const std::vector<std::string>& arguments,
           const std::vector<Command>& all) {
  CLI::App app;
  app.set_help_flag("-h,--help");
  app.allow_extras();  // and say ourselves what is wrong with them
  std::vector<CLI::Option*> parsed;
  for (const Option& option : command.options) {
    std::string spellings = option.name;
    if (const std::string other = with_underscores(option.name); other != option.name)
      spellings += "," + other;
    if (option.value.empty())
      parsed.push_back(app.add_flag(spellings));
    else
      parsed.push_back(
          app.add_option(spellings)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
  }
  const bool help = std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "--help" || argument == "-h";
  });
  const std::vector<std::string> words = help ? arguments : joined_values(command, arguments);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::CallForHelp&) {
    return false;
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  std::vector<std::string> bare;
  for (const std::string& extra : app.remaining()) {
    if (command.bare.name.empty() || extra.empty() || extra[0] == '-')
      throw UsageError(unexpected(command, all, extra));
    bare.push_back(extra);
  }
  if (!bare.empty()) set_values(command.bare, bare);
  for (std::size_t i = 0; i < parsed.size(); ++i) {
    const Option& option = command.options[i];
    if (option.required && parsed[i]->count() == 0) throw UsageError(option.name + " is required");
    if (option.value.empty() && parsed[i]->count() > 0) option.set("");
    if (!option.value.empty()) set_values(option, parsed[i]->results());
  }
  return true;
}

std::string help_text(const Command& command) {
  constexpr std::size_t kColumn = 30, kWidth = 50;
  std::string text = "retnet " + command.name + ": " + command.summary + "\n\nusage: retnet " + command.name;
  for (const Option& option : command.options)
    if (option.required) text += " " + option.name + " " + option.value;
  if (!command.bare.name.empty()) text += " [" + command.bare.name + "]";
  text += " [options]\n";
  if (!command.description.empty()) text += "\n" + wrapped(command.description, kColumn + kWidth, 0) + "\n";

  std::vector<std::string> groups;
  for (const Option& option : command.options)
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) groups.push_back(option.group);
  if (groups.empty()) groups.push_back("options");
  for (const std::string& group : groups) {
    text += "\n" + group + ":\n";
    const auto line = [&](std::string left, const std::string& right) {
      if (left.size() + 2 > kColumn) left += "\n" + std::string(kColumn, ' ');
      left.resize(std::max(kColumn, left.size()), ' ');
      text += left + wrapped(right, kWidth, kColumn) + "\n";
    };
    for (const Option& option : command.options) {
      if (option.group != group) continue;
      const std::string given = option.value.empty() ? "" : " " + option.value;
      const std::string fallback = option.fallback.empty() ? "" : " (" + option.fallback + ")";
      line("  " + option.name + given, option.help + fallback);
    }
    if (&group != &groups.front()) continue;
    if (!command.bare.name.empty()) line("  " + command.bare.name, command.bare.help);
    line("  -h, --help", "this text");
  }
  text += "\nexamples:\n";
  for (const std::string& example : command.examples) text += "  " + example + "\n";
  return text;
}

}  // namespace retnet
