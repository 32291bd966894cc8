#include <cmath>
#include <map>
#include <memory>

#include "kernels/parallel.h"
#include "retnet/decay.h"
#include "train/build_info.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/output.h"
#include "train/presets.h"

namespace retnet {
namespace {

std::string line(const std::string& name, const std::string& value) {
  std::string text = name;
  text.resize(std::max<std::size_t>(text.size() + 1, 18), ' ');
  return text + value + "\n";
}

// Bytes that one sequence carries from token to token: S, z and s of every block.
std::int64_t state_bytes(const Config& config, Dtype dtype) {
  const std::int64_t head = (config.dk() * config.dv() + config.dk()) * size_of(dtype) + 8;
  return config.layers * config.heads * head;
}

std::string build_text() {
  std::ostringstream threads;
  threads << kernels::num_threads() << (has_openmp() ? " (OpenMP)" : " (built without OpenMP)");
  std::string text = line("retnet", RETNET_VERSION) + line("compiler", compiler()) +
                     line("threads", threads.str()) + line("instructions", instruction_set()) +
                     line("devices", devices());
  std::vector<std::vector<std::string>> rows{
      {"preset", "parameters", "layers", "d_model", "heads", "dk", "dv", "ffn", "window", "batch", "steps"}};
  for (const std::string& name : preset_names()) {
    const Config c = preset(name);
    const TrainSettings s = preset_settings(name);
    std::vector<std::string> row{name, with_commas(c.parameters())};
    for (const std::int64_t value :
         {c.layers, c.d_model, c.heads, c.dk(), c.dv(), c.ffn_width, s.window, s.batch, s.steps})
      row.push_back(std::to_string(value));
    rows.push_back(row);
  }
  return text + "\n" + table(rows);
}

std::string config_text(const Config& config) {
  std::string text;
  for_each_field(config, [&](const char* key, const auto& field, const char*) {
    text += line("  " + std::string(key), field_to_json(field).dump());
  });
  return text;
}

// Weights by what they belong to: the same part of all layers together.
std::string parameter_text(RetNet& model) {
  std::vector<std::string> order;
  std::map<std::string, std::int64_t> counts;
  std::int64_t total = 0;
  for (const Parameter& parameter : model.parameters()) {
    std::string group = parameter.name;
    if (group.rfind("layers.", 0) == 0) group = "layers.*" + group.substr(group.find('.', 7));
    group = group.substr(0, group.rfind('.'));
    if (counts.find(group) == counts.end()) order.push_back(group);
    counts[group] += parameter.variable.size();
    total += parameter.variable.size();
  }
  std::vector<std::vector<std::string>> rows{{"weights", "number", "share"}};
  for (const std::string& group : order) {
    const double share = 100 * static_cast<double>(counts[group]) / static_cast<double>(total);
    rows.push_back({group, with_commas(counts[group]), formatted("%.1f%%", share)});
  }
  rows.push_back({"all", with_commas(total), "100.0%"});
  return table(rows);
}

std::string decay_text(const Config& config) {
  const std::vector<double> gamma = decays(config);
  std::vector<std::vector<std::string>> rows{{"head", "gamma", "half-life in tokens"}};
  for (std::size_t h = 0; h < gamma.size(); ++h)
    rows.push_back({std::to_string(h), formatted("%.9g", gamma[h]),
                    gamma[h] < 1 ? formatted("%.1f", std::log(0.5) / std::log(gamma[h])) : "never"});
  return table(rows);
}

std::string model_text(const std::string& path) {
  TrainedModel trained = load_trained(path);
  RetNet& model = trained.model;
  const Config& config = model.config();
  std::string text =
      line("model", printable(trained.folder)) +
      line("parameters", with_commas(config.parameters()) + " in " + name(model.dtype())) +
      line("state", human_bytes(state_bytes(config, model.dtype())) + " per sequence, however long");
  return text + "\nconfig\n" + config_text(config) + "\n" + parameter_text(model) + "\n" + decay_text(config);
}

}  // namespace

Command info_command() {
  const auto model = std::make_shared<std::string>();
  Command command{"info", "describes this program, or a model", {}, {}, {}, {}};
  command.examples = {"retnet info", "retnet info --model runs/first"};
  command.add("--model", "DIR", *model, "a run or a checkpoint to describe");
  command.run = [model] {
    print(model->empty() ? build_text() : model_text(*model));
    return 0;
  };
  return command;
}

}  // namespace retnet
