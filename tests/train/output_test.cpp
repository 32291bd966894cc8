// Numbers as they are shown to people.

#include "train/output.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>
#include <thread>

#include "kernels/parallel.h"
#include "retnet/model.h"
#include "tensor/file.h"
#include "tensor/text.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/bench_report.h"
#include "train/evaluate.h"

namespace retnet {
namespace {

TEST_CASE("whole numbers have commas, bytes a unit", "[train][numbers]") {
  CHECK(with_commas(0) == "0");
  CHECK(with_commas(-7) == "-7");
  CHECK(with_commas(999) == "999");
  CHECK(with_commas(-999) == "-999");
  CHECK(with_commas(1000) == "1,000");
  CHECK(with_commas(-1000) == "-1,000");
  CHECK(with_commas(863744) == "863,744");
  CHECK(with_commas(1234567890) == "1,234,567,890");
  CHECK(with_commas(INT64_MIN) == "-9,223,372,036,854,775,808");
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1024) == "1.0 KiB");
  CHECK(human_bytes(135168) == "132.0 KiB");
  CHECK(human_bytes(3 << 20) == "3.0 MiB");
  CHECK(human_bytes(std::int64_t{5} << 29) == "2.5 GiB");
  CHECK(human_bytes(std::int64_t{3} << 50) == "3.0 PiB");
}

TEST_CASE("numbers are the shortest text that reads back, and NaN has no sign", "[train][numbers]") {
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(1.0) == "1");
  CHECK(number_text(1.0000001) == "1.0000001");
  CHECK(number_text(1.0 / 3) == "0.3333333333333333");
  CHECK(number_text(1.0F / 3) == "0.33333334");
  CHECK(number_text(1e30) == "1e+30");
  CHECK(number_text(-0.0) == "-0");
  CHECK(number_text(5e-324) == "5e-324");
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(number_text(inf) == "inf");
  CHECK(number_text(-inf) == "-inf");
  for (const double nan : {std::nan(""), -std::nan("")}) {
    CHECK(number_text(nan) == "nan");
    CHECK(number_text(static_cast<float>(nan)) == "nan");
    CHECK(formatted("%.3f", nan) == "nan");
    CHECK(formatted("%.1e", nan) == "nan");
  }
  CHECK(formatted("%.1f%%", 12.25) == "12.2%");
  CHECK(formatted("%.3f", std::numeric_limits<double>::max()).size() == 313);
  CHECK(test::error_message([] { fail("op", "got ", 1.0000001, " and ", -std::nan(""), " and ", 0.1F); }) ==
        "op: got 1.0000001 and nan and 0.1");
}

TEST_CASE("a table's columns stand below each other whatever the letters", "[train][numbers]") {
  CHECK(table({{"name", "n"}, {"\xc3\xbc", "10"}, {"abcdef", "7"}}) ==
        "name     n\n"
        "\xc3\xbc       10\n"
        "abcdef   7\n");
}

TEST_CASE("names cannot act on the terminal", "[train][numbers]") {
  CHECK(printable("a\nb\t\x1b[31m") == "a\\nb\\t\\x1b[31m");
  CHECK(printable("gr\xc3\xbc\xc3\x9f \xe2\x80\x9cq\xe2\x80\x9d \xff") ==
        "gr\xc3\xbc\xc3\x9f \xe2\x80\x9cq\xe2\x80\x9d \xff");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\xc2\\x9b31m");  // CSI in one character
  CHECK(printable("\xe2\x80\xae"
                  "cba") ==
        "\\xe2\\x80\\xae"
        "cba");  // right to left from here
  CHECK(printable("\xc2") == "\xc2");
  CHECK(printable("\xe2\x80") == "\xe2\x80");
}

TEST_CASE("bits are nats / ln 2, perplexity is e^nats", "[train][numbers]") {
  const auto near = [](double a, double b) { return std::abs(a - b) < 1e-12 * std::abs(b); };
  CHECK(near(Evaluation{std::log(256.0), 1}.bits(), 8));
  CHECK(near(Evaluation{1, 1}.bits(), 1.4426950408889634));
  CHECK(Evaluation{0, 1}.bits() == 0);
  CHECK(near(Evaluation{std::log(256.0), 1}.perplexity(), 256));
  CHECK(near(Evaluation{1, 1}.perplexity(), 2.718281828459045));
}

// Multiply-adds of one token of one layer's retention, counted one by one, with the token in the middle of
// its chunk: it meets (chunk + 1) / 2 keys on average.
double counted_retention(const Config& c, std::int64_t chunk) {
  double multiply_adds = 0;
  for (std::int64_t h = 0; h < c.heads; ++h) {
    if (chunk > 0) {
      double keys = 0;
      for (std::int64_t i = 0; i < chunk; ++i) keys += static_cast<double>(i + 1);
      keys /= static_cast<double>(chunk);
      multiply_adds += keys * static_cast<double>(c.dk() + c.dv());  // q . k, and the weight times v
    }
    for (std::int64_t i = 0; i < c.dk(); ++i)
      for (std::int64_t j = 0; j < c.dv(); ++j) multiply_adds += 2;  // k^T v into the state, q S out of it
  }
  return multiply_adds;
}

TEST_CASE("operations of a forward pass are those of its products", "[train][numbers]") {
  Config c;
  c.vocab = 11, c.d_model = 6, c.layers = 3, c.heads = 2;
  c.key_width = 8, c.value_width = 12, c.ffn_width = 10;
  for (const FfnKind ffn : {FfnKind::mlp, FfnKind::glu})
    for (const std::int64_t chunk : {0, 1, 7, 64}) {
      c.ffn = ffn;
      CHECK(std::abs(retention_flops(c, chunk) - 2 * counted_retention(c, chunk)) < 1e-9);
      RetNet model(c);
      double weights = 0;  // every matrix but the embedding multiplies the token once
      for (const Parameter& parameter : model.parameters())
        if (parameter.variable.value().rank() == 2 && parameter.name != "embed.weight")
          weights += static_cast<double>(parameter.variable.size());
      const double expected = 2 * (weights + 3 * counted_retention(c, chunk));
      CAPTURE(chunk, static_cast<int>(ffn));
      CHECK(std::abs(forward_flops(c, chunk) - expected) < 1e-9);
    }
}

TEST_CASE("measurements take the place of measurements, and of nothing else", "[train][bench]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "speed.jsonl";
  const std::string own = R"({"what":"machine","case":"peak","value":1.5,"unit":"GFLOP/s","threads":2})";
  const auto save = [&](const std::string& text) {
    write_file_atomic(path, text);
    return test::error_message([&] { Report(true, path, Device::cpu); });
  };
  for (const std::string& text : {std::string(), own + "\n", own + "\n" + own + "\n"}) {
    CHECK(save(text) == "no error");
    CHECK(read_file(path) == text);  // until the new ones are complete
  }
  for (const std::string& text :
       {std::string("dear diary\n"), std::string("\n"), std::string("{}"), own + "\nand a note\n",
        std::string(R"({"step":1,"loss":5.5})"), std::string("[\"what\", \"case\", \"value\", \"unit\"]"),
        std::string(R"({"what":"machine","case":"peak","unit":"GFLOP/s"})")}) {
    CAPTURE(text);
    CHECK(save(text).find(" holds something else than measurements") != std::string::npos);
    CHECK(read_file(path) == text);
  }
  const auto refusal = [](const std::string& other) {
    return test::error_message([&] { Report(true, other, Device::cpu); });
  };
  CHECK(refusal(folder.path()) == folder.path() + ": cannot write: Is a directory");
  CHECK(refusal("/dev/null") == "/dev/null: cannot write: not a regular file");
}

TEST_CASE("the limit of a machine is the slower of its arithmetic and its memory", "[train][numbers]") {
  Machine machine;
  machine.threads = 0;                          // as a GPU: nothing is shared out
  CHECK(machine.limit(100, 100).seconds == 0);  // not measured
  machine.flops = 1000;
  machine.levels = {{"L2", 50, 500, 400, 0}, {"memory", 1e9, 100, 80, 0}};
  CHECK(machine.limit(0, 100).seconds == 0);  // nothing to count
  CHECK(machine.limit(2000, 50).seconds == 2);
  CHECK(machine.limit(2000, 50).name == "the FMA peak");
  CHECK(machine.limit(10, 50).seconds == 0.1);
  CHECK(machine.limit(10, 50).name == "L2 reads");
  CHECK(machine.limit(10, 51).seconds == 0.51);
  CHECK(machine.limit(10, 51).name == "memory reads");
  CHECK(machine.limit(10, 1e10).seconds == 1e8);
  machine.levels[1].copy = 50;
  CHECK(machine.limit(10, 100).seconds == 2);
  CHECK(machine.limit(10, 100).name == "memory copies");
  machine.threads = 2 * kernels::num_threads();  // half of what was measured is in use
  CHECK(machine.limit(2000, 50).seconds == 4);
  CHECK(machine.limit(10, 50).seconds == 0.2);
}

TEST_CASE("a share that is more than all is shown as unknown, with the reason", "[train][numbers]") {
  test::TemporaryFolder folder;
  Machine machine;
  machine.threads = 0, machine.flops = 1000;
  machine.levels = {{"memory", 1e9, 100, 80, 0}};
  Report report(true, folder / "lines.jsonl", Device::cpu);
  report.set_machine(machine);
  for (const double seconds : {2.0, 0.96, 0.9})  // the arithmetic takes 1 s at the peak
    report.add({"matmul", "case", "s", seconds, seconds, 1000, 0});
  report.finish();
  std::vector<Json> lines;
  std::istringstream text(test::contents(folder / "lines.jsonl"));
  for (std::string line; std::getline(text, line);)
    if (line.find("\"case\":\"case\"") != line.npos) lines.push_back(Json::parse(line, "line"));
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].at("share").as_double() == 0.5);
  CHECK(std::abs(lines[1].at("share").as_double() - 1 / 0.96) < 1e-12);
  CHECK(lines[2].find("share") == nullptr);
  CHECK(lines[2].at("share_unknown").as_string() == "faster than the FMA peak as measured");
}

TEST_CASE("a machine's rates only become better with more samples", "[train][numbers]") {
  MachineMeter meter;
  meter.sample(0.02);
  const Machine before = meter.machine();
  CHECK(before.flops > 1e8);
  for (const MemoryLevel& level : before.levels) CHECK((level.read > 1e7 && level.triad > 1e7));
  meter.sample(0.001, "the FMA peak");
  CHECK(meter.machine().flops >= before.flops);
  for (std::size_t i = 0; i < before.levels.size(); ++i) {
    CHECK(meter.machine().levels[i].read == before.levels[i].read);
    CHECK(meter.machine().levels[i].triad == before.levels[i].triad);
  }
}

TEST_CASE("the time in which threads wait for a processor is what the system says", "[train][numbers]") {
  test::TemporaryFolder root;
  CHECK(LoadWatch(root.path()).waiting() < 0);  // it says nothing
  std::filesystem::create_directories(root / "proc/pressure");
  const auto say = [&](std::int64_t total) {
    test::write_text(root / "proc/pressure/cpu",
                     "some avg10=97.14 avg60=94.47 avg300=94.59 total=" + std::to_string(total) +
                         "\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  };
  say(5'000'000);
  const LoadWatch watch(root.path());
  CHECK(watch.waiting() == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  say(5'050'000);
  const double waiting = watch.waiting();  // 0.05 s of 0.1 s, or of more on a busy machine
  CHECK((waiting > 0 && waiting <= 0.5));
  say(500'000'000);
  CHECK(watch.waiting() == 1);
}

}  // namespace
}  // namespace retnet
