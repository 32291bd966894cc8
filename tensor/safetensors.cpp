#include "tensor/safetensors.h"

#include <cstdio>
#include <optional>
#include <utility>

#include "tensor/checksum.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/json.h"
#include "tensor/ops.h"
#include "tensor/text.h"

namespace retnet {
namespace {

constexpr std::pair<Dtype, const char*> kDtypes[] = {
    {Dtype::f32, "F32"}, {Dtype::f64, "F64"}, {Dtype::bf16, "BF16"}, {Dtype::i32, "I32"}};

const char* format_name(Dtype dtype) {
  for (const auto& [ours, theirs] : kDtypes)
    if (ours == dtype) return theirs;
  fail("save_safetensors", "cannot write a tensor of ", dtype);
}

std::optional<Dtype> parse_dtype(const std::string& format_name) {
  for (const auto& [ours, theirs] : kDtypes)
    if (format_name == theirs) return ours;
  return std::nullopt;
}

std::string hex(std::uint32_t word) {
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", word);
  return digits;
}

/// The dense numbers of a contiguous tensor on the CPU, as bytes.
std::pair<char*, std::int64_t> bytes_of(const Tensor& x) {
  const std::int64_t element = size_of(x.dtype());
  return {static_cast<char*>(x.storage()->data()) + x.offset() * element, x.size() * element};
}

Tensor allocate(const std::string& path, const SafetensorsEntry& entry) {
  const std::optional<Dtype> dtype = parse_dtype(entry.dtype);
  require(dtype.has_value(), path.c_str(), "tensor ", quote(entry.name), " is ", printable(entry.dtype),
          ", which retnet does not have; convert it to F32, F64, BF16 or I32");
  require(entry.shape.size() <= static_cast<std::size_t>(kMaxRank), path.c_str(), "tensor ",
          quote(entry.name), " has ", entry.shape.size(), " dimensions, at most ", kMaxRank, " are possible");
  return Tensor::empty(Shape(entry.shape), *dtype);
}

/// The header of a file to be written, padded with spaces to a multiple of 8 bytes, as the format's own
/// writer does.
std::string header_text(const std::vector<NamedTensor>& tensors,
                        const std::map<std::string, std::string>& metadata, std::uint32_t checksum) {
  Json strings = Json::object();
  for (const auto& [key, value] : metadata) strings.set(key, value);
  strings.set(kSafetensorsChecksumKey, hex(checksum));
  Json::Object members{{"__metadata__", strings}};
  std::int64_t begin = 0;
  for (const NamedTensor& tensor : tensors) {
    const std::int64_t end = begin + tensor.value.size() * size_of(tensor.value.dtype());
    const Shape& shape = tensor.value.shape();
    members.push_back(
        {tensor.name, Json::object({{"dtype", format_name(tensor.value.dtype())},
                                    {"shape", Json::array(Json::Array(shape.begin(), shape.end()))},
                                    {"data_offsets", Json::array({begin, end})}})});
    begin = end;
  }
  std::string text = Json::object(std::move(members), "save_safetensors").dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

void require_checksum(const InputFile& file, const SafetensorsHeader& header, std::uint32_t checksum) {
  const auto stored = header.metadata.find(kSafetensorsChecksumKey);
  require(stored == header.metadata.end() || stored->second == hex(checksum), printable(file.path()).c_str(),
          "the file is damaged: the checksum of its data is ", hex(checksum), ", but ",
          stored == header.metadata.end() ? "" : quote(stored->second), " was written");
}

SafetensorsFile load_safetensors(const std::string& path) {
  const InputFile file(path);
  const std::string shown = printable(path);
  SafetensorsHeader header = read_safetensors_header(file);
  SafetensorsFile result;
  for (const SafetensorsEntry& entry : header.tensors)
    result.tensors.push_back({entry.name, allocate(shown, entry)});
  std::uint32_t checksum = 0;
  for (const std::size_t i : data_order(header)) {
    const auto [bytes, count] = bytes_of(result.tensors[i].value);
    file.read(header.data_begin + header.tensors[i].begin, bytes, count);
    checksum = crc32(bytes, count, checksum);
  }
  require_checksum(file, header, checksum);
  header.metadata.erase(kSafetensorsChecksumKey);
  result.metadata = std::move(header.metadata);
  return result;
}

void save_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  for (const NamedTensor& tensor : tensors) {
    require(tensor.value.defined(), "save_safetensors", "the tensor ", quote(tensor.name), " is undefined");
    require(tensor.name != "__metadata__", "save_safetensors",
            "the format keeps the name __metadata__ for itself");
  }
  require(metadata.count(kSafetensorsChecksumKey) == 0, "save_safetensors", "the metadata key ",
          kSafetensorsChecksumKey, " is taken: the checksum is written under it");
  const std::string header = header_text(tensors, metadata, 0);
  AtomicFile file(path);
  const std::uint64_t length = header.size();
  file.write(&length, sizeof length);
  file.write(header);
  // The checksum is known only after the data: one tensor at a time is fetched, and the header written again.
  std::uint32_t checksum = 0;
  for (const NamedTensor& tensor : tensors) {
    const Tensor dense = contiguous(tensor.value.to(Device::cpu));
    const auto [bytes, count] = bytes_of(dense);
    file.write(bytes, count);
    checksum = crc32(bytes, count, checksum);
  }
  file.overwrite(sizeof length, header_text(tensors, metadata, checksum));
  file.commit();
}

void save(const std::string& path, const Tensor& x) { save_safetensors(path, {{"tensor", x}}); }

Tensor load(const std::string& path) {
  const SafetensorsFile file = load_safetensors(path);
  require(file.tensors.size() == 1, printable(path).c_str(), "required a file of one tensor, got ",
          file.tensors.size());
  return file.tensors[0].value;
}

}  // namespace retnet
