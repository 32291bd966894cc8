/// @file
/// What a command of the program takes, as a value: from it come the parser, the help and the messages.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "retnet/fields.h"
#include "train/devices.h"

namespace retnet {

/// A mistake in how the program was called: exit code 2.
struct UsageError : Error {
  using Error::Error;
};

/// One flag and what happens to its value.
struct Option {
  std::string name;      ///< "--learning-rate"; with '_' in place of '-' it is understood too
  std::string value;     ///< "X", what help calls its value; "": a flag without one
  std::string help;      ///< one sentence without a full stop
  std::string fallback;  ///< value when it is not given, for help; "": none worth saying
  std::function<void(const std::string&)> set;  ///< called for each time it is given; throws Error
  bool required = false;
  bool repeatable = false;  ///< several values, after one flag too: `--data a.txt b.txt`
  std::string group = "options";
};

/// A command of the program.
struct Command {
  std::string name, summary;
  std::vector<std::string> examples;  ///< whole lines, as one would type them
  std::vector<Option> options;
  std::function<int()> run;  ///< returns the exit code; throws Error
  std::string description;   ///< a paragraph for help, or ""
  Option bare = {};          ///< what an argument without a flag means; no name: there must be none

  /// Adds a flag whose value goes to `field`, which must live until run() is done and holds the default.
  template <class T>
  Option& add(const std::string& flag, const std::string& value, T& field, const std::string& help);
  /// Adds a flag without a value.
  Option& add_switch(const std::string& flag, bool& field, const std::string& help);
  /// Adds `--device NAME`.
  void add_device(Device& field);
  /// Adds `--threads N`, which takes effect at once.
  void add_threads();
};

/// Text given on the command line for a field of a settings struct.
struct Override {
  std::string key, text;
};

/// Adds `--KEY VALUE` for the fields of a settings struct: all, or those of `only`. Values are checked as
/// they are read and kept in `overrides`, to be applied by apply() over whatever preset or file comes first.
/// @param settings  holds the defaults that help shows
template <class S>
void add_fields(Command& command, const std::string& group, S settings, std::vector<Override>& overrides,
                const std::vector<std::string>& only = {});

/// Sets the fields that were given.
template <class S>
void apply(const std::vector<Override>& overrides, S& settings) {
  for (const Override& given : overrides) set_field(settings, given.key, given.text);
}

/// "--learning-rate" for "learning_rate".
std::string flag_name(const std::string& key);

/// Where `text` is among the choices. @throws Error naming the flag, the choices and the nearest of them,
/// unless it is one
std::size_t choice_index(const std::string& flag, const std::string& text,
                         const std::vector<std::string>& choices);

/// Reads the arguments after the command's name into its fields. Returns false when help was asked for.
/// @param all  commands, among whose flags one that this command does not have is looked for
/// @throws UsageError naming the flag, and the nearest one for a flag that does not exist
bool parse(const Command& command, const std::vector<std::string>& arguments,
           const std::vector<Command>& all);

/// @throws UsageError when two of these inputs are standard input, which can be read only once
void require_standard_input_once(const std::vector<std::string>& inputs);

/// Help of a command: usage, flags in groups with their defaults, examples.
std::string help_text(const Command& command);

namespace detail {

template <class T>
constexpr const char* value_name() {
  if constexpr (std::is_same_v<T, std::int64_t>) return "N";
  if constexpr (std::is_same_v<T, double>) return "X";
  if constexpr (std::is_same_v<T, bool>) return "true|false";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "X,X,..";
  return "NAME";
}

template <class T>
std::string shown(const T& field) {
  if constexpr (std::is_same_v<T, std::string>) return field;
  if constexpr (std::is_enum_v<T>) return Names<T>::list[static_cast<std::size_t>(field)];
  if constexpr (std::is_same_v<T, std::vector<double>>) return "";
  if constexpr (std::is_same_v<T, bool>) return field ? "true" : "false";
  if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    if constexpr (std::is_floating_point_v<T>) return number_text(field);
    return std::to_string(field);
  }
  return "";
}

}  // namespace detail

template <class T>
Option& Command::add(const std::string& flag, const std::string& value, T& field, const std::string& help) {
  Option option{flag, value, help, detail::shown(field), {}};
  option.set = [flag, &field](const std::string& text) { parse_field(flag, text, field); };
  options.push_back(option);
  return options.back();
}

template <class S>
void add_fields(Command& command, const std::string& group, S settings, std::vector<Override>& overrides,
                const std::vector<std::string>& only) {
  for_each_field(settings, [&](const char* key, const auto& field, const char* help) {
    using Field = std::decay_t<decltype(field)>;
    if (!only.empty() && std::find(only.begin(), only.end(), key) == only.end()) return;
    Option option{flag_name(key), detail::value_name<Field>(), help, detail::shown(field), {}};
    option.group = group;
    option.set = [name = option.name, key = std::string(key), &overrides](const std::string& text) {
      Field checked{};
      parse_field(name, text, checked);
      overrides.push_back({key, text});
    };
    command.options.push_back(option);
  });
}

}  // namespace retnet
