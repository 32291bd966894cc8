#include <algorithm>
#include <chrono>
#include <memory>

#include "kernels/parallel.h"
#include "retnet/generate.h"
#include "train/build_info.h"
#include "train/commands.h"
#include "train/optimizer.h"
#include "train/output.h"
#include "train/presets.h"
#include "train/ways.h"

namespace retnet {
namespace {

struct Given {
  std::string preset = "tiny";
  bool json = false, quick = false;
};

// One number: what was measured, in which case, how much per second.
struct Measurement {
  std::string what, which, unit;
  double value = 0;
};

using Clock = std::chrono::steady_clock;

// Median time of one call in seconds, after one that is not counted. Measures for about `budget` seconds.
template <class Body>
double median_seconds(double budget, Body&& body) {
  body();
  std::vector<double> times;
  double total = 0;
  while (times.size() < 3 || (total < budget && times.size() < 1000)) {
    const auto begin = Clock::now();
    body();
    times.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    total += times.back();
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

Tensor random_tokens(std::int64_t batch, std::int64_t length, std::uint64_t stream) {
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(batch * length); ++i)
    tokens.push_back(static_cast<std::int32_t>(kernels::random_bits({1, stream}, i) % 256));
  return Tensor::from(tokens, {batch, length});
}

// Reports each number as it comes: a line of JSON, or a row of a table.
class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void heading(const std::string& text) const {
    if (!json_) print("\n" + text + "\n");
  }

  void add(const Measurement& m) const {
    if (json_) {
      const Json line = Json::object({{"what", m.what},
                                      {"case", m.which},
                                      {"value", m.value},
                                      {"unit", m.unit},
                                      {"threads", kernels::num_threads()},
                                      {"instructions", instruction_set()}});
      print(line.dump() + "\n");
      return;
    }
    std::string which = "  " + m.which;
    which.resize(std::max<std::size_t>(which.size() + 1, 42), ' ');
    std::string value =
        m.value < 1000 ? formatted("%.1f", m.value) : with_commas(static_cast<std::int64_t>(m.value));
    value.insert(0, value.size() < 12 ? 12 - value.size() : 0, ' ');
    print(which + value + " " + m.unit + "\n");
  }

 private:
  bool json_;
};

void bench_matmul(const Report& report, double budget) {
  struct Case {
    std::int64_t m, n, k;
    bool transpose_b;
  };
  report.heading("matrix products, f32");
  // Squares, and the three shapes of a linear layer: tokens x weights, few columns, many columns.
  for (const Case& c : {Case{256, 256, 256, false}, Case{512, 512, 512, false}, Case{1024, 1024, 1024, false},
                        Case{1024, 1024, 1024, true}, Case{4096, 128, 128, true}, Case{4096, 256, 128, true},
                        Case{1, 1024, 1024, true}}) {
    const Tensor a = rand_normal({c.m, c.k}, {1, 1});
    const Tensor b = c.transpose_b ? rand_normal({c.n, c.k}, {1, 2}) : rand_normal({c.k, c.n}, {1, 2});
    const double seconds = median_seconds(budget, [&] { matmul(a, b, false, c.transpose_b); });
    std::ostringstream which;
    which << c.m << " x " << c.k << " times " << c.k << " x " << c.n << (c.transpose_b ? " (B^T)" : "");
    report.add({"matmul", which.str(), "GFLOP/s", 2e-9 * static_cast<double>(c.m * c.n * c.k) / seconds});
  }
}

void bench_training(const Report& report, const Given& given, double budget) {
  const TrainSettings settings = preset_settings(given.preset);
  RetNet model(preset(given.preset));
  Optimizer optimizer(model.parameters());
  const std::int64_t batch = given.quick ? std::min<std::int64_t>(4, settings.batch) : settings.batch;
  const Tensor tokens = random_tokens(batch, settings.window, 1);
  const Tensor targets = random_tokens(batch, settings.window, 2);
  std::ostringstream heading;
  heading << "training steps of preset " << given.preset << ", batch " << batch << ", window "
          << settings.window;
  report.heading(heading.str());
  for (const Way& way : kWays) {
    if (way.form == Form::recurrent) continue;  // nobody trains in it
    ForwardOptions options;
    options.form = way.options();
    std::int64_t step = 0;
    const double seconds = median_seconds(budget, [&] {
      optimizer.zero_grad();
      backward(model.loss(tokens, targets, options), Graph::release);
      ++step;
      optimizer.step(settings, step, optimizer.gradient_norm(step));
    });
    const auto count = static_cast<double>(batch * settings.window);
    report.add({"training", way.name, "tokens/s", count / seconds});
  }
}

void bench_forward(const Report& report, const Given& given, double budget) {
  const NoGrad no_grad;
  const RetNet model(preset(given.preset));
  report.heading("forward pass of preset " + given.preset + ", one sequence");
  for (const std::int64_t length :
       given.quick ? std::vector<std::int64_t>{256} : std::vector<std::int64_t>{256, 1024, 2048}) {
    const Tensor tokens = random_tokens(1, length, 3);
    for (const Way& way : kWays) {
      ForwardOptions options;
      options.form = way.options();
      const double seconds = median_seconds(budget, [&] { model.forward(tokens, options); });
      const std::string name = way.name;
      report.add({"forward", name + ", " + std::to_string(length) + " tokens", "tokens/s",
                  static_cast<double>(length) / seconds});
    }
  }
}

void bench_decoding(const Report& report, const Given& given, double budget) {
  const RetNet model(preset(given.preset));
  report.heading("decoding with preset " + given.preset);
  constexpr std::int64_t kTokens = 64;
  const double seconds =
      median_seconds(budget, [&] { generate(model, {10}, kTokens, {}, [](std::int32_t) { return true; }); });
  report.add({"decoding", "one sequence", "tokens/s", static_cast<double>(kTokens) / seconds});
}

int run(const Given& given) {
  const double budget = given.quick ? 0.1 : 1;
  const Report report(given.json);
  if (!given.json)
    print("medians, with " + std::to_string(kernels::num_threads()) +
          (kernels::num_threads() == 1 ? " thread and " : " threads and ") + instruction_set() + "\n");
  bench_matmul(report, budget);
  bench_training(report, given, 4 * budget);
  bench_forward(report, given, budget);
  bench_decoding(report, given, budget);
  return 0;
}

}  // namespace

Command bench_command() {
  const auto given = std::make_shared<Given>();
  Command command{"bench", "measures speed on this machine", {}, {}, {}, {}};
  command.description = "Matrix products, training steps, forward passes in each form, and decoding.";
  command.examples = {"retnet bench --quick", "retnet bench --preset small --json > speed.jsonl"};
  Option& preset_option = command.add("--preset", "NAME", given->preset, "sizes: " + joined(preset_names()));
  preset_option.set = [given](const std::string& text) {
    preset(text);
    given->preset = text;
  };
  command.add_switch("--quick", given->quick, "a few seconds, less exact");
  command.add_switch("--json", given->json, "one JSON object per line");
  command.add_threads();
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
