#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "kernels/parallel.h"
#include "retnet/decay.h"
#include "train/build_info.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/output.h"
#include "train/presets.h"
#include "train/run_folder.h"
#include "train/tensor_list.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;

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

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string model_text(const std::string& path) {
  TrainedModel trained = load_trained(path);
  RetNet& model = trained.model;
  const Config& config = model.config();
  std::string text =
      line("model", printable(trained.folder)) +
      line("parameters", with_commas(config.parameters()) + " in " + name(model.dtype())) +
      line("state", human_bytes(state_bytes(config, model.dtype())) + " per sequence, however long");
  text +=
      "\nconfig\n" + config_text(config) + "\n" + parameter_text(model) + "\n" + decay_text(config) + "\n";
  const std::string weights = trained.folder + "/model.safetensors";
  try {
    return text + tensor_list(weights);
  } catch (const Error&) {
    if (exists(weights)) throw;
    return model_text(path);  // a run that goes on has removed this checkpoint, and has a newer one
  }
}

// Whether a folder is a run, a checkpoint, or a model by itself, of this program.
bool is_ours(const std::string& folder) {
  if (exists(folder + "/trainer.json") || !checkpoint_steps(folder).empty()) return true;
  if (!exists(folder + "/config.json") || !exists(folder + "/model.safetensors")) return false;
  try {
    config_from_json(read_json(folder + "/config.json"), folder);
    return true;
  } catch (const Error&) {
    return false;  // other programs call theirs config.json too
  }
}

// A folder that holds weights of other programs: each file of them.
std::string files_text(const std::string& folder) {
  std::vector<std::string> paths;
  for (const std::string& name : names_in(folder))
    if (fs::path(name).extension() == ".safetensors") paths.push_back((fs::path(folder) / name).string());
  require(!paths.empty(), printable(folder).c_str(),
          "holds no run, no checkpoint and no file *.safetensors; give one that does, or a file");
  std::sort(paths.begin(), paths.end());
  std::string text;
  for (const std::string& path : paths) {
    if (!text.empty()) text += '\n';
    text += tensor_list(path);
  }
  return text;
}

// Whatever is at a path: a safetensors file, a model, or a folder of such files.
std::string path_text(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return tensor_list(path);
  return is_ours(path) ? model_text(path) : files_text(path);
}

}  // namespace

Command info_command() {
  struct Given {
    std::string path, model;
  };
  const auto given = std::make_shared<Given>();
  Command command{"info", "describes this program, a model, or a safetensors file", {}, {}, {}, {}};
  command.description =
      "Without a path: this build, and the presets. Of a run or a checkpoint: its config, weights by part "
      "and decays. Of every safetensors file, of other programs too: metadata, and each tensor's dtype, "
      "shape, place in the data, and statistics of its numbers.";
  command.examples = {"retnet info", "retnet info runs/first", "retnet info other/model.safetensors"};
  command.bare = {"PATH", "PATH", "a run, a checkpoint, a safetensors file, or a folder of them", "", {}};
  command.bare.set = [given](const std::string& text) { given->path = text; };
  command.add("--model", "DIR", given->model, "a run or a checkpoint, and nothing else");
  command.run = [given] {
    if (!given->path.empty() && !given->model.empty())
      throw UsageError("give either PATH or --model DIR, got both");
    print(!given->model.empty() ? model_text(given->model)
          : given->path.empty() ? build_text()
                                : path_text(given->path));
    return 0;
  };
  return command;
}

}  // namespace retnet
