// What is written is read again, as specified to the byte; damage is noticed.
#include "tensor/safetensors.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/checksum.h"
#include "tensor/file.h"
#include "tensor/views.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// The numbers as bytes, so that NaN and -0 count.
std::string bytes_of(const Tensor& x) {
  return {static_cast<const char*>(x.storage()->data()) + x.offset() * size_of(x.dtype()),
          static_cast<std::size_t>(x.size() * size_of(x.dtype()))};
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && bytes_of(a) == bytes_of(b);
}

std::vector<NamedTensor> examples() {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  return {
      {"f32", Tensor::from<float>({1.5f, -0.0f, nan, inf, 1e-45f, 3.4e38f}, {2, 3})},
      {"f64", Tensor::from<double>({0.1, -1e300, 5e-324}, {3, 1})},
      {"bf16", Tensor::from<bf16>({bf16(1.0f), bf16(-2.5f), bf16(nan)}, {3})},
      {"i32", Tensor::from<std::int32_t>({0, -1, INT32_MAX, INT32_MIN}, {2, 2})},
      {"scalar", Tensor::from<double>({2.5}, {})},
      {"empty", Tensor::empty({2, 0, 3})},
      {"rank 8", Tensor::from<float>({1, 2}, {1, 1, 1, 2, 1, 1, 1, 1})},
      {"", Tensor::from<float>({7}, {1})},
      {"../γ \"quoted\"\n", Tensor::from<float>({8}, {1})},
  };
}

}  // namespace

TEST_CASE("every dtype and shape comes back from a file as it was", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const std::vector<NamedTensor> written = examples();
  const std::map<std::string, std::string> metadata = {
      {"format", "retnet"}, {"config", "{\"d\": 4}"}, {"", "\t"}};
  save_safetensors(path, written, metadata);
  const SafetensorsFile read = load_safetensors(path);
  CHECK(read.metadata == metadata);
  REQUIRE(read.tensors.size() == written.size());
  for (std::size_t i = 0; i < written.size(); ++i) {
    CAPTURE(written[i].name);
    CHECK(read.tensors[i].name == written[i].name);
    CHECK(same(read.tensors[i].value, written[i].value));
  }
  CHECK(folder.count() == 1);

  save_safetensors(folder / "again.safetensors", read.tensors, read.metadata);
  CHECK(read_file(folder / "again.safetensors") == read_file(path));
  save_safetensors(path, {});
  CHECK(load_safetensors(path).tensors.empty());
}

TEST_CASE("strided tensors are written in row-major order", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const Tensor x = Tensor::from<float>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 4});
  save_safetensors(path, {{"transposed", transpose(x)},
                          {"step", slice(x, 1, 1, 4, 2)},
                          {"row", select(x, 0, 2)},
                          {"repeated", broadcast_to(slice(x, 1, 0, 1), {3, 2})}});
  const SafetensorsFile read = load_safetensors(path);
  CHECK(same(read.tensors[0].value, Tensor::from<float>({0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, {4, 3})));
  CHECK(same(read.tensors[1].value, Tensor::from<float>({1, 3, 5, 7, 9, 11}, {3, 2})));
  CHECK(same(read.tensors[2].value, Tensor::from<float>({8, 9, 10, 11}, {4})));
  CHECK(same(read.tensors[3].value, Tensor::from<float>({0, 0, 4, 4, 8, 8}, {3, 2})));
}

TEST_CASE("a file is, to the byte, what the format's description says", "[safetensors]") {
  using namespace std::string_literals;
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  save_safetensors(
      path, {{"w", Tensor::from<float>({1.0f, -2.0f}, {2, 1})}, {"n", Tensor::from<std::int32_t>({258}, {})}},
      {{"k", "v"}});
  // By hand: 1.0f is 3f800000, -2.0f is c0000000, 258 is 00000102; the CRC-32 is zlib's.
  const std::string data = "\x00\x00\x80\x3f\x00\x00\x00\xc0\x02\x01\x00\x00"s;
  const std::string header =
      R"({"__metadata__":{"k":"v","data_crc32":"CHECKSUM"},)"
      R"("w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"n":{"dtype":"I32","shape":[],"data_offsets":[8,12]}}  )";
  std::string expected = "\xa0\x00\x00\x00\x00\x00\x00\x00"s + header + data;
  expected.replace(expected.find("CHECKSUM"), 8, "2e868a0a");
  CHECK(header.size() == 0xa0);
  CHECK(read_file(path) == expected);
}

TEST_CASE("CRC-32 is that of zlib", "[safetensors]") {
  CHECK(crc32("", 0) == 0);
  CHECK(crc32("123456789", 9) == 0xcbf43926u);  // the check value every table of CRCs gives
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += static_cast<char>(i * i);
  const std::uint32_t whole = crc32(bytes.data(), 1000);
  CHECK(whole == 0xbe2c3c2du);
  for (const std::int64_t n : {0, 1, 15, 16, 17, 999, 1000})
    CHECK(crc32(bytes.data() + n, 1000 - n, crc32(bytes.data(), n)) == whole);
}

TEST_CASE("the header of a file lists tensors of dtypes that cannot be loaded", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const std::string header =
      R"({"__metadata__":{"a":"b"},"h":{"dtype":"F16","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,4]}})";
  write_file_atomic(
      path, std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header + "abcd");
  const SafetensorsHeader listing = read_safetensors_header(path);
  REQUIRE(listing.tensors.size() == 1);
  CHECK(listing.tensors[0].name == "h");
  CHECK(listing.tensors[0].dtype == "F16");
  CHECK(listing.tensors[0].shape == std::vector<std::int64_t>{1, 1, 1, 1, 1, 1, 1, 1, 2});
  CHECK(listing.metadata.at("a") == "b");
  CHECK(listing.data_begin == static_cast<std::int64_t>(8 + header.size()));
  CHECK(error_message([&] { load_safetensors(path); }) ==
        path + ": tensor \"h\" is F16, which retnet does not have; convert it to F32, F64, BF16 or I32");
}

TEST_CASE("a safetensors file cut anywhere, or longer, is refused", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  save_safetensors(path, {{"a", Tensor::from<float>({1, 2}, {2})}, {"b", Tensor::empty({0})}}, {{"k", "v"}});
  const std::string whole = read_file(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write_file_atomic(path, std::string_view(whole).substr(0, n));
    CAPTURE(n);
    CHECK_THROWS_AS(load_safetensors(path), Error);
  }
  write_file_atomic(path, whole + '\0');
  CHECK_THROWS_AS(load_safetensors(path), Error);
}

TEST_CASE("a flipped bit in the data is refused, in the header never harmful", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const Tensor x = Tensor::from<float>({1, 2, 3}, {3});
  save_safetensors(path, {{"a", x}}, {{"k", "v"}});
  const std::string whole = read_file(path);
  const std::size_t data_begin = whole.size() - 12;
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      write_file_atomic(path, flipped);
      CAPTURE(i, bit);
      bool refused = false;
      try {
        const SafetensorsFile read = load_safetensors(path);
        // A name, a key or a space may have become another; the numbers cannot.
        if (!same(read.tensors.at(0).value, x)) FAIL("the numbers changed");
      } catch (const Error&) {
        refused = true;
      }
      if (i >= data_begin && !refused) FAIL("a flipped bit in the data passed");
    }
}

TEST_CASE("what cannot be written is refused before the file is touched", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  save(path, Tensor::from<float>({1}, {1}));
  const std::string before = read_file(path);
  const Tensor x = Tensor::from<float>({2}, {1});
  const auto message = [&](const std::vector<NamedTensor>& tensors,
                           const std::map<std::string, std::string>& metadata = {}) {
    return error_message([&] { save_safetensors(path, tensors, metadata); });
  };
  CHECK(message({{"a", x}, {"a", x}}) == "save_safetensors: the key \"a\" occurs twice");
  CHECK(message({{"a", Tensor()}}) == "save_safetensors: the tensor \"a\" is undefined");
  CHECK(contains(message({{"__metadata__", x}}), "keeps the name __metadata__"));
  CHECK(contains(message({{"\xff", x}}), "not UTF-8"));
  CHECK(contains(message({{"a", x}}, {{"k", "\xc0"}}), "not UTF-8"));
  CHECK(contains(message({{"a", x}}, {{"data_crc32", "0"}}), "data_crc32 is taken"));
  CHECK(read_file(path) == before);
  CHECK(folder.count() == 1);
}

TEST_CASE("one tensor is saved and loaded by itself", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  for (const NamedTensor& example : examples()) {
    save(path, example.value);
    CHECK(same(load(path), example.value));
  }
  CHECK(read_safetensors_header(path).tensors[0].name == "tensor");
  save_safetensors(path, examples());
  CHECK(error_message([&] { load(path); }) == path + ": required a file of one tensor, got 9");
}
