#include "train/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>

#include "tensor/checksum.h"
#include "tensor/file.h"
#include "tensor/safetensors.h"
#include "tensor/text.h"
#include "train/run_folder.h"

namespace retnet {
namespace {

constexpr std::int64_t kFormatVersion = 1;
constexpr const char* kFiles[] = {"config.json", "model.safetensors", "optimizer.safetensors"};

/// Members that every trainer.json has.
constexpr const char* kMarks[] = {"format_version", "step", "settings", "crc32"};

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// A path that means the same in every folder, without a slash at its end.
std::string absolute_path(const std::string& path) {
  const std::filesystem::path full = std::filesystem::absolute(path).lexically_normal();
  return (full.has_filename() ? full : full.parent_path()).string();
}

/// A number as `digits` hexadecimal digits; JSON has no unsigned 64-bit integers that every reader keeps.
std::string hex(std::uint64_t value, int digits) {
  char text[24];
  std::snprintf(text, sizeof text, "%0*llx", digits, static_cast<unsigned long long>(value));
  return text;
}

std::uint64_t from_hex(const std::string& text, const std::string& what) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  require(error == std::errc() && end == text.data() + text.size(), what.c_str(),
          "required hexadecimal digits, got ", quote(text));
  return value;
}

// The name of a file is any bytes, and JSON has UTF-8 only: another name is written as {"hex":
// "636166e92e747874"}.
Json file_name_to_json(const std::string& name) {
  try {
    Json(name).dump();
    return name;
  } catch (const Error&) {
    std::string digits;
    for (const char byte : name) digits += hex(static_cast<unsigned char>(byte), 2);
    return Json::object({{"hex", digits}});
  }
}

std::string file_name_from_json(const Json& json, const std::string& source) {
  if (json.is_string()) return json.as_string(source);
  const std::string digits = json.at("hex", source).as_string(source);
  std::string name;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    name += static_cast<char>(from_hex(digits.substr(i, 2), source + ": data"));
  return name;
}

std::string file_checksum(const std::string& path) {
  const InputFile file(path);
  std::vector<char> block(1 << 20);
  std::uint32_t crc = 0;
  for (std::int64_t done = 0, got = 0;; done += got) {
    got = file.read_some(done, block.data(), static_cast<std::int64_t>(block.size()));
    if (got == 0) return hex(crc, 8);
    crc = crc32(block.data(), got, crc);
  }
}

std::string text_checksum(const Json& json) {
  const std::string text = json.dump();
  return hex(crc32(text.data(), static_cast<std::int64_t>(text.size())), 8);
}

void save_optimizer(const std::string& folder, Optimizer& optimizer, std::int64_t step) {
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < optimizer.parameters().size(); ++i) {
    const std::string& name = optimizer.parameters()[i].name;
    tensors.push_back({name + ".m", optimizer.moments()[i].m});
    tensors.push_back({name + ".v", optimizer.moments()[i].v});
  }
  save_safetensors(folder + "/optimizer.safetensors", tensors,
                   {{"format", "retnet optimizer"}, {"step", std::to_string(step)}});
}

/// A folder whose files are removed unless it was renamed.
struct TemporaryFolder {
  std::string path;
  bool keep = false;
  ~TemporaryFolder() {
    if (!keep) remove_unfinished(path);
  }
};

/// Calls `load` for the checkpoints of a run, the newest first, until it does not throw.
/// @returns the folder of that one, or nothing when there is no checkpoint
std::optional<std::string> first_that_loads(const std::string& run, bool quiet,
                                            const std::function<void(const std::string&)>& load) {
  while (true) {
    const std::vector<std::int64_t> steps = checkpoint_steps(run);
    std::string problem;
    for (const std::int64_t step : steps) try {
        const std::string folder = checkpoint_folder(run, step);
        load(folder);
        if (!problem.empty() && !quiet)
          std::cerr << "retnet: " << problem << "; going back to " << printable(folder) << '\n';
        return folder;
      } catch (const Error& error) {
        if (problem.empty()) problem = error.what();
      }
    // A run that goes on meanwhile removes what was listed, and has something newer.
    if (checkpoint_steps(run) != steps) continue;
    require(problem.empty(), printable(run).c_str(),
            "no checkpoint in this folder loads; the newest: ", problem);
    return std::nullopt;
  }
}

InitialWeights initial_weights_from(const Json& json, const std::string& source) {
  return {file_name_from_json(json.at("path", source), source),
          file_name_from_json(json.at("folder", source), source),
          json.at("model_crc32", source).as_string(source)};
}

PlanChange plan_change_from(const Json& json, const std::string& source) {
  return {json.at("step", source).as_int(source + ": step"), json.at("changed", source)};
}

/// Loads everything a checkpoint holds, to see that it can be. @throws Error when it cannot
void try_load(const std::string& folder) {
  load_trainer_state(folder);
  RetNet model = load_model(folder);
  Optimizer optimizer(model.parameters());
  load_optimizer(folder, optimizer);
}

/// @throws Error naming the folder to give instead of a file in it
void require_folder(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  fail(printable(path).c_str(),
       "is a file; give the folder that it is in: ", printable(parent.empty() ? "." : parent));
}

}  // namespace

Json data_to_json(const std::vector<std::string>& data) {
  Json list = Json::array();
  for (const std::string& name : data) list.push_back(file_name_to_json(name));
  return list;
}

void save_trainer_state(const std::string& folder, const TrainerState& state) {
  Json files = Json::object();
  for (const char* name : kFiles)
    if (exists(folder + "/" + name)) files.set(name, file_checksum(folder + "/" + name));
  Json json = Json::object({{"format_version", kFormatVersion},
                            {"step", state.step},
                            {"data", data_to_json(state.data)},
                            {"data_size", state.data_size},
                            {"data_fnv1a", hex(state.data_hash, 16)},
                            {"settings", fields_to_json(state.settings)},
                            {"files_crc32", files}});
  if (state.init_from)
    json.set("init_from", Json::object({{"path", file_name_to_json(state.init_from->path)},
                                        {"folder", file_name_to_json(state.init_from->folder)},
                                        {"model_crc32", state.init_from->model_crc32}}));
  Json changes = Json::array();
  for (const PlanChange& change : state.changes)
    changes.push_back(Json::object({{"step", change.step}, {"changed", change.changed}}));
  if (!state.changes.empty()) json.set("changes", changes);
  json.set("crc32", text_checksum(json));
  write_json(folder + "/trainer.json", json);
}

TrainerState load_trainer_state(const std::string& folder) {
  const std::string path = folder + "/trainer.json", source = printable(path);
  const Json json = read_json(path);
  const std::int64_t version = json.at("format_version", source).as_int(source + ": format_version");
  require(version == kFormatVersion, source.c_str(), "required format_version ", kFormatVersion, ", got ",
          version);
  Json rest = Json::object();
  for (const Json::Member& member : json.items(source))
    if (member.key != "crc32") rest.set(member.key, member.value);
  require(json.at("crc32", source).as_string(source) == text_checksum(rest), source.c_str(),
          "does not match its checksum; it was damaged or edited");
  const Json& files = json.at("files_crc32", source);
  for (const char* name : kFiles)
    if (const Json* checksum = files.find(name, source))
      require(file_checksum(folder + "/" + name) == checksum->as_string(source), source.c_str(), name,
              " in the same folder is damaged, or of another checkpoint: its checksum differs");
  TrainerState state;
  state.step = json.at("step", source).as_int(source + ": step");
  for (const Json& name : json.at("data", source).elements(source))
    state.data.push_back(file_name_from_json(name, source));
  state.data_size = json.at("data_size", source).as_int(source + ": data_size");
  state.data_hash = from_hex(json.at("data_fnv1a", source).as_string(source), source + ": data_fnv1a");
  fields_from_json(state.settings, json.at("settings", source), source);
  state.settings.validate();
  if (const Json* init_from = json.find("init_from", source))
    state.init_from = initial_weights_from(*init_from, source);
  if (const Json* changes = json.find("changes", source))
    for (const Json& change : changes->elements(source))
      state.changes.push_back(plan_change_from(change, source));
  return state;
}

bool is_trainer_state(const std::string& path) {
  try {
    const Json json = read_json(path);
    return std::all_of(std::begin(kMarks), std::end(kMarks),
                       [&](const char* mark) { return json.find(mark) != nullptr; });
  } catch (const Error&) {
    return false;
  }
}

void load_optimizer(const std::string& folder, Optimizer& optimizer) {
  const std::string path = folder + "/optimizer.safetensors", source = printable(path);
  SafetensorsFile file = load_safetensors(path);
  const std::string step = std::to_string(load_trainer_state(folder).step);
  require(file.metadata["step"] == step, source.c_str(), "is of step ", quote(file.metadata["step"]),
          ", but trainer.json is of step ", step);
  std::map<std::string, Tensor> by_name;
  for (const NamedTensor& tensor : file.tensors) by_name[tensor.name] = tensor.value;
  const std::vector<Parameter>& parameters = optimizer.parameters();
  require(by_name.size() == 2 * parameters.size(), source.c_str(), "required ", 2 * parameters.size(),
          " tensors, two per parameter, got ", by_name.size());
  const auto moment = [&](const Parameter& parameter, const char* which) {
    const Tensor& value = by_name[parameter.name + which];
    const Variable& w = parameter.variable;
    require(value.defined() && value.shape() == w.shape() && value.dtype() == w.dtype(), source.c_str(),
            parameter.name, which, " is missing or does not have shape ", w.shape(), " and dtype ",
            w.dtype());
    return value;
  };
  for (std::size_t i = 0; i < parameters.size(); ++i)
    optimizer.moments()[i] = {moment(parameters[i], ".m"), moment(parameters[i], ".v")};
}

void save_checkpoint(const std::string& run, RetNet& model, Optimizer& optimizer, const TrainerState& state,
                     int keep) {
  const std::string folder = checkpoint_folder(run, state.step);
  TemporaryFolder fresh{folder + ".tmp." + std::to_string(::getpid())};
  remove_unfinished(fresh.path);  // of a crashed process with the same number
  create_folder(fresh.path);
  save_model(fresh.path, model);
  save_optimizer(fresh.path, optimizer, state.step);
  save_trainer_state(fresh.path, state);
  fsync_directory(fresh.path);
  // A folder cannot be renamed over another one. One of this step is there only when it did not load, or
  // holds something else.
  const std::string before = exists(folder) ? retire_checkpoint(folder) : "";
  rename_folder(fresh.path, folder);
  fresh.keep = true;
  if (!before.empty()) discard(before, folder);
  fsync_directory(run);
  for (const std::int64_t step : checkpoint_steps(run))
    if (step > state.step || (step < state.step && --keep < 1)) {
      const std::string old = checkpoint_folder(run, step);
      discard(retire_checkpoint(old), old);
    }
}

std::optional<std::string> newest_checkpoint(const std::string& run, bool quiet) {
  return first_that_loads(run, quiet, try_load);
}

BegunRun load_begun(const std::string& folder) {
  const std::string config = folder + "/config.json";
  TrainerState state = load_trainer_state(folder);
  return {folder, config_from_json(read_json(config), printable(config)), std::move(state)};
}

std::optional<BegunRun> begun_run(const std::string& run) {
  std::optional<BegunRun> begun;
  const auto load = [&](const std::string& folder) { begun = load_begun(folder); };
  if (first_that_loads(run, /*quiet=*/true, load)) return begun;
  try {
    if (exists(run + "/trainer.json")) load(run);
  } catch (const Error&) {
    // Before the first checkpoint there is nothing to lose: a run whose beginning was cut short has not
    // begun.
  }
  return begun;
}

TrainedModel load_trained(const std::string& path) {
  require(exists(path), printable(path).c_str(),
          "there is no such folder; give one that `retnet train` wrote");
  require_folder(path);
  std::optional<TrainedModel> found;
  const auto load = [&](const std::string& folder) {
    // Another number of heads fits the same weights; only the checksums tell.
    std::optional<TrainerState> state;
    if (exists(folder + "/trainer.json")) state = load_trainer_state(folder);
    found.emplace(TrainedModel{folder, load_model(folder), std::move(state)});
  };
  if (exists(path + "/config.json") && exists(path + "/model.safetensors"))
    load(path);
  else
    require(first_that_loads(path, /*quiet=*/false, load).has_value(), printable(path).c_str(),
            "holds neither config.json and model.safetensors nor a checkpoint step-*");
  return std::move(*found);
}

std::string model_folder(const std::string& path) { return load_trained(path).folder; }

InitialWeights initial_weights(const std::string& path) {
  const std::string folder = model_folder(path);
  return {absolute_path(path), absolute_path(folder), weights_checksum(folder)};
}

bool is_of(const InitialWeights& weights, const std::string& path) {
  return absolute_path(path) == weights.path || initial_weights(path).model_crc32 == weights.model_crc32;
}

std::string weights_checksum(const std::string& folder) {
  return file_checksum(folder + "/model.safetensors");
}

}  // namespace retnet
