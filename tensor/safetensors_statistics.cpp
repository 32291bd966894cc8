#include "tensor/safetensors_statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <type_traits>

#include "kernels/bf16.h"
#include "tensor/checksum.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/text.h"

namespace retnet {
namespace {

constexpr std::int64_t kBlock = 1 << 20;  // bytes: a multiple of every element's size

/// IEEE binary16 as stored.
struct Half {
  std::uint16_t bits;
  explicit operator float() const {
    // Exponent and fraction moved to where binary32 has them, and 2^112 for the difference of the biases. It
    // makes normal numbers of subnormal ones too. Infinity and NaN have the largest exponent in both.
    const auto magnitude = static_cast<std::uint32_t>(bits & 0x7fff) << 13;
    const bool special = (bits & 0x7c00) == 0x7c00;
    const float value =
        special ? std::bit_cast<float>(magnitude | 0x7f800000) : std::bit_cast<float>(magnitude) * 0x1p112F;
    return (bits & 0x8000) != 0 ? -value : value;
  }
};

/// BOOL: any byte but 0 is true.
struct Truth {
  std::uint8_t bits;
  explicit operator std::int64_t() const { return bits != 0 ? 1 : 0; }
};

/// The type whose numbers are compared and printed: T itself, or what it is stored for.
template <class T>
using Number = std::conditional_t<std::is_same_v<T, Half> || std::is_same_v<T, bf16>, float,
                                  std::conditional_t<std::is_same_v<T, Truth>, std::int64_t, T>>;

/// Takes in a tensor block by block.
class Summary {
 public:
  virtual ~Summary() = default;
  /// @param count  bytes, whole elements
  virtual void add(const char* bytes, std::int64_t count) = 0;
  virtual TensorStatistics result() const = 0;
};

template <class T>
class SummaryOf : public Summary {
  using N = Number<T>;

 public:
  void add(const char* bytes, std::int64_t count) override {
    numbers_.clear();
    for (std::int64_t at = 0; at < count; at += static_cast<std::int64_t>(sizeof(T))) {
      T stored;
      std::memcpy(&stored, bytes + at, sizeof stored);
      const N number = static_cast<N>(stored);
      if (std::isfinite(static_cast<double>(number)))
        numbers_.push_back(number);
      else
        ++not_finite_;
    }
    if (!numbers_.empty()) add_numbers();
  }

  TensorStatistics result() const override {
    TensorStatistics s{count_, not_finite_, "", "", 0, 0};
    if (count_ == 0) return s;
    s.low = text(low_), s.high = text(high_);
    s.mean = mean_;
    s.deviation = std::sqrt(squares_ / static_cast<double>(count_));
    return s;
  }

 private:
  // The block's own mean and sum of squared distances first, then those of both together: no difference of
  // large sums is ever taken.
  void add_numbers() {
    const auto [low, high] = std::minmax_element(numbers_.begin(), numbers_.end());
    if (count_ == 0 || *low < low_) low_ = *low;
    if (count_ == 0 || *high > high_) high_ = *high;
    const auto n = static_cast<double>(numbers_.size()), before = static_cast<double>(count_);
    // Of numbers that are close together, only what sets them apart is summed.
    const auto shift = static_cast<double>(numbers_[0]);
    double sum = 0, squares = 0;
    for (const N number : numbers_) sum += static_cast<double>(number) - shift;
    const double mean = shift + sum / n;
    for (const N number : numbers_) {
      const double distance = static_cast<double>(number) - mean;
      squares += distance * distance;
    }
    const double apart = mean - mean_;
    mean_ += apart * (n / (before + n));
    squares_ += squares + apart * apart * (before * n / (before + n));
    count_ += static_cast<std::int64_t>(numbers_.size());
  }

  static std::string text(N number) {
    if constexpr (std::is_floating_point_v<N>)
      return number_text(number);
    else
      return std::to_string(number);
  }

  std::vector<N> numbers_;  // the finite ones of a block
  std::int64_t count_ = 0, not_finite_ = 0;
  N low_ = 0, high_ = 0;
  double mean_ = 0, squares_ = 0;
};

template <class T>
std::unique_ptr<Summary> make() {
  return std::make_unique<SummaryOf<T>>();
}

struct Reader {
  const char* dtype;
  std::unique_ptr<Summary> (*make)();
};
constexpr Reader kReaders[] = {
    {"F64", make<double>},        {"F32", make<float>},         {"F16", make<Half>},
    {"BF16", make<bf16>},         {"I64", make<std::int64_t>},  {"I32", make<std::int32_t>},
    {"I16", make<std::int16_t>},  {"I8", make<std::int8_t>},    {"U64", make<std::uint64_t>},
    {"U32", make<std::uint32_t>}, {"U16", make<std::uint16_t>}, {"U8", make<std::uint8_t>},
    {"BOOL", make<Truth>}};

std::unique_ptr<Summary> summary_for(const std::string& dtype) {
  for (const Reader& reader : kReaders)
    if (dtype == reader.dtype) return reader.make();
  return nullptr;
}

}  // namespace

std::vector<std::optional<TensorStatistics>> safetensors_statistics(const InputFile& file,
                                                                    const SafetensorsHeader& header) {
  std::vector<std::optional<TensorStatistics>> result(header.tensors.size());
  const bool checked = header.metadata.count(kSafetensorsChecksumKey) > 0;
  std::uint32_t checksum = 0;
  std::vector<char> block(static_cast<std::size_t>(kBlock));
  for (const std::size_t i : data_order(header)) {
    const SafetensorsEntry& entry = header.tensors[i];
    const std::unique_ptr<Summary> summary = summary_for(entry.dtype);
    if (!summary && !checked) continue;
    for (std::int64_t at = entry.begin; at < entry.end; at += kBlock) {
      const std::int64_t count = std::min(kBlock, entry.end - at);
      file.read(header.data_begin + at, block.data(), count);
      if (checked) checksum = crc32(block.data(), count, checksum);
      if (summary) summary->add(block.data(), count);
    }
    if (summary) result[i] = summary->result();
  }
  require_checksum(file, header, checksum);
  return result;
}

}  // namespace retnet
