#include <algorithm>
#include <memory>

#include "kernels/parallel.h"
#include "train/bench_sections.h"
#include "train/commands.h"
#include "train/output.h"

namespace retnet {
namespace {

struct Section {
  const char* name;
  void (*run)(Report& report, const BenchOptions& options);
};

// In the order in which they run: memory first, see there.
constexpr Section kSections[] = {{"memory", bench_memory},     {"matmul", bench_matmul},
                                 {"steps", bench_steps},       {"retention", bench_retention},
                                 {"training", bench_training}, {"forward", bench_forward},
                                 {"decode", bench_decoding},   {"rates", bench_rates}};

struct Given {
  std::vector<std::string> presets, forms, sections;
  std::vector<std::int64_t> lengths;
  std::string save;
  bool json = false, quick = false;
  Device device = Device::cpu;
};

template <class List>
std::vector<std::string> names(const List& list) {
  std::vector<std::string> result;
  for (const auto& element : list) result.push_back(element.name);
  return result;
}

// A value that is one of some names, given once for each that is wanted.
void add_names(Command& command, const std::string& flag, const std::vector<std::string>& known,
               std::vector<std::string>& list, const std::string& help, const std::string& fallback) {
  Option option{flag, "NAME", help + ": " + joined(known) + "; may be repeated", fallback, {}};
  option.repeatable = true;
  option.set = [flag, known, &list](const std::string& text) {
    list.push_back(known[choice_index(flag, text, known)]);
  };
  command.options.push_back(option);
}

void add_lengths(Command& command, std::vector<std::int64_t>& lengths) {
  Option option{"--length",
                "N",
                "tokens of the texts that are read, for memory and forward; may be repeated",
                "from 1024",
                {}};
  option.repeatable = true;
  option.set = [&lengths](const std::string& text) {
    std::int64_t length = 0;
    parse_field("--length", text, length);
    require(length >= 1 && length <= 1 << 24, "--length", "required 1 .. 16777216, got ", length);
    lengths.push_back(length);
  };
  command.options.push_back(option);
}

int run(const Given& given) {
  require_device(given.device);
  BenchOptions options{given.presets, given.forms,  given.lengths,
                       given.quick,   given.device, given.quick ? 0.02 : 1};
  if (options.presets.empty()) options.presets = {"tiny"};
  Report report(given.json, given.save, given.device);
  bool measured = false;
  for (const Section& section : kSections) {
    const bool named =
        std::find(given.sections.begin(), given.sections.end(), section.name) != given.sections.end();
    if (!named && (!given.sections.empty() || section.run == bench_rates)) continue;
    if (section.run != bench_memory && section.run != bench_rates && !measured) {
      const double budget = given.quick ? 0.2 : 2;
      if (given.device == Device::cpu) {
        auto meter = std::make_unique<MachineMeter>();
        meter->sample(budget);
        report.set_machine(std::move(meter));
      } else {
        report.set_machine(measure_gpu(budget));
      }
      measured = true;
    }
    section.run(report, options);
  }
  report.finish();
  return 0;
}

}  // namespace

Command bench_command() {
  const auto given = std::make_shared<Given>();
  Command command{"bench", "measures speed and memory on this machine", {}, {}, {}, {}};
  command.description =
      "Medians of matrix products, retention, training steps, forward passes and decoding, each with the "
      "share it reaches of what this machine can do at most: its peak of multiply-adds, or the rate at "
      "which memory is read, which are measured first. Memory is the peak of a process of its own; on a "
      "GPU, that of the tensors there.";
  command.examples = {"retnet bench --quick", "retnet bench --only training --preset tiny --preset small",
                      "retnet bench --only forward --form chunkwise --length 8192",
                      "retnet bench --json > speed.jsonl"};
  add_names(command, "--only", names(kSections), given->sections, "what to measure", "all but rates");
  add_names(command, "--preset", preset_names(), given->presets, "sizes", "tiny");
  add_names(command, "--form", names(kWays), given->forms, "ways to compute retention", "all");
  add_lengths(command, given->lengths);
  command.add_switch("--quick", given->quick, "a few seconds, less exact");
  command.add("--save", "FILE", given->save, "writes what --json prints to a file as well");
  command.add_switch("--json", given->json, "one JSON object per line");
  command.add_device(given->device);
  command.add_threads();
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
