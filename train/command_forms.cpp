#include <memory>

#include "retnet/compare_forms.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/memory_need.h"
#include "train/output.h"

namespace retnet {
namespace {

struct Given {
  std::string model;
  CompareOptions compare;
  std::int64_t seed = 1;
  std::vector<Override> config;
};

struct Column {
  Dtype dtype;
  std::vector<FormDifference> differences;
};

Config retention_config(const Given& given) {
  Config config;
  config.key_width = 64, config.value_width = 96;  // dk 16 and dv 24 with 4 heads: different on purpose
  apply(given.config, config);
  try {
    config.validate();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return config;
}

std::string comparison_table(const std::vector<Column>& columns) {
  std::vector<std::vector<std::string>> rows(2);
  rows[0].push_back(""), rows[1].push_back("");
  for (const FormDifference& difference : columns[0].differences) rows.push_back({difference.name});
  rows.push_back({"allowed"});
  for (const Column& column : columns) {
    rows[0].insert(rows[0].end(), {std::string(name(column.dtype)), "", ""});
    rows[1].insert(rows[1].end(), {"outputs", "state", "gradients"});
    for (std::size_t i = 0; i < column.differences.size(); ++i)
      for (const double value :
           {column.differences[i].outputs, column.differences[i].state, column.differences[i].gradients})
        rows[i + 2].push_back(formatted("%.1e", value));
    for (int i = 0; i < 3; ++i) rows.back().push_back(formatted("%.0e", form_bound(column.dtype)));
  }
  return table(rows);
}

// One line, and whether all is within the bounds. A NaN is not.
bool verdict(const std::vector<Column>& columns, std::string& line) {
  for (const Column& column : columns)
    for (const FormDifference& difference : column.differences)
      if (!(difference.worst() <= form_bound(column.dtype))) {
        line = std::string("the forms differ: ") + difference.name + " in " + name(column.dtype) + " by " +
               number_text(difference.worst()) + ", allowed is " + number_text(form_bound(column.dtype));
        return false;
      }
  line = "the forms agree";
  return true;
}

// The gradients of the recurrent and the composed forms need what they have computed at every step.
void require_room(const Config& config, const CompareOptions& options, bool model) {
  if (options.device == Device::cpu)
    require_memory("to compare the forms on " + with_commas(options.length) + " steps",
                   comparison_bytes(config, options, model), "use a smaller --length, --batch or --handoffs");
}

std::vector<Column> compare_dtypes(const Given& given, std::string& subject) {
  const CompareOptions& options = given.compare;
  if (given.model.empty()) {
    const Config config = retention_config(given);
    std::ostringstream text;
    text << "retention on random numbers: " << config.heads << " heads, dk " << config.dk() << ", dv "
         << config.dv();
    subject = text.str();
    require_room(config, options, false);
    return {{Dtype::f64, compare_retention(config, Dtype::f64, options)},
            {Dtype::f32, compare_retention(config, Dtype::f32, options)}};
  }
  if (!given.config.empty())
    throw UsageError(flag_name(given.config[0].key) + " does not go with --model, which brings its own");
  TrainedModel trained = load_trained(given.model);
  RetNet& model = trained.model;
  model.to(given.compare.device);
  subject = printable(trained.folder) + " on random tokens";
  require_room(model.config(), options, true);
  RetNet f64 = converted(model, Dtype::f64), f32 = converted(model, Dtype::f32);
  return {{Dtype::f64, compare_model(f64, options)}, {Dtype::f32, compare_model(f32, options)}};
}

int run(Given& given) {
  given.compare.seed = static_cast<std::uint64_t>(given.seed);
  try {
    given.compare.validate();
  } catch (const Error& error) {
    throw UsageError(std::string("--") + error.what());
  }
  require_device(given.compare.device);
  std::string subject, line;
  const std::vector<Column> columns = compare_dtypes(given, subject);
  const CompareOptions& options = given.compare;
  std::ostringstream out;
  out << subject << "\n"
      << options.batch << " sequences of " << options.length << " steps; chunks of " << options.chunk << "; "
      << options.handoffs << " random ways to hand the state from form to form\n"
      << "largest relative difference from the parallel form\n\n"
      << comparison_table(columns) << "\n";
  const bool agree = verdict(columns, line);
  if (agree) {
    print(out.str() + line + "\n");
    return 0;
  }
  print(out.str());
  fail("law 1", line);
}

}  // namespace

Command forms_command() {
  const auto given = std::make_shared<Given>();
  Command command{"forms", "shows how far the three forms of retention are apart", {}, {}, {}, {}};
  command.description =
      "Runs the parallel, the recurrent and the chunkwise form, and sequences cut at random into pieces in "
      "random forms that hand the state on. Compares outputs, final state and gradients in f64 and f32. "
      "Exit code 1 when they differ by more than rounding.";
  command.examples = {"retnet forms", "retnet forms --heads 8 --key-width 128 --length 300 --chunk 7",
                      "retnet forms --model runs/first"};
  command.add("--model", "DIR", given->model, "a run or a checkpoint: compare the whole model");
  command.add("--batch", "N", given->compare.batch, "sequences");
  command.add("--length", "N", given->compare.length, "steps of each");
  command.add("--chunk", "N", given->compare.chunk, "chunk length of the chunkwise form");
  command.add("--handoffs", "N", given->compare.handoffs, "random ways to cut the sequence");
  command.add("--seed", "N", given->seed, "of the data and of the cuts");
  command.add_device(given->compare.device);
  command.add_threads();
  Config shown;
  shown.key_width = 64, shown.value_width = 96;
  add_fields(command, "retention, without --model", shown, given->config,
             {"heads", "key_width", "value_width", "rotation", "gamma", "gammas", "score_norm",
              "score_norm_gradient"});
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
