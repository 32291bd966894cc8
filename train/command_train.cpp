#include <algorithm>
#include <iostream>
#include <memory>

#include "train/commands.h"
#include "train/memory_need.h"
#include "train/output.h"
#include "train/presets.h"
#include "train/program.h"
#include "train/run_folder.h"
#include "train/run_plan.h"
#include "train/trainer.h"

namespace retnet {
namespace {

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
  out << "files     " << printable(checkpoint_folder(run.out, result.step)) << ", " << printable(run.out)
      << "/loss.svg, " << printable(run.out) << "/log.jsonl\n"
      << "next      retnet generate --model " << typed(run.out) << " --prompt \"The \"\n";
  print(out.str());
}

int run(const RunRequest& request) {
  require_device(request.device);
  std::vector<std::string> inputs = request.data;
  if (!request.config_file.empty()) inputs.push_back(request.config_file);
  require_standard_input_once(inputs);
  const bool resume = request.resume || request.extend;
  const std::optional<BegunRun> begun = resume ? begun_run(request.folder()) : std::nullopt;
  if (resume && !begun)
    std::cerr << "nothing to resume in " << printable(request.folder()) << "; starting anew\n";
  const Run run = plan_run(request, begun);
  if (run.device == Device::cpu)
    require_memory("to train the config's " + with_commas(run.config.parameters()) +
                       " parameters on windows of " + with_commas(run.settings.window) + " tokens",
                   training_bytes(run.config, run.settings), "use a smaller model, micro-batch or window");
  std::optional<Interrupts> interrupts;
  const RunResult result = train(run, interrupts);
  if (result.interrupted) {
    std::cerr << "interrupted after step " << result.step << "; to go on: retnet train --out "
              << typed(run.out) << " --resume\n";
    return kSignal + interrupts->signal();
  }
  interrupts.reset();
  print_result(run, result);
  return kSuccess;
}

void add_graphs(Command& command, bool& field) {
  Option option{"--graphs", "on|off", "on a GPU: launch each step as one recorded graph", "on", {}};
  option.set = [&field](const std::string& text) {
    field = choice_index("--graphs", text, {"on", "off"}) == 0;
  };
  command.options.push_back(option);
}

void add_choice(Command& command, const std::string& name, std::string& field,
                const std::vector<std::string>& choices, const std::string& help,
                const std::string& fallback) {
  Option& option = command.add(name, "NAME", field, help);
  option.fallback = fallback;
  option.set = [name, choices, &field](const std::string& text) {
    field = choices[choice_index(name, text, choices)];
  };
}

}  // namespace

Command train_command() {
  const auto given = std::make_shared<RunRequest>();
  Command command{"train", "learns a model from the bytes of files", {}, {}, {}, {}};
  command.description =
      "Trains a RetNet to predict the next byte, and shows its loss on the last tenth of the text, which it "
      "does not learn from. Interrupt it (Ctrl-C) when you like: it finishes the step, saves, and --resume "
      "goes on to the same result, bit for bit.";
  command.examples = {"retnet train",
                      "retnet train --data book.txt --preset small --out runs/book --steps 3000",
                      "retnet train --out runs/book --resume",
                      "retnet train --out runs/book --extend --steps 6000",
                      "retnet train --init-from runs/book --data mine.txt --out runs/mine",
                      "retnet train --data a.txt b.txt --d-model 192 --heads 6 --key-width 192",
                      "zcat texts.gz | retnet train --data - --out runs/texts"};
  Option data{"--data",
              "FILE ..",
              "text to learn from: files, or - for standard input",
              "bundled: this project's book and source",
              {}};
  data.set = [given](const std::string& text) { given->data.push_back(text); };
  data.repeatable = true;
  command.options.push_back(data);
  command.add("--out", "DIR", given->out, "folder for checkpoints, log and loss curve").fallback =
      "runs/PRESET";
  add_choice(command, "--preset", given->preset, preset_names(), "sizes: " + joined(preset_names()), "tiny");
  command.add("--config", "FILE", given->config_file,
              "JSON with fields of the model and the training, over the preset's and under the flags");
  command.add("--init-from", "DIR", given->init_from,
              "begin from the weights of a run or a checkpoint, with their model");
  command.add_switch(
      "--resume", given->resume,
      "go on with the run in --out, or begin it; what is given must be as in that run, what is "
      "not is the run's own");
  command.add_switch("--extend", given->extend,
                     "go on with other settings or data, which the run records: --extend --steps 3000");
  command.add_switch("--overwrite", given->overwrite, "begin anew where there is a run, which is removed");
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
