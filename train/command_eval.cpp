#include <unistd.h>

#include <iostream>
#include <memory>
#include <optional>

#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/evaluate.h"
#include "train/memory_need.h"
#include "train/output.h"
#include "train/run_text.h"
#include "train/settings.h"
#include "train/terminal_line.h"

namespace retnet {
namespace {

struct Given {
  std::string model;
  std::vector<std::string> data;
  Form form = Form::chunkwise;
  bool reference = false;
  std::int64_t batch = 16;
  std::optional<std::int64_t> window;
  std::optional<double> held_out;
  Device device = Device::cpu;
};

// The text to evaluate. Of the text it was trained on, the model has not seen the held-out part only; of
// another, nothing.
Dataset read_data(const Given& given, const std::string& folder, const std::optional<TrainerState>& trained) {
  const Watch watch{&std::cerr, terminal_of(STDERR_FILENO)};
  if (given.data.empty()) {
    if (!trained)
      throw UsageError("--data is required: the model's folder does not say what it was trained on");
    return {find_text(folder, *trained, watch).text, given.held_out.value_or(trained->settings.held_out)};
  }
  const Corpus text(given.data, watch);
  // The sizes first: to compare the bytes, all of them must be read.
  const bool same = trained && text.size() == trained->data_size && text.hash(watch) == trained->data_hash;
  return {text, given.held_out.value_or(same ? trained->settings.held_out : 1)};
}

int run(const Given& given) {
  const auto check = [](const char* name, std::int64_t value, std::int64_t most) {
    if (value < 1 || value > most)
      throw UsageError(std::string(name) + " must be in 1 .. " + std::to_string(most) + ", got " +
                       std::to_string(value));
  };
  check("--window", given.window.value_or(1), 1 << 24);
  check("--batch", given.batch, 1 << 20);
  if (given.held_out && !(*given.held_out > 0 && *given.held_out <= 1))
    throw UsageError("--held-out must be in (0, 1], got " + number_text(*given.held_out));
  require_standard_input_once(given.data);
  require_device(given.device);
  TrainedModel loaded = load_trained(given.model);
  RetNet& model = loaded.model;
  model.to(given.device);
  const std::optional<TrainerState>& trained = loaded.state;
  const Dataset data = read_data(given, loaded.folder, trained);
  const bool all_learned =
      trained && trained->settings.held_out == 0 && !given.held_out && data.train_size() > 0;
  if (all_learned)
    throw UsageError(
        "--data is required: the run learned from all of its text (held_out 0); name another text, or "
        "a part of its own with --held-out X");
  require(data.held_out_size() >= 2, "--data", "needs at least 2 bytes to evaluate on, got ",
          data.held_out_size());
  const std::int64_t window = given.window.value_or(trained ? trained->settings.window : 256);
  if (given.device == Device::cpu) {
    const std::int64_t tokens = std::min(given.batch * window, data.held_out_size());
    require_memory("to evaluate " + with_commas(tokens) + " tokens at a time",
                   evaluation_bytes(model.config(), tokens), "use a smaller --batch or --window");
  }
  FormOptions form;
  form.form = given.form, form.reference = given.reference;
  const Evaluation result = evaluate(model, data, window, given.batch, form);

  const bool all = data.train_size() == 0;
  std::ostringstream out;
  out << "model       " << printable(loaded.folder) << ", " << with_commas(model.config().parameters())
      << " parameters\n"
      << "text        "
      << (all ? "all " + with_commas(data.size())
              : "the last " + with_commas(data.held_out_size()) + " of " + with_commas(data.size()))
      << " bytes, in windows of " << window << "\n"
      << "loss        " << formatted("%.4f", result.nats) << " nats per byte, "
      << formatted("%.4f", result.bits()) << " bits per byte, over " << with_commas(result.bytes)
      << " bytes\n"
      << "perplexity  " << formatted("%.4f", result.perplexity()) << "\n";
  print(out.str());
  return 0;
}

}  // namespace

Command eval_command() {
  const auto given = std::make_shared<Given>();
  Command command{"eval", "measures a model's loss on a text", {}, {}, {}, {}};
  command.description =
      "Predicts every byte of a text from those before it in its window. Of the text the model was trained "
      "on, only the held-out part is used.";
  command.examples = {"retnet eval --model runs/tiny",
                      "retnet eval --model runs/tiny --data other.txt --window 1024"};
  command.add("--model", "DIR", given->model, "a run or a checkpoint").required = true;
  Option data{
      "--data", "FILE ..", "text to predict: files, or - for standard input", "what it was trained on", {}};
  data.set = [given](const std::string& text) { given->data.push_back(text); };
  data.repeatable = true;
  command.options.push_back(data);
  Option held_out{"--held-out", "X", "fraction at the end of the text that is used", "see above", {}};
  held_out.set = [given](const std::string& text) {
    parse_field("--held-out", text, given->held_out.emplace());
  };
  command.options.push_back(held_out);
  command.add("--form", "NAME", given->form, "parallel, recurrent or chunkwise");
  command.add("--reference", "true|false", given->reference,
              "compute the chunkwise form composed, not fused");
  Option window{"--window", "N", "bytes per window", "as trained, or 256", {}};
  window.set = [given](const std::string& text) { parse_field("--window", text, given->window.emplace()); };
  command.options.push_back(window);
  command.add("--batch", "N", given->batch, "windows at a time");
  command.add_device(given->device);
  command.add_threads();
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
