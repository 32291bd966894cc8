// Broken, hostile and odd safetensors files: each is refused in one line that says why, or read.
#include <sys/resource.h>

#include <algorithm>
#include <cstring>

#include "tensor/file.h"
#include "tensor/safetensors.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

std::string prefix(std::uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

std::string make(const std::string& header, std::size_t data = 24) {
  return prefix(header.size()) + header + std::string(data, '\1');
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

// A file of one tensor "a", by default of 24 bytes as the data of make().
std::string one(const std::string& dtype, const std::string& shape = "[2,3]",
                const std::string& offsets = "[0,24]") {
  return make(R"({"a":)" + entry(dtype, shape, offsets) + "}");
}
std::string shape(const std::string& text) { return one(R"("F32")", text); }
std::string offsets(const std::string& text) { return one(R"("F32")", "[2,3]", text); }

// Tensors "a", "b" of one float each at the given offsets, in 8 bytes of data.
std::string two(const std::string& a, const std::string& b) {
  return make(R"({"a":)" + entry(R"("F32")", "[1]", a) + R"(,"b":)" + entry(R"("F32")", "[1]", b) + "}", 8);
}

const std::string kEntry = entry(R"("F32")", "[2,3]", "[0,24]");
const std::string kGood = R"({"a":)" + kEntry + "}";

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

struct Case {
  const char* what;
  std::string bytes;
  const char* message;  // part of it
};

std::vector<Case> broken_lengths() {
  const auto with_length = [](std::uint64_t length) {
    return prefix(length) + kGood + std::string(24, '\1');
  };
  std::string big_endian = make(kGood);
  std::reverse(big_endian.begin(), big_endian.begin() + 8);
  return {
      {"empty", "", "0 bytes, too short"},
      {"1 byte", "{", "1 bytes, too short"},
      {"7 bytes", prefix(2).substr(0, 7), "7 bytes, too short"},
      {"length only", prefix(2), "the file ends after 0"},
      {"length 0", prefix(0), "has 0 bytes"},
      {"length 0 and data", prefix(0) + kGood, "has 0 bytes"},
      {"length past the end", with_length(1000), "the file ends after"},
      {"length of the file", with_length(8 + kGood.size() + 24), "the file ends after"},
      {"length past the end by one", prefix(kGood.size() + 1) + kGood, "the file ends after"},
      {"length 1 too small", with_length(kGood.size() - 1), "syntax error"},
      {"length 1 too large", with_length(kGood.size() + 1), "syntax error"},
      {"length 100 MB", with_length(100'000'000), "the file ends after"},
      {"length above 100 MB", with_length(100'000'001), "required 1 to 100000000"},
      {"length 2^63", with_length(std::uint64_t{1} << 63), "9223372036854775808 bytes"},
      {"length 2^64 - 1", with_length(~std::uint64_t{0}), "18446744073709551615 bytes"},
      {"length 2^64 - 8", with_length(~std::uint64_t{7}), "required 1 to"},
      {"length big-endian", big_endian, "required 1 to"},
      {"pickle", "\x80\x02}q\x01(X\x01" + std::string(100, 'q'), "no safetensors file"},
      {"zip archive", "PK\x03\x04\x14\x08\x08\x08" + std::string(100, '\0'), "no safetensors file"},
      {"HTML page", "<!DOCTYPE html><html><body>404</body></html>", "no safetensors file"},
      {"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
       "no safetensors file"},
  };
}

std::vector<Case> broken_json() {
  using namespace std::string_literals;
  return {
      {"not UTF-8", make("{\"\xff\":" + kEntry + "}"), "UTF-8"},
      {"Latin-1", make("{\"\xe9t\xe9\":" + kEntry + "}"), "UTF-8"},
      {"overlong UTF-8", make("{\"\xc0\xaf\":" + kEntry + "}"), "UTF-8"},
      {"surrogate in UTF-8", make("{\"\xed\xa0\x80\":" + kEntry + "}"), "UTF-8"},
      {"lone surrogate escaped", make(R"({"\ud800":)" + kEntry + "}"), "surrogate"},
      {"byte order mark", make("\xEF\xBB\xBF" + kGood), "byte order mark"},
      {"array", make("[" + kEntry + "]"), "required an object, got an array of 1"},
      {"number", make("12345678"), "required an object, got 12345678"},
      {"string", make(R"("safetensors")"), R"(required an object, got the string "safetensors")"},
      {"null", make("null"), "required an object, got null"},
      {"spaces only", make("        "), "unexpected end of input"},
      {"truncated JSON", make(R"({"a":{"dtype":"F32","shape":[2,3],"data_off)"), "missing closing quote"},
      {"unclosed", make(R"({"a":)" + kEntry), "unexpected end of input"},
      {"text after it", make(kGood + "x"), "invalid literal"},
      {"two objects", make(kGood + kGood), "unexpected '{'"},
      {"comment", make("/* */" + kGood), "invalid literal"},
      {"comment at the end", make(kGood + "// end"), "invalid literal"},
      {"trailing comma", make(R"({"a":)" + kEntry + ",}"), "syntax error"},
      {"single quotes", make("{'a':" + kEntry + "}"), "syntax error"},
      {"control character in a string", make("{\"a\nb\":" + kEntry + "}"), "control character"},
      {"padded with NUL", make(kGood + "\0\0\0\0"s), "a NUL byte"},
      {"arrays nested 50,000 deep", make(repeat("[", 50'000)), "nested deeper than 64"},
      {"objects nested 100,000 deep", make(repeat("{\"a\":", 100'000)), "nested deeper than 64"},
      {"nested in an unknown field", make(R"({"a":{"x":)" + repeat("[", 70) + repeat("]", 70) + "}}"),
       "deeper than 64"},
      {"duplicate tensor", make(R"({"a":)" + kEntry + R"(,"a":)" + kEntry + "}"),
       R"(the key "a" occurs twice)"},
      {"duplicate field", make(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})"),
       R"(the key "dtype" occurs twice)"},
      {"duplicate metadata", make(R"({"__metadata__":{},"__metadata__":{},"a":)" + kEntry + "}"),
       "occurs twice"},
      {"metadata no object", make(R"({"__metadata__":[],"a":)" + kEntry + "}"),
       "__metadata__: required an object"},
      {"metadata null", make(R"({"__metadata__":null,"a":)" + kEntry + "}"),
       "__metadata__: required an object"},
      {"metadata of numbers", make(R"({"__metadata__":{"step":3},"a":)" + kEntry + "}"),
       R"(__metadata__: "step": required a string, got 3)"},
      {"metadata nested", make(R"({"__metadata__":{"x":{}},"a":)" + kEntry + "}"),
       "required a string, got an object"},
  };
}

std::vector<Case> broken_entries() {
  return {
      {"entry null", make(R"({"a":null})", 0), R"(tensor "a": required an object, got null)"},
      {"entry a number", make(R"({"a":1})", 0), "required an object, got 1"},
      {"entry empty", make(R"({"a":{}})", 0), R"(the key "dtype" is missing)"},
      {"no dtype", make(R"({"a":{"shape":[2,3],"data_offsets":[0,24]}})"), R"(the key "dtype" is missing)"},
      {"no shape", make(R"({"a":{"dtype":"F32","data_offsets":[0,24]}})"), R"(the key "shape" is missing)"},
      {"no data_offsets", make(R"({"a":{"dtype":"F32","shape":[2,3]}})"),
       R"(the key "data_offsets" is missing)"},
      {"dtype a number", one("32"), "dtype: required a string, got 32"},
      {"dtype null", one("null"), "dtype: required a string, got null"},
      {"dtype unknown", one(R"("F33")"), R"(tensor "a" is F33, which retnet does not have)"},
      {"dtype in lower case", one(R"("f32")"), R"(tensor "a" is f32, which retnet does not have)"},
      {"dtype with a line feed", one(R"("F\n32")"), R"(tensor "a" is F\n32, which retnet does not have)"},
      {"half a byte", one(R"("F4")", "[47]"), "shape and dtype make 188 bits, which are no whole bytes"},
      {"4 bits, too few", one(R"("F4")", "[46]"), "shape and dtype make 23 bytes, data_offsets 24"},
      {"6 bits, too few", one(R"("F6_E2M3")", "[28]"), "shape and dtype make 21 bytes, data_offsets 24"},
      {"unknown and past the end", one(R"("F33")", "[2,3]", "[0,25]"), "beyond the 24 bytes of data"},
      {"unknown, overflows", one(R"("F33")", "[281474976710655,281474976710655]"), "multiply to 2^63"},
      {"dtype we do not have", one(R"("F16")", "[3,4]"), R"(tensor "a" is F16, which retnet does not have)"},
      {"another", one(R"("I64")", "[3]"), R"(tensor "a" is I64, which retnet does not have)"},
      {"shape a number", shape("6"), "shape: required an array, got 6"},
      {"shape null", shape("null"), "shape: required an array, got null"},
      {"shape of strings", shape(R"(["2","3"])"), "required an integer of 64 bits, got the string"},
      {"shape nested", shape("[[2,3]]"), "required an integer of 64 bits, got an array"},
      {"size negative", shape("[-2,-3]"), "the size -2 is outside"},
      {"size minus zero", one(R"("F32")", "[-0]", "[0,0]"), "got -0.0"},
      {"size a float", shape("[2.0,3]"), "required an integer of 64 bits, got 2.0"},
      {"size with an exponent", shape("[2e0,3]"), "required an integer of 64 bits, got 2.0"},
      {"size true", shape("[true,6]"), "required an integer of 64 bits, got true"},
      {"size null", shape("[null,6]"), "required an integer of 64 bits, got null"},
      {"size 2^48", one(R"("U8")", "[281474976710656,0]", "[0,0]"), "outside [0, 2^48)"},
      {"size 2^63", shape("[9223372036854775808]"), "required an integer of 64 bits"},
      {"size above 2^64", shape("[18446744073709551617,6]"), "required an integer of 64 bits"},
      {"size beyond double", shape("[1" + repeat("0", 400) + "]"), "number out of range"},
      {"product overflows", shape("[281474976710655,281474976710655]"), "multiply to 2^63 bits or more"},
      {"product wraps to 24", shape("[4294967296,1073741824,6]"), "multiply to 2^63 bits or more"},
      {"product wraps to 0", one(R"("F32")", "[4294967296,4294967296]", "[0,0]"), "multiply to 2^63"},
      {"product hidden by 0", one(R"("F32")", "[0,4294967296,4294967296]", "[0,0]"), "multiply to 2^63"},
      {"9 dimensions", shape("[1,1,1,1,1,1,1,2,3]"), "9 dimensions, at most 8"},
      {"offsets null", offsets("null"), "required an array, got null"},
      {"1 offset", offsets("[24]"), "required 2 data_offsets, got 1"},
      {"3 offsets", offsets("[0,24,24]"), "required 2 data_offsets, got 3"},
      {"offset a float", offsets("[0,24.0]"), "required an integer of 64 bits, got 24.0"},
      {"offset a string", offsets(R"([0,"24"])"), "got the string"},
      {"offsets reversed", offsets("[24,0]"), "negative or reversed"},
      {"offset negative", offsets("[-24,0]"), "negative or reversed"},
      {"offsets that wrap", offsets("[18446744073709551592,0]"), "required an integer of 64 bits"},
      {"offset 2^63 - 1", offsets("[9223372036854775783,9223372036854775807]"),
       "beyond the 24 bytes of data"},
      {"offset past the end", offsets("[1,25]"), "beyond the 24 bytes of data"},
      {"not from 0", offsets("[4,24]"), "shape and dtype make 24 bytes, data_offsets 20"},
      {"not from 0, size right", one(R"("F32")", "[5]", "[4,24]"),
       "bytes 0 to 4 of the data belong to no tensor"},
      {"hole",
       make(R"({"a":)" + entry(R"("F32")", "[1]", "[0,4]") + R"(,"b":)" + entry(R"("F32")", "[1]", "[8,12]") +
                "}",
            12),
       "bytes 4 to 8 of the data belong to no tensor"},
      {"overlap",
       make(R"({"a":)" + entry(R"("F32")", "[1]", "[0,4]") + R"(,"b":)" + entry(R"("F32")", "[1]", "[2,6]") +
                "}",
            6),
       "overlaps another"},
      {"shared", two("[0,4]", "[0,4]"), "overlaps another"},
      {"one inside the other",
       make(R"({"a":)" + kEntry + R"(,"b":)" + entry(R"("F32")", "[1]", "[4,8]") + "}"), "overlaps another"},
      {"size too small for the offsets", shape("[2,2]"), "shape and dtype make 16 bytes, data_offsets 24"},
      {"size too large for the offsets", shape("[2,4]"), "shape and dtype make 32 bytes, data_offsets 24"},
      {"size for another dtype", one(R"("F64")"), "shape and dtype make 48 bytes, data_offsets 24"},
      {"a claim of 10^18 bytes", one(R"("U8")", "[1000000000,1000000000]", "[0,1000000000000000000]"),
       "lie beyond the 24 bytes of data"},
      {"data short by one", make(kGood, 23), "lie beyond the 23 bytes of data"},
      {"data missing", make(kGood, 0), "lie beyond the 0 bytes of data"},
      {"byte after the data", make(kGood, 25), "1 bytes after the last tensor"},
      {"data without tensors", make("{}", 4), "4 bytes after the last tensor"},
      {"checksum wrong", make(R"({"__metadata__":{"data_crc32":"00000000"},"a":)" + kEntry + "}"),
       "the file is damaged"},
      {"checksum no number", make(R"({"__metadata__":{"data_crc32":""},"a":)" + kEntry + "}"),
       "the file is damaged"},
  };
}

std::string shared_by_ten() {
  std::string header = "{";
  for (int i = 0; i < 10; ++i) header += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":" + kEntry;
  return make(header + "}");
}

// Peak resident memory of this process in bytes.
std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * std::int64_t{1024};
}

}  // namespace

TEST_CASE("broken safetensors files are refused in one line that says why", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "broken.safetensors";
  std::vector<Case> cases = broken_lengths();
  for (const auto& more : {broken_json(), broken_entries()})
    cases.insert(cases.end(), more.begin(), more.end());
  cases.push_back({"shared by ten", shared_by_ten(), "overlaps another"});
  CHECK(cases.size() >= 67);
  const std::int64_t before = peak_memory();
  for (const Case& broken : cases) {
    write_file_atomic(path, broken.bytes);
    const std::string message = error_message([&] { load_safetensors(path); });
    CAPTURE(broken.what, message);
    CHECK(message.find(broken.message) != message.npos);
    CHECK(message.rfind(path + ": ", 0) == 0);
    CHECK(message.find('\n') == message.npos);
    CHECK(message.size() < path.size() + 300);
  }
  CHECK(peak_memory() - before < 64 << 20);
}

TEST_CASE("a header of a million values is refused before it takes much memory", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "wide.safetensors";
  write_file_atomic(path, make(R"({"a":[)" + repeat("1,", 5'000'000) + "1]}", 0));
  CHECK(error_message([&] { load_safetensors(path); }).find("holds more than 4194304 values") !=
        std::string::npos);
}

TEST_CASE("odd but valid safetensors files are read", "[safetensors]") {
  using namespace std::string_literals;
  const TemporaryFolder folder;
  const std::string path = folder / "odd.safetensors";
  const std::string empty = entry(R"("F32")", "[0,3]", "[8,8]"), f32 = R"("F32")";
  const Case odd[] = {
      {"nothing", make("{}", 0), ""},
      {"spaces around", make(" \n\t" + kGood + "     "), "a"},
      {"empty name", make(R"({"":)" + kEntry + "}"), ""},
      {"NUL in the name", make(R"({"\u0000":)" + kEntry + "}"), "\0"},
      {"a path for a name", make(R"({"../../a":)" + kEntry + "}"), "../../a"},
      {"a name beyond ASCII", make(R"({"γ":)" + kEntry + "}"), "γ"},
      {"an escaped surrogate pair", make(R"({"\ud83d\ude00":)" + kEntry + "}"), "😀"},
      {"an unknown field", make(R"({"a":{"note":[1,{}],"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})"),
       "a"},
      {"fields in another order", make(R"({"a":{"data_offsets":[0,24],"shape":[2,3],"dtype":"F32"}})"), "a"},
      {"a scalar", make(R"({"a":)" + entry(f32, "[]", "[0,4]") + "}", 4), "a"},
      {"data in another order", two("[4,8]", "[0,4]"), "a"},
      {"empty tensors anywhere",
       make(R"({"z":)" + entry(f32, "[0]", "[4,4]") + R"(,"a":)" + entry(f32, "[1]", "[0,4]") + R"(,"b":)" +
                entry(f32, "[1]", "[4,8]") + R"(,"y":)" + empty + "}",
            8),
       "z"},
      {"empty metadata", make(R"({"__metadata__":{},"a":)" + kEntry + "}"), "a"},
      {"metadata only", make(R"({"__metadata__":{"format":"pt"}})", 0), ""},
      {"a header of odd length", make(kGood + " "), "a"},
      {"8 dimensions", shape("[1,1,1,1,1,1,2,3]"), "a"},
  };
  for (const Case& file : odd) {
    CAPTURE(file.what);
    write_file_atomic(path, file.bytes);
    SafetensorsFile read;
    CHECK_NOTHROW(read = load_safetensors(path));
    const std::string name = file.what == "NUL in the name"s ? "\0"s : file.message;
    if (!read.tensors.empty()) CHECK(read.tensors[0].name == name);
  }
}
