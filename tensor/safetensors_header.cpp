// The header of a safetensors file: every claim in it is checked against the size of the file before anybody
// acts on it.
#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <tuple>

#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/json.h"
#include "tensor/safetensors.h"
#include "tensor/text.h"

namespace retnet {
namespace {

static_assert(std::endian::native == std::endian::little, "the numbers of the file are read as they are");

constexpr std::int64_t kPrefix = 8;               // bytes of the header's length
constexpr std::int64_t kMaxHeader = 100'000'000;  // the format's limit
constexpr std::int64_t kMaxSize = std::int64_t{1} << 48;

struct KnownDtype {
  const char* name;
  std::int64_t bits;
};
// Those that we cannot load are listed all the same, so that a file of others can be looked at.
constexpr KnownDtype kKnownDtypes[] = {
    {"F64", 64},        {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32},
    {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
    {"BOOL", 8},        {"C64", 64},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}};

// 0 for a dtype that is not known: the format gets new ones.
std::int64_t bits_per_element(const std::string& dtype) {
  for (const KnownDtype& known : kKnownDtypes)
    if (dtype == known.name) return known.bits;
  return 0;
}

std::vector<std::int64_t> read_shape(const std::string& what, const Json& json) {
  std::vector<std::int64_t> shape;
  for (const Json& size : json.elements(what)) {
    shape.push_back(size.as_int(what));
    require(shape.back() >= 0 && shape.back() < kMaxSize, what.c_str(), "the size ", shape.back(),
            " is outside [0, 2^48)");
  }
  return shape;
}

// The bytes that shape and dtype make, or nothing where the dtype is not known.
std::optional<std::int64_t> count_bytes(const std::string& what, const SafetensorsEntry& entry) {
  const std::int64_t element = bits_per_element(entry.dtype);
  // A size of 0 must not hide the overflow of the others: strides are products of them, too.
  std::int64_t bits = std::max<std::int64_t>(element, 1);
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    empty = empty || size == 0;
    const bool overflow = __builtin_mul_overflow(bits, std::max<std::int64_t>(size, 1), &bits);
    require(!overflow, what.c_str(), "the sizes multiply to 2^63 bits or more");
  }
  if (element == 0) return std::nullopt;
  if (empty) return 0;
  require(bits % 8 == 0, what.c_str(), "shape and dtype make ", bits, " bits, which are no whole bytes");
  return bits / 8;
}

SafetensorsEntry read_entry(const std::string& path, const std::string& name, const Json& json,
                            std::int64_t data_size) {
  const std::string what = path + ": tensor " + quote(name);
  SafetensorsEntry entry{name, json.at("dtype", what).as_string(what + ": dtype"), {}};
  entry.shape = read_shape(what + ": shape", json.at("shape", what));
  const Json::Array& offsets = json.at("data_offsets", what).elements(what + ": data_offsets");
  require(offsets.size() == 2, what.c_str(), "required 2 data_offsets, got ", offsets.size());
  entry.begin = offsets[0].as_int(what + ": data_offsets");
  entry.end = offsets[1].as_int(what + ": data_offsets");
  require(0 <= entry.begin && entry.begin <= entry.end, what.c_str(), "data_offsets [", entry.begin, ", ",
          entry.end, "] are negative or reversed");
  require(entry.end <= data_size, what.c_str(), "data_offsets [", entry.begin, ", ", entry.end,
          "] lie beyond the ", data_size, " bytes of data; is the file truncated?");
  const std::optional<std::int64_t> bytes = count_bytes(what, entry);
  require(!bytes || entry.end - entry.begin == *bytes, what.c_str(), "shape and dtype make ",
          bytes.value_or(0), " bytes, data_offsets ", entry.end - entry.begin);
  return entry;
}

std::map<std::string, std::string> read_metadata(const std::string& path, const Json& json) {
  const std::string what = path + ": __metadata__";
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items(what))
    metadata.emplace(key, value.as_string(what + ": " + quote(key)));
  return metadata;
}

// Every byte of the data region must belong to exactly one tensor.
void check_coverage(const std::string& path, const SafetensorsHeader& header, std::int64_t data_size) {
  std::int64_t covered = 0;
  for (const std::size_t i : data_order(header)) {
    const SafetensorsEntry& entry = header.tensors[i];
    require(entry.begin <= covered, path.c_str(), "bytes ", covered, " to ", entry.begin,
            " of the data belong to no tensor, before ", quote(entry.name));
    require(entry.begin == covered, path.c_str(), "tensor ", quote(entry.name),
            " overlaps another: it begins at byte ", entry.begin, " of the data, which is taken up to ",
            covered);
    covered = entry.end;
  }
  require(covered == data_size, path.c_str(), data_size - covered,
          " bytes after the last tensor belong to none");
}

std::string read_header_text(const InputFile& file, const std::string& path) {
  require(file.size() >= kPrefix, path.c_str(), "no safetensors file: ", file.size(),
          " bytes, too short for the length of the header");
  std::uint64_t length = 0;
  file.read(0, &length, kPrefix);
  // Pickles, archives and web pages end here: their first 8 bytes make an absurd length.
  require(length > 0 && length <= kMaxHeader, path.c_str(),
          "no safetensors file: its first 8 bytes say that the header has ", length, " bytes, required 1 to ",
          kMaxHeader);
  require(length <= static_cast<std::uint64_t>(file.size() - kPrefix), path.c_str(),
          "the header should have ", length, " bytes, but the file ends after ", file.size() - kPrefix,
          "; is it truncated?");
  std::string text(length, '\0');
  file.read(kPrefix, text.data(), static_cast<std::int64_t>(length));
  return text;
}

}  // namespace

std::vector<std::size_t> data_order(const SafetensorsHeader& header) {
  std::vector<std::size_t> order(header.tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
    const SafetensorsEntry &a = header.tensors[i], &b = header.tensors[j];
    return std::tie(a.begin, a.end, i) <
           std::tie(b.begin, b.end, j);  // an empty tensor stands before its neighbour
  });
  return order;
}

SafetensorsHeader read_safetensors_header(const InputFile& file) {
  const std::string path = printable(file.path());
  const std::string text = read_header_text(file, path);
  SafetensorsHeader header;
  header.data_begin = kPrefix + static_cast<std::int64_t>(text.size());
  const std::int64_t data_size = file.size() - header.data_begin;
  const Json json = Json::parse(text, path + ": header");
  for (const auto& [name, value] : json.items(path + ": header")) {
    if (name == "__metadata__") {
      header.metadata = read_metadata(path, value);
    } else {
      header.tensors.push_back(read_entry(path, name, value, data_size));
    }
  }
  check_coverage(path, header, data_size);
  return header;
}

SafetensorsHeader read_safetensors_header(const std::string& path) {
  return read_safetensors_header(InputFile(path));
}

}  // namespace retnet
