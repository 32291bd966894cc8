// `retnet info`: of a run, a checkpoint, and safetensors files of anybody.
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <regex>

#include "retnet/model.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/output.h"

using namespace retnet::test;
namespace fs = std::filesystem;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

std::string with_length(const std::string& header) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header;
}

// As another program might write it: names and metadata of all kinds, dtypes that we do not have.
std::string foreign_file() {
  std::string data(30, '\0');
  const float numbers[] = {0.5F, -1.25F, 3};
  const std::uint16_t halves[] = {0x3c00, 0x7c00};
  std::memcpy(data.data(), numbers, 12);
  std::memcpy(data.data() + 12, halves, 4);
  data[16] = 5;  // an I64 of 5, then two bytes of F8 and four of a dtype that does not exist
  return with_length(R"({"__metadata__":{"format":"pt","note":"line\nfeed"},)"
                     R"("a\u001b[31mb\nc":{"dtype":"F32","shape":[3,1],"data_offsets":[0,12]},)"
                     R"("half":{"dtype":"F16","shape":[2],"data_offsets":[12,16]},)"
                     R"("count":{"dtype":"I64","shape":[],"data_offsets":[16,24]},)"
                     R"("eight":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[24,26]},)"
                     R"("later":{"dtype":"Z9","shape":[1000,1000],"data_offsets":[26,30]}})") +
         data;
}

struct Workplace : TemporaryFolder {
  Outcome run(const std::string& words) const { return retnet::test::run(path(), split_words(words)); }
  std::string text(const std::string& words) const {
    const Outcome outcome = run(words);
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    return outcome.out;
  }
  std::string problem(const std::string& words, int code, const std::string& message) const {
    return failure_problem(run(words), code, message);
  }
  void train_small() const {
    write_text(*this / "data.txt", sample_text(4000));
    REQUIRE(run("train --data data.txt --layers 1 --d-model 16 --heads 2 --key-width 16 --value-width 24 "
                "--ffn-width 16 --chunk 8 --window 16 --batch 2 --steps 2 --warmup 1 --quiet --out run")
                .code == 0);
  }
};

// The row of a tensor, its columns separated by one space.
std::string row_of(const std::string& text, const std::string& name) {
  const std::size_t end = text.find("  " + name + "\n");
  if (end == text.npos) return "no row";
  const std::size_t begin = text.rfind('\n', end) + 1;
  return std::regex_replace(text.substr(begin, end - begin), std::regex("  +"), "|");
}

}  // namespace

TEST_CASE("A safetensors file of anybody is listed", "[program][info]") {
  const Workplace place;
  write_text(place / "x.safetensors", foreign_file());
  const std::string text = place.text("info x.safetensors");
  INFO(text);
  CHECK(contains(text, "x.safetensors: 5 tensors, 30 bytes (30 B) from byte "));
  CHECK(contains(text, "\"format\": \"pt\"\n"));
  CHECK(contains(text, "\"note\": \"line\\nfeed\"\n"));
  CHECK(row_of(text, "a\\x1b[31mb\\nc") == "F32|[3, 1]|0|12|-1.25|3|0.75|1.74404|0");
  CHECK(row_of(text, "half") == "F16|[2]|12|16|1|1|1|0|1");
  CHECK(row_of(text, "count") == "I64|[]|16|24|5|5|5|0|0");
  CHECK(row_of(text, "eight") == "F8_E4M3|[2]|24|26|-|-|-|-|-");
  CHECK(row_of(text, "later") == "Z9|[1000, 1000]|26|30|-|-|-|-|-");
  for (const char c : text) CHECK((c == '\n' || static_cast<unsigned char>(c) >= 0x20));
  CHECK(contains(place.text("info ./x.safetensors"), "5 tensors"));

  write_text(place / "none.safetensors", with_length("{}"));
  CHECK(place.text("info none.safetensors") ==
        "none.safetensors: 0 tensors, 0 bytes (0 B) from byte 10 on\n\n");
  // Of no number at all there is no smallest one.
  write_text(place / "nan.safetensors",
             with_length(R"({"inf":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                         R"("none":{"dtype":"F32","shape":[0,3],"data_offsets":[2,2]}})") +
                 std::string("\0\x7c", 2));
  const std::string nan = place.text("info nan.safetensors");
  CHECK(row_of(nan, "inf") == "F16|[1]|0|2|-|-|-|-|1");
  CHECK(row_of(nan, "none") == "F32|[0, 3]|2|2|-|-|-|-|0");
  const std::string name(100'000, 'n');
  write_text(
      place / "long.safetensors",
      with_length("{\"" + name + R"(":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,2]}})") +
          "ab");
  const std::string row = row_of(place.text("info long.safetensors"), name);
  CHECK(row == "U8|[1, 1, 1, 1, 1, 1, 1, 1, .. 10 sizes]|0|2|97|98|97.5|0.5|0");
}

TEST_CASE("A folder is a run, a checkpoint, or safetensors files", "[program][info]") {
  const Workplace place;
  place.train_small();
  const std::string run = place.text("info run"), checkpoint = place.text("info run/step-000002");
  CHECK(run == checkpoint);
  CHECK(run == place.text("info --model run"));
  for (const char* part : {"model             run/step-000002\n", "half-life", "embed",
                           "run/step-000002/model.safetensors: ", "\"data_crc32\": "})
    CHECK(contains(run, part));
  CHECK(row_of(run, "embed.weight").rfind("F32|[256, 16]|0|16384|", 0) == 0);
  const std::string moments = place.text("info run/step-000002/optimizer.safetensors");
  CHECK(row_of(moments, "embed.weight.v").rfind("F32|[256, 16]|16384|32768|0|", 0) == 0);

  // Others have a config.json too, of another kind, and weights in several files.
  fs::create_directory(place / "other");
  write_text(place / "other/config.json", "{\"hidden_size\": 64}");
  write_text(place / "other/model.safetensors", foreign_file());
  write_text(place / "other/b.safetensors", with_length("{}"));
  const std::string files = place.text("info other");
  CHECK(files.find("other/b.safetensors: 0 tensors") < files.find("other/model.safetensors: 5 tensors"));
  CHECK(place.problem("info --model other", 1, "other/config.json") == "");

  CHECK(place.problem("info run --model run", 2, "either PATH or --model DIR") == "");
  CHECK(place.problem("info run run", 2, "PATH was given more than once") == "");
  CHECK(place.problem("info missing", 1, "missing") == "");
  CHECK(place.problem("info data.txt", 1, "data.txt: no safetensors file") == "");
  fs::create_directory(place / "empty");
  CHECK(place.problem("info empty", 1, "empty: holds no run, no checkpoint and no file *.safetensors") == "");
  mkfifo((place / "pipe").c_str(), 0600);
  CHECK(place.problem("info pipe", 1, "pipe: cannot read: not a regular file") == "");
}

TEST_CASE("A malformed or damaged file is refused by name, in a folder too", "[program][info]") {
  const Workplace place;
  fs::create_directory(place / "d");
  const std::string good = foreign_file();
  const auto refused = [&](const std::string& bytes, const std::string& message) {
    write_text(place / "d/x.safetensors", bytes);
    return place.problem("info d/x.safetensors", 1, "d/x.safetensors: " + message) +
           place.problem("info d", 1, "d/x.safetensors: " + message);
  };
  CHECK(refused(good.substr(0, 5), "no safetensors file: 5 bytes") == "");
  CHECK(refused(good.substr(0, good.size() - 1), "tensor \"later\": data_offsets [26, 30] lie beyond") == "");
  CHECK(refused(good + "x", "1 bytes after the last tensor") == "");
  CHECK(refused("PK\3\4 a zip as torch.save writes it", "no safetensors file") == "");
  place.train_small();
  const std::string weights = place / "run/step-000002/model.safetensors";
  std::string bytes = contents(weights);
  bytes[bytes.size() - 5] = static_cast<char>(bytes[bytes.size() - 5] ^ 1);
  CHECK(refused(bytes, "the file is damaged: the checksum") == "");
}

TEST_CASE("What info says of a model's sizes is what they are", "[program][info][numbers]") {
  const Workplace place;
  place.train_small();
  const std::string text = place.text("info run");
  retnet::RetNet model = retnet::load_model(place / "run/step-000002");
  std::int64_t parameters = 0, state = 0;
  for (const retnet::Parameter& parameter : model.parameters()) parameters += parameter.variable.size();
  for (const retnet::RetentionState& layer : model.initial_state(1).layers)
    state += 4 * (layer.S.size() + layer.z.size()) + static_cast<std::int64_t>(8 * layer.s.size());
  CHECK(state == 1 * (2 * (8 * 12 + 8) * 4 + 2 * 8));
  CHECK(contains(text, "parameters        " + retnet::with_commas(parameters) + " in f32\n"));
  CHECK(contains(text, "state             " + retnet::human_bytes(state) + " per sequence"));
  // Shares of the weights: the embedding's, and all together.
  std::smatch found;
  REQUIRE(std::regex_search(text, found, std::regex("embed +4,096 +([0-9.]+)%")));
  CHECK(std::abs(std::stod(found[1]) - 100.0 * 4096 / static_cast<double>(parameters)) <= 0.05);
  double shares = 0;
  const std::regex share(" ([0-9.]+)%\n");
  for (std::sregex_iterator at(text.begin(), text.end(), share), end; at != end; ++at)
    shares += std::stod((*at)[1]);
  CHECK(std::abs(shares - 200) < 1);  // the parts, and their sum
  // gamma = 1 - 2^-5 and 1 - 2^-6 forget half in ln 2 / -ln gamma tokens.
  CHECK(contains(text, "0.96875                 21.8\n"));
  CHECK(contains(text, "0.984375                 44.0\n"));
}

TEST_CASE("Nats, bits, perplexity and speed fit each other", "[program][numbers]") {
  const Workplace place;
  write_text(place / "data.txt", sample_text(4000));
  const Outcome trained = place.run(
      "train --data data.txt --layers 1 --d-model 16 --heads 2 --chunk 8 --window 16 --batch 2 --accumulate "
      "3 "
      "--steps 50 --warmup 1 --quiet --out run");
  REQUIRE(trained.code == 0);
  std::smatch t;
  REQUIRE(std::regex_search(
      trained.out, t,
      std::regex("trained   50 steps; 4,800 tokens in ([0-9.]+) s, ([0-9,]+) tokens/s\n"
                 "held out  ([0-9.]+) nats per byte, ([0-9.]+) bits per byte, over 399 bytes")));
  const double seconds = std::stod(t[1]),
               rate = std::stod(std::regex_replace(t[2].str(), std::regex(","), ""));
  CHECK(rate * (seconds + 0.05) >= 4799);
  CHECK((rate - 1) * (seconds - 0.05) <= 4800);
  CHECK(std::abs(std::stod(t[4]) - std::stod(t[3]) / std::log(2.0)) < 2e-4);
  std::smatch e;
  const std::string evaluated = place.text("eval --model run");
  REQUIRE(std::regex_search(evaluated, e,
                            std::regex("loss        ([0-9.]+) nats per byte, ([0-9.]+) bits per byte, over "
                                       "399 bytes\nperplexity  ([0-9.]+)\n")));
  CHECK(e[1] == t[3]);
  CHECK(e[2] == t[4]);
  CHECK(std::abs(std::stod(e[3]) / std::exp(std::stod(e[1])) - 1) < 2e-4);
}
