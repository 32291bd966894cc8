// Statistics of tensors in files, of every dtype, against sums in plain C++.
#include "tensor/safetensors_statistics.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "kernels/bf16.h"
#include "tensor/file.h"
#include "tensor/text.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

struct Entry {
  std::string name, dtype, shape;
  std::string bytes;
};

std::string file_of(const std::vector<Entry>& entries) {
  std::string header = "{", data;
  for (const Entry& entry : entries) {
    header += (header.size() > 1 ? ",\"" : "\"") + entry.name + "\":{\"dtype\":\"" + entry.dtype +
              "\",\"shape\":" + entry.shape + ",\"data_offsets\":[" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + entry.bytes.size()) + "]}";
    data += entry.bytes;
  }
  header += "}";
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

template <class T>
std::string bytes_of(const std::vector<T>& numbers) {
  const auto* const first = reinterpret_cast<const char*>(numbers.data());
  return {first, first + numbers.size() * sizeof(T)};
}

template <class T>
Entry entry(const char* name, const char* dtype, const std::vector<T>& numbers) {
  return {name, dtype, "[" + std::to_string(numbers.size()) + "]", bytes_of(numbers)};
}

std::vector<std::optional<TensorStatistics>> statistics(const std::string& path) {
  const InputFile file(path);
  return safetensors_statistics(file, read_safetensors_header(file));
}

std::vector<std::optional<TensorStatistics>> statistics_of(const std::vector<Entry>& entries) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a.safetensors", file_of(entries));
  return statistics(folder / "a.safetensors");
}

}  // namespace

TEST_CASE("statistics of a tensor of each dtype", "[safetensors][statistics]") {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const auto found = statistics_of({
      entry<float>("f32", "F32", {1, -2, 0.1F, NAN, float(kInf), -float(kInf), -NAN}),
      entry<double>("f64", "F64", {1.0000000000000002, -1e300, 5}),
      entry<std::uint16_t>("f16", "F16", {0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00}),
      entry<std::uint16_t>("bf16", "BF16", {0x3f80, 0xc000, 0x4049, 0x7f80, 0x7fc0}),
      entry<std::int64_t>("i64", "I64", {INT64_MIN, INT64_MAX, 9007199254740993}),
      entry<std::int32_t>("i32", "I32", {INT32_MIN, 3, INT32_MAX}),
      entry<std::int16_t>("i16", "I16", {-32768, 32767}),
      entry<std::int8_t>("i8", "I8", {-128, 127, 1}),
      entry<std::uint64_t>("u64", "U64", {1, UINT64_MAX}),
      entry<std::uint32_t>("u32", "U32", {7, UINT32_MAX}),
      entry<std::uint16_t>("u16", "U16", {65535, 1}),
      entry<std::uint8_t>("u8", "U8", {255, 128, 1}),
      entry<std::uint8_t>("bool", "BOOL", {0, 1, 1, 2}),
      entry<float>("empty", "F32", {}),
      entry<float>("none", "F32", {NAN, NAN}),
  });
  const auto check = [&](std::size_t i, const char* low, const char* high, double mean, double deviation,
                         std::int64_t finite, std::int64_t not_finite) {
    REQUIRE(found[i].has_value());
    CAPTURE(i, found[i]->low, found[i]->high, found[i]->mean, found[i]->deviation);
    CHECK(found[i]->low == low);
    CHECK(found[i]->high == high);
    CHECK(std::abs(found[i]->mean - mean) <= 1e-12 * std::max(std::abs(mean), deviation));
    CHECK(std::abs(found[i]->deviation - deviation) <= 1e-13 * deviation);
    CHECK(found[i]->finite == finite);
    CHECK(found[i]->not_finite == not_finite);
  };
  check(0, "-2", "1", (1 - 2 + double(0.1F)) / 3, 1.25698050915572, 3, 4);
  CHECK(found[1]->low == "-1e+300");
  CHECK(found[1]->high == "5");
  check(2, "-2", "65504", 65503.0 / 3, 30879.1174564444, 3, 3);
  check(3, "-2", "3.140625", 2.140625 / 3, 2.10840384022422, 3, 2);
  check(4, "-9223372036854775808", "9223372036854775807", 9007199254740992.0 / 3, 7.53085292971287e18, 3, 0);
  check(5, "-2147483648", "2147483647", 2.0 / 3, 1753413055.78195, 3, 0);
  check(6, "-32768", "32767", -0.5, 32767.5, 2, 0);
  check(7, "-128", "127", 0, 104.105715501119, 3, 0);
  check(8, "1", "18446744073709551615", 9223372036854775808.0, 9223372036854775807.0, 2, 0);
  check(9, "7", "4294967295", 2147483651, 2147483644, 2, 0);
  check(10, "1", "65535", 32768, 32767, 2, 0);
  check(11, "1", "255", 128, 103.695065777821, 3, 0);
  check(12, "0", "1", 0.75, std::sqrt(3) / 4, 4, 0);
  check(13, "", "", 0, 0, 0, 0);
  check(14, "", "", 0, 0, 0, 2);
}

TEST_CASE("every F16 is what IEEE 754 says it is", "[safetensors][statistics]") {
  std::vector<Entry> entries;
  for (unsigned bits = 0; bits < 0x10000; bits += bits % 0x400 < 4 || bits % 0x400 > 0x3f8 ? 1 : 31)
    entries.push_back(
        {std::to_string(bits), "F16", "[]", bytes_of<std::uint16_t>({static_cast<std::uint16_t>(bits)})});
  CHECK(entries.size() > 1500);
  const auto found = statistics_of(entries);
  int wrong = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto bits = static_cast<unsigned>(std::stoul(entries[i].name));
    const int exponent = bits >> 10 & 31;
    const double fraction = bits & 0x3ff, sign = (bits & 0x8000) != 0 ? -1 : 1;
    const double value =
        sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
    wrong += exponent == 31
                 ? found[i]->not_finite != 1
                 : found[i]->not_finite != 0 || found[i]->low != number_text(static_cast<float>(value)) ||
                       found[i]->mean != value;
  }
  CHECK(wrong == 0);
}

TEST_CASE("dtypes that are not known are listed and not read", "[safetensors][statistics]") {
  const auto found = statistics_of({{"a", "F8_E4M3", "[3]", "abc"},
                                    {"b", "F4", "[6]", "abc"},
                                    {"c", "F6_E3M2", "[4]", "abc"},
                                    {"d", "C64", "[1]", "12345678"},
                                    {"e", "Q5_FUTURE", "[7]", "abcd"},
                                    entry<float>("f", "F32", {3})});
  REQUIRE(found.size() == 6);
  for (std::size_t i = 0; i < 5; ++i) CHECK_FALSE(found[i].has_value());
  CHECK(found[5]->low == "3");
}

TEST_CASE("a tensor of many blocks is summed without loss", "[safetensors][statistics]") {
  std::mt19937_64 random(1);
  std::vector<double> numbers(400'003);  // three blocks and a part
  long double sum = 0, squares = 0;
  for (double& x : numbers) x = 1e9 + std::uniform_real_distribution<double>(-1, 1)(random), sum += x;
  numbers[131'072] = 1e9 - 2, numbers[400'002] = 1e9 + 2;  // the first of a block, and the last of all
  sum = 0;
  for (const double x : numbers) sum += x;
  const long double mean = sum / static_cast<long double>(numbers.size());
  for (const double x : numbers) squares += (x - mean) * (x - mean);
  const auto found =
      statistics_of({entry<std::uint8_t>("odd", "U8", {1, 2, 3}), entry("f64", "F64", numbers)});
  CHECK(found[1]->low == "999999998");
  CHECK(found[1]->high == "1000000002");
  CHECK(std::abs(found[1]->mean - static_cast<double>(mean)) < 1e-6);
  const double deviation = std::sqrt(static_cast<double>(squares / static_cast<long double>(numbers.size())));
  CHECK(std::abs(found[1]->deviation - deviation) < 1e-9);
}

TEST_CASE("a large file is read in the memory of a few blocks", "[safetensors][statistics]") {
  const TemporaryFolder folder;
  const std::string path = folder / "large.safetensors";
  constexpr std::int64_t kBytes = 200 << 20;
  std::string head = file_of({{"a", "F32", "[52428800]", ""}});
  const std::string offsets = "[0,0]";
  head.replace(head.find(offsets), offsets.size(), "[0," + std::to_string(kBytes) + "]");
  const std::uint64_t length = head.size() - 8;
  std::memcpy(head.data(), &length, 8);
  write_file_atomic(path, head);
  std::filesystem::resize_file(path, head.size() + kBytes);  // zeros that take no place on the disk
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const auto found = statistics(path);
  getrusage(RUSAGE_SELF, &after);
  CHECK(found[0]->finite == kBytes / 4);
  CHECK(found[0]->high == "0");
  CHECK(after.ru_maxrss - before.ru_maxrss < 32 << 10);  // KiB
}

TEST_CASE("a file with our checksum is checked against it", "[safetensors][statistics]") {
  const TemporaryFolder folder;
  const std::string path = folder / "ours.safetensors";
  save_safetensors(path, {{"a", Tensor::from(std::vector<float>{1, 2, 3}, {3})},
                          {"b", Tensor::from(std::vector<std::int32_t>{4}, {1})}});
  CHECK(statistics(path)[1]->low == "4");
  // The checksum is that of all bytes, of numbers too that nobody can read.
  std::string bytes = read_file(path);
  bytes.replace(bytes.find("\"F32\""), 5, "\"Z32\"");
  write_file_atomic(path, bytes);
  CHECK_FALSE(statistics(path)[0].has_value());
  bytes[bytes.size() - 9] = static_cast<char>(bytes[bytes.size() - 9] ^ 1);
  write_file_atomic(path, bytes);
  CHECK(error_message([&] { statistics(path); }).starts_with(path + ": the file is damaged: the checksum"));
}
