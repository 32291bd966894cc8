#include "train/run_begin.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "tensor/text.h"
#include "train/run_folder.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;

/// True iff there is something of this name, be it a link that leads nowhere.
bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// True iff a path leads into what a run writes in its folder.
bool is_part_of_run(const std::string& out, const std::string& path) {
  std::error_code no_folder, no_file;
  const fs::path folder = fs::canonical(out, no_folder), file = fs::canonical(path, no_file);
  if (no_folder || no_file) return false;
  const std::string first = file.lexically_relative(folder).begin()->string();
  return first.starts_with("step-") || is_kept_text(first) ||
         std::find(std::begin(kRunFiles), std::end(kRunFiles), first) != std::end(kRunFiles);
}

/// The settings and the data in which a run that goes on is not what it was.
Json changes(const TrainerState& begun, const TrainerState& now) {
  // These change no weight.
  const std::vector<std::string> free{"save_every", "eval_every", "eval_windows", "recompute"};
  Json changed = Json::object();
  const Json before = fields_to_json(begun.settings), settings = fields_to_json(now.settings);
  for (const Json::Member& member : before.items())
    if (const Json& after = settings.at(member.key);
        after != member.value && std::find(free.begin(), free.end(), member.key) == free.end())
      changed.set(member.key, Json::array({member.value, after}));
  if (begun.data_size == now.data_size && begun.data_hash == now.data_hash) return changed;
  changed.set("data", Json::array({data_to_json(begun.data), data_to_json(now.data)}));
  changed.set("data_size", Json::array({begun.data_size, now.data_size}));
  return changed;
}

/// @throws Error naming the first of the changes
[[noreturn]] void refuse(const Json::Member& change, const BegunRun& begun, const std::string& out) {
  const Json::Array& values = change.value.elements();
  const std::string what = change.key == "data" ? "was begun on other data, " : "has " + change.key + " ";
  fail(printable(out).c_str(), "the run ", what, values[0].dump(), ", got ", values[1].dump(),
       "; leave it as it was, change it from step ", begun.state.step,
       " on with --extend, or begin a run in another folder");
}

/// The weights to begin from, checked against the run. @throws Error when they are others
RetNet load_initial(const Run& run) {
  const InitialWeights& from = *run.init_from;
  const std::string name = printable(from.folder);
  require(!is_part_of_run(run.out, from.folder), name.c_str(),
          "is in the run that would be begun anew; choose another folder for the new one");
  RetNet model = load_model(from.folder);
  require(weights_checksum(from.folder) == from.model_crc32, name.c_str(),
          "its weights have changed since a run was begun from them; begin anew without --resume");
  require(model.dtype() == Dtype::f32, name.c_str(), "its weights are ", model.dtype(),
          ", training is in f32");
  require_same_config(model.config(), run.config, from.folder);
  return model;
}

/// Says what overwriting a run removes: everything that it made.
void announce_removal(const std::string& out, const std::vector<std::string>& in_use) {
  std::string names;
  for (const std::int64_t step : checkpoint_steps(out)) names += ", " + checkpoint_folder("", step).substr(1);
  for (const char* file : kRunFiles)
    if (exists(out + "/" + file)) names += std::string(", ") + file;
  for (const std::string& name : kept_texts(out, in_use)) names += ", " + name;
  if (!names.empty())
    std::cerr << "overwriting the run in " << printable(out) << ": removing " << names.substr(2) << std::endl;
}

void begin(const Run& run, RetNet& model, Optimizer& optimizer, TrainerState& state,
           const std::function<void()>& accepted) {
  require_free(run);
  if (run.init_from) {
    model = load_initial(run);
    optimizer = Optimizer(model.parameters());
  }
  if (run.overwrite) announce_removal(run.out, state.data);
  remove_leftovers(run.out);
  // A text that was piped may be nowhere else: it goes only when that was asked for.
  if (is_trainer_state(run.out + "/trainer.json"))
    clear_run(run.out, run.overwrite ? state.data : kept_texts(run.out, {}));
  accepted();
  // By its trainer.json a folder is known as that of a run. So it comes first, and again with the checksum.
  save_trainer_state(run.out, state);
  write_json(run.out + "/config.json", to_json(run.config));
  save_trainer_state(run.out, state);
}

}  // namespace

void require_free(const Run& run) {
  const std::string out = printable(run.out);
  const bool ours = is_trainer_state(run.out + "/trainer.json");
  require(!exists(run.out + "/model.safetensors"), out.c_str(),
          "the folder holds a model, model.safetensors, and no run; choose another folder");
  for (const char* file : kRunFiles)
    require(ours || !exists(run.out + "/" + file), out.c_str(), "the folder holds ", file,
            ", which would be overwritten and is of no run of this program; choose another folder");
  const std::vector<std::int64_t> steps = checkpoint_steps(run.out);
  require(ours || steps.empty(), out.c_str(),
          "the folder holds checkpoints, and no trainer.json of a run; choose another folder");
  require(run.overwrite || steps.empty(), out.c_str(), "the folder holds a run already, of ",
          steps.empty() ? 0 : steps[0],
          " steps; continue it with --resume, begin anew with --overwrite, or choose another folder");
  for (const std::string& file : run.data)
    require(!is_part_of_run(run.out, file), printable(file).c_str(),
            "is a file of the run that would be begun anew; choose another folder for the new one");
}

void require_same_config(const Config& own, const Config& given, const std::string& path) {
  const Json before = to_json(own), now = to_json(given);
  for (const Json::Member& member : before.items())
    require(now.at(member.key) == member.value, printable(path).c_str(), "the model has ", member.key, " ",
            member.value.dump(), ", got ", now.at(member.key).dump(),
            "; leave it as it was, or begin a run of another model in another folder");
}

void require_same_run(const BegunRun& begun, const Run& run, const TrainerState& state) {
  const std::string out = printable(run.out);
  require_same_config(begun.config, run.config, run.out);
  require(begun.state.settings.seed == run.settings.seed, out.c_str(), "the run has seed ",
          begun.state.settings.seed, ", got ", run.settings.seed,
          "; leave it as it was, or begin a run in another folder");
  require(run.settings.steps >= begun.state.step, out.c_str(), "the run has done ", begun.state.step,
          " steps already, got steps ", run.settings.steps,
          "; ask for at least as many, or begin a run in another folder");
  const Json changed = changes(begun.state, state);
  if (!run.extend && !changed.items().empty()) refuse(changed.items()[0], begun, run.out);
}

void begin_or_resume(const Run& run, RetNet& model, Optimizer& optimizer, TrainerState& state,
                     const std::function<void()>& accepted) {
  std::optional<BegunRun> begun;
  if (run.resume) {
    const std::optional<std::string> newest = newest_checkpoint(run.out);
    begun = newest ? load_begun(*newest) : begun_run(run.out);
  }
  if (!begun || begun->state.step == 0) return begin(run, model, optimizer, state, accepted);
  require_same_run(*begun, run, state);
  state.step = begun->state.step;
  state.init_from = begun->state.init_from;
  state.changes = begun->state.changes;
  model = load_model(begun->folder);
  optimizer = Optimizer(model.parameters());
  load_optimizer(begun->folder, optimizer);
  remove_leftovers(run.out);
  accepted();
  const Json changed = changes(begun->state, state);
  if (changed.items().empty()) return;
  state.changes.push_back({state.step, changed});
  save_trainer_state(begun->folder, state);  // from now on the plan, wherever the run ends
}

}  // namespace retnet
