#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "train/bundled_text.h"
#include "train/commands.h"
#include "train/interrupt.h"
#include "train/output.h"
#include "train/presets.h"
#include "train/program.h"
#include "train/trainer.h"

namespace retnet {
namespace {

struct Given {
  std::vector<std::string> data;
  std::string preset, config_file, out;
  Device device = Device::cpu;
  bool resume = false, quiet = false, graphs = true;
  std::vector<Override> config, settings;

  std::string base() const { return preset.empty() ? "tiny" : preset; }
};

// What comes before the flags: the run that goes on, or else a preset and a file over it. True iff the
// former.
bool read_base(const Given& given, Run& run) {
  run.config = preset(given.base());
  run.settings = preset_settings(given.base());
  run.data = {"bundled"};
  const std::optional<std::string> continued =
      given.resume ? resume_folder(run.out, /*quiet=*/true) : std::nullopt;
  if (given.resume && !continued)
    std::cerr << "nothing to resume in " << printable(run.out) << "; starting anew\n";
  if (continued) {
    const TrainerState state = load_trainer_state(*continued);
    run.settings = state.settings;
    run.data = state.data;
    if (given.preset.empty())
      run.config = config_from_json(read_json(*continued + "/config.json"), *continued + "/config.json");
  }
  if (!given.config_file.empty())
    fields_from_json(run.config, read_json(given.config_file), printable(given.config_file));
  return continued.has_value();
}

// Unless they were asked for, micro_batch suits the batch and window that were, and the warm-up the steps.
void follow_settings(const Given& given, Run& run) {
  const auto asked = [&](const char* key) {
    const auto is = [&](const Override& flag) { return flag.key == key; };
    return std::any_of(given.settings.begin(), given.settings.end(), is);
  };
  if (!asked("micro_batch")) run.settings.micro_batch = usual_micro_batch(run.settings, run.device);
  // Of the text inside the program whole files are held out.
  if (!asked("held_out") && run.data == std::vector<std::string>{"bundled"})
    run.settings.held_out = bundled_held_out();
  if (!asked("warmup")) run.settings.warmup = usual_warmup(preset_settings(given.base()), run.settings.steps);
}

// The widths of the paper's block that nobody gave, after a d_model that somebody did: keys as wide as the
// residual stream, values and the feed-forward network twice as wide.
void follow_d_model(const Given& given, Config& config) {
  std::vector<std::string> keys;
  for (const Override& flag : given.config) keys.push_back(flag.key);
  if (!given.config_file.empty()) {
    const Json file = read_json(given.config_file);
    for (const Json::Member& member : file.items()) keys.push_back(member.key);
  }
  const auto has = [&](const char* key) { return std::find(keys.begin(), keys.end(), key) != keys.end(); };
  if (!has("d_model")) return;
  if (!has("key_width")) config.key_width = config.d_model;
  if (!has("value_width")) config.value_width = 2 * config.d_model;
  if (!has("ffn_width")) config.ffn_width = 2 * config.d_model;
}

Run make_run(const Given& given) {
  Run run;
  run.resume = given.resume, run.quiet = given.quiet, run.device = given.device, run.graphs = given.graphs;
  run.out = !given.out.empty() ? given.out : "runs/" + given.base();
  const bool continued = read_base(given, run);
  if (!given.data.empty()) run.data = given.data;
  if (given.config.empty() && !given.config_file.empty()) run.config.validate();  // then the file is at fault
  apply(given.config, run.config);
  if (!run.resume) follow_d_model(given, run.config);
  apply(given.settings, run.settings);
  if (!continued) follow_settings(given, run);
  try {
    run.config.validate();
    run.settings.validate();
    require(run.config.vocab == 256, "config", "vocab must be 256, because tokens are bytes, got ",
            run.config.vocab);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return run;
}

// A path as one would type it in a shell.
std::string typed(const std::string& path) {
  const bool plain =
      path.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+,:@") ==
      path.npos;
  if (plain) return path;
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void print_result(const Run& run, const RunResult& result) {
  std::ostringstream out;
  out << "trained   " << with_commas(result.step) << " steps";
  if (result.tokens > 0)
    out << "; " << with_commas(result.tokens) << " tokens in " << formatted("%.1f", result.seconds) << " s, "
        << with_commas(
               static_cast<std::int64_t>(static_cast<double>(result.tokens) / std::max(result.seconds, 1e-9)))
        << " tokens/s";
  out << "\n";
  if (result.held_out.bytes > 0)
    out << "held out  " << formatted("%.4f", result.held_out.nats) << " nats per byte, "
        << formatted("%.4f", result.held_out.bits()) << " bits per byte, over "
        << with_commas(result.held_out.bytes) << " bytes\n";
  out << "files     " << printable(model_folder(run.out)) << ", " << printable(run.out) << "/loss.svg, "
      << printable(run.out) << "/log.jsonl\n"
      << "next      retnet generate --model " << typed(run.out) << " --prompt \"The \"\n";
  print(out.str());
}

// Weights, gradients and two moments, before any activation. The system would give the memory and then end
// the program.
void require_memory(const Config& config) {
  const double needed = 16.0 * static_cast<double>(config.parameters());
  const double present =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  require(needed <= present, "train", "the config's ", with_commas(config.parameters()), " parameters need ",
          formatted("%.0f", needed / 0x1p30), " GiB to be trained, this machine has ",
          formatted("%.0f", present / 0x1p30), " GiB");
}

int run(const Given& given) {
  require_device(given.device);
  const Run run = make_run(given);
  require_memory(run.config);
  RunResult result;
  {
    const InterruptFlag stop;
    result = train(run, stop.value());
  }
  if (result.interrupted) {
    std::cerr << "interrupted after step " << result.step << "; to go on: retnet train --out "
              << typed(run.out) << " --resume\n";
    return kInterrupted;
  }
  print_result(run, result);
  return kSuccess;
}

void check_choice(const std::string& name, const std::string& text, const std::vector<std::string>& choices) {
  for (const std::string& choice : choices)
    if (choice == text) return;
  fail(name.c_str(), "required ", joined(choices), ", got ", quote(text), did_you_mean(text, choices));
}

void add_graphs(Command& command, bool& field) {
  Option option{"--graphs", "on|off", "on a GPU: launch each step as one recorded graph", "on", {}};
  option.set = [&field](const std::string& text) {
    check_choice("--graphs", text, {"on", "off"});
    field = text == "on";
  };
  command.options.push_back(option);
}

void add_choice(Command& command, const std::string& name, std::string& field,
                const std::vector<std::string>& choices, const std::string& help,
                const std::string& fallback) {
  Option& option = command.add(name, "NAME", field, help);
  option.fallback = fallback;
  option.set = [name, choices, &field](const std::string& text) {
    check_choice(name, text, choices);
    field = text;
  };
}

}  // namespace

Command train_command() {
  const auto given = std::make_shared<Given>();
  Command command{"train", "learns a model from the bytes of files", {}, {}, {}, {}};
  command.description =
      "Trains a RetNet to predict the next byte, and shows its loss on the last tenth of the text, which it "
      "does not "
      "learn from. Interrupt it (Ctrl-C) when you like: it finishes the step, saves, and --resume goes on to "
      "the same "
      "result, bit for bit.";
  command.examples = {"retnet train",
                      "retnet train --data book.txt --preset small --out runs/book --steps 3000",
                      "retnet train --out runs/book --resume",
                      "retnet train --data a.txt --data b.txt --d-model 192 --heads 6 --key-width 192"};
  Option data{"--data",
              "FILE",
              "text to learn from; repeat it for several files",
              "bundled: this project's book and source",
              {}};
  data.set = [given](const std::string& text) { given->data.push_back(text); };
  data.repeatable = true;
  command.options.push_back(data);
  command.add("--out", "DIR", given->out, "folder for checkpoints, log and loss curve").fallback =
      "runs/PRESET";
  add_choice(command, "--preset", given->preset, preset_names(), "sizes: " + joined(preset_names()), "tiny");
  command.add("--config", "FILE", given->config_file,
              "JSON with the model's fields, over those of the preset");
  command.add_switch("--resume", given->resume, "go on with the run in --out, with its own settings");
  command.add_device(given->device);
  add_graphs(command, given->graphs);
  command.add_threads();
  command.add_switch("--quiet", given->quiet, "no progress on standard error");
  add_fields(command, "training", preset_settings("tiny"), given->settings);
  add_fields(command, "model", preset("tiny"), given->config);
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
