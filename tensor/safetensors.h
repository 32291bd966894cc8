/// @file
/// Tensors in files of the safetensors format, which Python's `safetensors` package reads and writes too.
///
/// The format (https://github.com/huggingface/safetensors): 8 bytes, the length N of the header, little
/// endian; N bytes of JSON, `{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}`, with
/// strings under `"__metadata__"` if wanted; then the numbers, row-major and little endian, without holes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace retnet {

class InputFile;

/// A tensor and the name it has in a file.
struct NamedTensor {
  std::string name;
  Tensor value;
};

/// What a safetensors file says about one tensor.
struct SafetensorsEntry {
  std::string name;   ///< any text, also empty or with NUL bytes: print it with quote()
  std::string dtype;  ///< "F32", "BF16", .., as the format names them; any text, as newer files may
  std::vector<std::int64_t> shape;  ///< sizes, each below 2^48
  std::int64_t begin = 0, end = 0;  ///< bytes [begin, end) of the data region
};

/// The header of a safetensors file.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< in the order of the header
  std::map<std::string, std::string> metadata;
  std::int64_t data_begin = 0;  ///< byte of the file at which the data region begins
};

/// The contents of a safetensors file.
struct SafetensorsFile {
  std::vector<NamedTensor> tensors;  ///< in the order of the header
  std::map<std::string, std::string> metadata;
};

/// Key in the metadata of our files: CRC-32 of the data region in 8 lower-case hexadecimal digits. The format
/// has no checksum of its own, and a flipped bit in a weight would otherwise pass.
inline constexpr const char* kSafetensorsChecksumKey = "data_crc32";

/// Reads and checks the header, whatever the dtypes; no tensor data is read, so files of any size are quick.
///
/// Refuses what the format forbids: a header beyond 100 MB or the file; what is no JSON object of the form
/// above; tensors whose size is not shape x dtype (where the dtype is known), that overlap, leave holes, or
/// end before or after the file. Stricter than the format's own reader: duplicate keys and sizes of 2^48 and
/// more are refused. Unknown fields are ignored.
/// @throws Error "PATH: ..." in one line; never allocates for more than the file holds
SafetensorsHeader read_safetensors_header(const std::string& path);
SafetensorsHeader read_safetensors_header(const InputFile& file);  ///< the same for a file that is open

/// Indices into the tensors of a header in the order of their data.
std::vector<std::size_t> data_order(const SafetensorsHeader& header);

/// @throws Error when the file has a checksum that is not `checksum`, that of its data in the order of the
/// data
void require_checksum(const InputFile& file, const SafetensorsHeader& header, std::uint32_t checksum);

/// Reads all tensors to the CPU, and checks them against the checksum where there is one (it is then not part
/// of the metadata returned). F32, F64, BF16 and I32 become f32, f64, bf16 and i32.
/// @throws Error as read_safetensors_header() does, for other dtypes, and for more than kMaxRank dimensions
SafetensorsFile load_safetensors(const std::string& path);

/// Writes tensors, strided ones and those on other devices too, at once and durably: see AtomicFile. The same
/// arguments make the same bytes: header and data are in the order given, without regard to alignment beyond
/// that of the data region to 8 bytes.
/// @throws Error for an undefined tensor, a name given twice, text that is not UTF-8, metadata under the
///         checksum's key, and when writing fails; the file at `path` is then what it was
void save_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

/// Writes one tensor, under the name "tensor". @throws Error as save_safetensors() does
void save(const std::string& path, const Tensor& x);

/// Reads a file of exactly one tensor, whatever its name. @throws Error as load_safetensors() does
Tensor load(const std::string& path);

}  // namespace retnet
