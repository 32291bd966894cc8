// Damage anywhere in files larger than the blocks in which they are read: it is noticed, the file is named,
// and the checkpoint before is taken.

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <iostream>
#include <set>
#include <sstream>

#include "tensor/file.h"
#include "tensor/safetensors.h"
#include "tests/support/program.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"

namespace retnet::test {
namespace {

namespace fs = std::filesystem;

/// Two checkpoints of a model of 2.1 MB.
struct Saved {
  Saved() {
    Config config;
    config.layers = 1, config.d_model = 32, config.heads = 2, config.key_width = 16, config.value_width = 32;
    config.ffn_width = 8200;
    RetNet model(config, 3);
    Optimizer optimizer(model.parameters());
    unsigned seed = 0;
    for (Moments& moments : optimizer.moments())
      for (Tensor* x : {&moments.m, &moments.v})
        *x = rand_uniform(x->shape(), {1, ++seed}, 0, 1, Dtype::f32, Device::cpu);
    for (const std::int64_t step : {2, 4})
      save_checkpoint(folder.path(), model, optimizer, {TrainSettings{}, step, {"text"}, 0xabcdef, 1000});
  }
  std::string newer(const std::string& name) const {
    return checkpoint_folder(folder.path(), 4) + (name.empty() ? "" : "/" + name);
  }
  std::string older() const { return checkpoint_folder(folder.path(), 2); }

  TemporaryFolder folder;
};

/// One bit of a file, the other way round until this ends.
class FlippedBit {
 public:
  FlippedBit(const std::string& path, std::int64_t at, int bit)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CLOEXEC)), at_(at), bit_(bit) {
    flip();
  }
  ~FlippedBit() {
    flip();
    ::close(descriptor_);
  }
  FlippedBit(const FlippedBit&) = delete;
  FlippedBit& operator=(const FlippedBit&) = delete;

 private:
  void flip() const {
    unsigned char byte = 0;
    if (::pread(descriptor_, &byte, 1, at_) != 1) throw std::runtime_error("cannot read");
    byte = static_cast<unsigned char>(byte ^ (1 << bit_));
    if (::pwrite(descriptor_, &byte, 1, at_) != 1) throw std::runtime_error("cannot write");
  }
  int descriptor_;
  std::int64_t at_;
  int bit_;
};

/// Both ends of the file, of its header and of every tensor, and both sides of the first blocks of 64 KiB and
/// of every block of 1 MiB.
std::set<std::int64_t> telling_bytes(const std::string& path) {
  const auto size = static_cast<std::int64_t>(fs::file_size(path));
  const SafetensorsHeader header = read_safetensors_header(path);
  std::set<std::int64_t> bytes{0, 7, 8, 9, header.data_begin / 2, header.data_begin - 1, size / 2, size - 1};
  for (const SafetensorsEntry& tensor : header.tensors)
    bytes.insert({header.data_begin + tensor.begin, header.data_begin + tensor.end - 1});
  for (std::int64_t block = 1 << 16; block < size; block += block < (1 << 20) ? block : 1 << 20)
    bytes.insert({block - 1, block, block + 1});
  return bytes;
}

TEST_CASE("a flipped bit anywhere in a large checkpoint is noticed, and its file named", "[train][damage]") {
  const Saved saved;
  for (const std::string name : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string path = saved.newer(name);
    REQUIRE(fs::file_size(path) > 2 << 20);
    int number = 0;
    const std::int64_t data = read_safetensors_header(path).data_begin;
    for (const std::int64_t at : telling_bytes(path)) {
      const FlippedBit damage(path, at, ++number % 8);
      CAPTURE(name, at, number % 8);
      CHECK(error_message([&] { load_trainer_state(saved.newer("")); }) ==
            saved.newer("trainer.json") + ": " + name +
                " in the same folder is damaged, or of another checkpoint: its checksum differs");
      // And without that file beside it, where the format's own checksum is all there is.
      if (at >= data && number % 4 == 0)
        CHECK(error_message([&] {
                load_safetensors(path);
              }).starts_with(path + ": the file is damaged: the checksum of its data is "));
    }
  }
}

TEST_CASE("a large checkpoint that is cut off or longer is noticed, by its file alone too",
          "[train][damage]") {
  const Saved saved;
  for (const std::string name : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string path = saved.newer(name), bytes = read_file(path);
    const auto size = static_cast<std::int64_t>(bytes.size());
    std::set<std::int64_t, std::greater<>> lengths{size + 1,
                                                   size + 4096};  // each shorter than the one before
    for (const std::int64_t byte : telling_bytes(path)) lengths.insert(byte);
    int number = 0;
    for (const std::int64_t length : lengths) {
      fs::resize_file(path, static_cast<std::uintmax_t>(length));
      CAPTURE(name, length, size);
      CHECK(error_message([&] { read_safetensors_header(path); }).starts_with(path + ": "));
      if (++number % 4 == 0)
        CHECK(error_message([&] {
                load_trainer_state(saved.newer(""));
              }).starts_with(saved.newer("trainer.json") + ": " + name));
      if (number % 16 == 0) CHECK(newest_checkpoint(saved.folder.path(), true) == saved.older());
    }
    write_text(path, bytes);
  }
  CHECK(newest_checkpoint(saved.folder.path()) == saved.newer(""));
}

TEST_CASE("a flipped bit in any byte of the small files is noticed, or changes nothing", "[train][damage]") {
  const Saved saved;
  const auto meaning = [&] {
    const TrainerState state = load_trainer_state(saved.newer(""));
    return fields_to_json(state.settings).dump() + std::to_string(state.step) + state.data.at(0) +
           std::to_string(state.data_hash) + std::to_string(state.data_size) +
           to_json(config_from_json(read_json(saved.newer("config.json")), "config")).dump();
  };
  const std::string expected = meaning();
  for (const std::string name : {"config.json", "trainer.json"}) {
    const auto size = static_cast<std::int64_t>(fs::file_size(saved.newer(name)));
    std::int64_t noticed = 0;
    for (std::int64_t at = 0; at < size; ++at) {
      const FlippedBit damage(saved.newer(name), at, static_cast<int>(at % 7));
      CAPTURE(name, at);
      std::string now;
      const std::string error = error_message([&] { now = meaning(); });
      if (error == "no error") {
        CHECK(now == expected);
        continue;
      }
      ++noticed;
      CHECK(error.starts_with(saved.newer("trainer.json") + ": "));
      CHECK((name != "config.json" || error.find("config.json in the same folder is damaged") != error.npos));
    }
    CHECK(noticed >= size - 4);  // 1e-5 is 1E-5
  }
}

TEST_CASE("each file of a checkpoint that is missing or empty is named, and the one before is taken",
          "[train][damage]") {
  const Saved saved;
  for (const std::string name :
       {"config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"}) {
    const std::string path = saved.newer(name), bytes = read_file(path);
    for (const bool missing : {true, false}) {
      CAPTURE(name, missing);
      if (missing)
        fs::remove(path);
      else
        write_text(path, "");
      std::ostringstream said;
      std::streambuf* const before = std::cerr.rdbuf(said.rdbuf());
      const auto taken = newest_checkpoint(saved.folder.path());
      std::cerr.rdbuf(before);
      CHECK(taken == saved.older());
      CHECK(said.str().find(name) != std::string::npos);
      CHECK(said.str().starts_with("retnet: " + saved.newer("")));
    }
    write_text(path, bytes);
  }
  CHECK(newest_checkpoint(saved.folder.path()) == saved.newer(""));
}

}  // namespace
}  // namespace retnet::test
