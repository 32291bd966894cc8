#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "kernels/parallel.h"
#include "retnet/model.h"
#include "tensor/storage.h"
#include "train/bench_sections.h"
#include "train/bench_training.h"
#include "train/presets.h"

namespace retnet {
namespace {

struct Peak {
  double process = 0;  // bytes of the whole process in memory
  double tensors = 0;  // bytes of its tensors
};

// Runs `body` in a copy of this process, whose memory the system accounts for by itself.
Peak peak_of(const std::function<void()>& body) {
  int ends[2];
  require(pipe(ends) == 0, "bench", "cannot open a pipe");
  const pid_t child = fork();
  if (child < 0) {
    close(ends[0]), close(ends[1]);
    fail("bench", "cannot start a process to measure memory in");
  }
  if (child == 0) {
    int code = 1;
    try {
      body();
      const double tensors = static_cast<double>(memory_stats().peak);
      code = write(ends[1], &tensors, sizeof tensors) == sizeof tensors ? 0 : 1;
    } catch (const std::exception&) {
    }
    _exit(code);
  }
  close(ends[1]);
  Peak peak;
  const bool told = read(ends[0], &peak.tensors, sizeof peak.tensors) == sizeof peak.tensors;
  close(ends[0]);
  int status = 0;
  rusage usage{};
  require(wait4(child, &status, 0, &usage) == child && told && status == 0, "bench",
          "the process that memory was measured in failed; is there enough of it?");
#if defined(__APPLE__)
  peak.process = static_cast<double>(usage.ru_maxrss);
#else
  peak.process = 1024 * static_cast<double>(usage.ru_maxrss);
#endif
  return peak;
}

// A GPU's memory is that of its tensors, which this process counts.
Peak peak_on_gpu(const std::function<void()>& body) {
  release_cached_memory(Device::hip);
  reset_peak_memory(Device::hip);
  body();
  return {0, static_cast<double>(memory_stats(Device::hip).peak)};
}

void train(const std::string& name, const Way& way, Device device) {
  TrainingSteps steps(name, way, device);
  for (int step = 0; step < 2; ++step) steps.run();  // the second one has the moments of the first
}

void read_text(const std::string& name, const Way& way, std::int64_t length, Device device) {
  const NoGrad no_grad;
  const Config config = preset(name);
  ForwardOptions options;
  options.form = way.options();
  RetNet model(config);
  model.to(device);
  model.forward(random_tokens(config, 1, length, 3), options);
}

std::vector<std::int64_t> lengths(const BenchOptions& options) {
  if (!options.lengths.empty()) return options.lengths;
  return options.quick ? std::vector<std::int64_t>{256} : std::vector<std::int64_t>{1024, 4096};
}

}  // namespace

void bench_memory(Report& report, const BenchOptions& options) {
  const auto add = [&](const std::string& which, const Peak& peak) {
    constexpr double kMiB = 1 << 20;
    if (peak.process > 0) report.add({"memory", which + ", process", "MiB", peak.process / kMiB});
    report.add({"memory", which + ", tensors", "MiB", peak.tensors / kMiB});
  };
  const auto peak = options.device == Device::cpu ? peak_of : peak_on_gpu;
  for (const std::string& name : options.presets) {
    const TrainSettings settings = preset_settings(name, options.device);
    report.heading("memory with preset " + name + ": training (batch " + std::to_string(settings.batch) +
                   ", window " + std::to_string(settings.window) + "), and a forward pass of N tokens");
    for (const Way& way : kWays) {
      if (way.form == Form::recurrent || !wanted(options, way)) continue;
      if (!options.quick)
        add(name + ", " + way.name + ", training", peak([&] { train(name, way, options.device); }));
      for (const std::int64_t length : lengths(options))
        add(name + ", " + way.name + ", N " + std::to_string(length),
            peak([&] { read_text(name, way, length, options.device); }));
    }
  }
}

}  // namespace retnet
