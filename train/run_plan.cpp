#include "train/run_plan.h"

#include <algorithm>
#include <iostream>

#include "tensor/stream.h"
#include "tensor/text.h"
#include "train/bundled_text.h"
#include "train/presets.h"
#include "train/run_begin.h"

namespace retnet {
namespace {

constexpr std::int64_t kMostConfig = 1 << 20;  // bytes

/// A run, and the names of the fields that somebody gave.
struct Asked {
  Run run;
  std::vector<std::string> names;

  bool has(const std::string& name) const {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
};

/// The members of `json`, at the top or in "config" and "settings", as those of one object.
void collect(const Json& json, const std::string& source, bool nested, Json& fields) {
  for (const Json::Member& member : json.items(source)) {
    if (!nested && member.value.is_object() && (member.key == "config" || member.key == "settings")) {
      collect(member.value, source, true, fields);
      continue;
    }
    require(fields.find(member.key) == nullptr, source.c_str(), quote(member.key), " is given twice");
    fields.set(member.key, member.value);
  }
}

/// The fields that nobody asked for become those of `own`.
template <class S>
void keep_own(S& fields, const S& own, const Asked& asked) {
  const Json all = fields_to_json(own);
  Json kept = Json::object();
  for (const Json::Member& member : all.items())
    if (!asked.has(member.key)) kept.set(member.key, member.value);
  fields_from_json(fields, kept, "run");
}

/// The widths of the paper's block that nobody gave, after a d_model that somebody did: keys as wide as the
/// residual stream, values and the feed-forward network twice as wide. Unless they were given, micro_batch
/// suits the batch and window, and the warm-up the steps.
void derive(Asked& asked, const std::string& preset) {
  Config& config = asked.run.config;
  if (asked.has("d_model")) {
    if (!asked.has("key_width")) config.key_width = config.d_model;
    if (!asked.has("value_width")) config.value_width = 2 * config.d_model;
    if (!asked.has("ffn_width")) config.ffn_width = 2 * config.d_model;
  }
  TrainSettings& settings = asked.run.settings;
  if (!asked.has("micro_batch")) settings.micro_batch = usual_micro_batch(settings, asked.run.device);
  // Of the text inside the program whole files are held out.
  if (!asked.has("held_out") && asked.run.data == std::vector<std::string>{"bundled"})
    settings.held_out = bundled_held_out();
  if (!asked.has("warmup")) settings.warmup = usual_warmup(preset_settings(preset), settings.steps);
}

/// The run as if it were new, and as if its weights were drawn.
Asked ask(const RunRequest& request) {
  Asked asked;
  Run& run = asked.run;
  run.resume = request.resume || request.extend, run.extend = request.extend;
  run.overwrite = request.overwrite && !run.resume;
  run.quiet = request.quiet, run.device = request.device, run.graphs = request.graphs;
  run.out = request.folder();
  run.data = !request.data.empty() ? request.data : std::vector<std::string>{"bundled"};
  run.config = preset(request.base());
  run.settings = preset_settings(request.base());
  if (!request.config_file.empty()) asked.names = read_config_file(request.config_file, run);
  apply(request.config, run.config);
  apply(request.settings, run.settings);
  for (const auto* flags : {&request.config, &request.settings})
    for (const Override& flag : *flags) asked.names.push_back(flag.key);
  derive(asked, request.base());
  if (!request.preset.empty())
    for (const std::string& name : field_names(run.config)) asked.names.push_back(name);
  return asked;
}

/// @throws Error unless a run was begun from the weights that --init-from names now
void require_same_weights(const std::string& given, const BegunRun& begun, const std::string& out) {
  const std::optional<InitialWeights>& own = begun.state.init_from;
  if (own && is_of(*own, given)) return;
  fail(printable(out).c_str(), "the run was begun from ",
       own ? "the weights in " + printable(own->path) : "weights that were drawn", ", got --init-from ",
       printable(given), "; leave it as it was, or begin a run in another folder");
}

/// The run that goes on. @throws Error when the request disagrees with it
Run go_on(const RunRequest& request, Asked asked, const BegunRun& begun) {
  Run& run = asked.run;
  keep_own(run.config, begun.config, asked);
  keep_own(run.settings, begun.state.settings, asked);
  if (request.data.empty()) run.data.clear();
  if (!request.init_from.empty()) require_same_weights(request.init_from, begun, run.out);
  run.init_from = begun.state.init_from;
  // Which data were given is seen when they are read.
  TrainerState state = begun.state;
  state.settings = run.settings;
  require_same_run(begun, run, state);
  return run;
}

Run begin_anew(const RunRequest& request, Asked asked) {
  Run& run = asked.run;
  if (request.init_from.empty()) return run;
  run.init_from = initial_weights(request.init_from);
  const std::string file = run.init_from->folder + "/config.json";
  const Config own = config_from_json(read_json(file), printable(file));
  keep_own(run.config, own, asked);
  require_same_config(own, run.config, request.init_from);
  return run;
}

Run agreed(const RunRequest& request, const Asked& asked, const std::optional<BegunRun>& begun) {
  if (!begun) return begin_anew(request, asked);
  if (begun->state.step > 0) return go_on(request, asked, *begun);
  try {
    return go_on(request, asked, *begun);
  } catch (const Error&) {
    std::cerr << "another run was begun in " << printable(asked.run.out)
              << ", of which no step is saved; beginning anew" << std::endl;
    return begin_anew(request, asked);
  }
}

}  // namespace

std::vector<std::string> read_config_file(const std::string& path, Run& run) {
  const std::string source = input_name(path);
  Json fields = Json::object(), config = Json::object(), settings = Json::object();
  collect(Json::parse(read_input(path, kMostConfig), source), source, false, fields);
  const std::vector<std::string> of_model = field_names(run.config), of_training = field_names(run.settings);
  std::vector<std::string> known = of_model, names;
  known.insert(known.end(), of_training.begin(), of_training.end());
  for (const Json::Member& member : fields.items()) {
    require(std::find(known.begin(), known.end(), member.key) != known.end(), source.c_str(),
            "unknown field ", quote(member.key), did_you_mean(member.key, known));
    const bool model = std::find(of_model.begin(), of_model.end(), member.key) != of_model.end();
    (model ? config : settings).set(member.key, member.value);
    names.push_back(member.key);
  }
  fields_from_json(run.config, config, source);
  fields_from_json(run.settings, settings, source);
  return names;
}

Run plan_run(const RunRequest& request, const std::optional<BegunRun>& begun) {
  const Run run = agreed(request, ask(request), begun);
  // Without a flag the file is at fault, and not how the program was called.
  const auto check = [&](const std::vector<Override>& flags, const auto& body) {
    try {
      body();
    } catch (const Error& error) {
      if (flags.empty() && !request.config_file.empty()) throw;
      throw UsageError(error.what());
    }
  };
  check(request.config, [&] {
    run.config.validate();
    require(run.config.vocab == 256, "config", "vocab must be 256, because tokens are bytes, got ",
            run.config.vocab);
  });
  check(request.settings, [&] { run.settings.validate(); });
  return run;
}

}  // namespace retnet
