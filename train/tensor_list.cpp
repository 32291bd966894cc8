#include "train/tensor_list.h"

#include "tensor/file.h"
#include "tensor/safetensors_statistics.h"
#include "tensor/text.h"
#include "train/output.h"

namespace retnet {
namespace {

constexpr std::size_t kMostSizes = 8, kMostMetadata = 200;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < std::min(shape.size(), kMostSizes); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + (shape.size() > kMostSizes ? ", .. " + std::to_string(shape.size()) + " sizes]" : "]");
}

// A number that several columns have room for.
std::string short_number(double value) { return formatted("%.6g", value); }

std::vector<std::string> row(const SafetensorsEntry& entry, const std::optional<TensorStatistics>& s) {
  std::vector<std::string> cells{printable(entry.dtype), shape_text(entry.shape), std::to_string(entry.begin),
                                 std::to_string(entry.end)};
  if (s && s->finite > 0)
    cells.insert(cells.end(), {s->low, s->high, short_number(s->mean), short_number(s->deviation)});
  else
    cells.insert(cells.end(), 4, "-");
  cells.push_back(s ? with_commas(s->not_finite) : "-");
  return cells;
}

// The columns of a table with the name behind each row: it may be as long as it likes.
std::string with_names(const std::vector<std::vector<std::string>>& rows,
                       const std::vector<std::string>& names) {
  const std::string columns = table(rows);
  std::size_t width = 0;
  for (std::size_t begin = 0, end; begin < columns.size(); begin = end + 1) {
    end = columns.find('\n', begin);
    width = std::max(width, columns_of(std::string_view(columns).substr(begin, end - begin)));
  }
  std::string text;
  std::size_t begin = 0;
  for (const std::string& name : names) {
    const std::size_t end = columns.find('\n', begin);
    const std::string line = columns.substr(begin, end - begin);
    text += line + std::string(width - columns_of(line) + 2, ' ') + name + "\n";
    begin = end + 1;
  }
  return text;
}

std::string metadata_text(const SafetensorsHeader& header) {
  std::string text;
  for (const auto& [key, value] : header.metadata)
    text += "  " + quote(key, kMostMetadata) + ": " + quote(value, kMostMetadata) +
            (key == kSafetensorsChecksumKey ? ", which the data has" : "") + "\n";
  return text.empty() ? "" : "metadata\n" + text + "\n";
}

}  // namespace

std::string tensor_list(const std::string& path) {
  const InputFile file(path);
  const SafetensorsHeader header = read_safetensors_header(file);
  const std::vector<std::optional<TensorStatistics>> statistics = safetensors_statistics(file, header);
  std::vector<std::vector<std::string>> rows{
      {"dtype", "shape", "begin", "end", "min", "max", "mean", "std", "not finite"}};
  std::vector<std::string> names{"name"};
  for (const std::size_t i : data_order(header)) {
    rows.push_back(row(header.tensors[i], statistics[i]));
    names.push_back(printable(header.tensors[i].name));
  }
  const std::int64_t data = file.size() - header.data_begin;
  const std::string count = with_commas(static_cast<std::int64_t>(header.tensors.size()));
  std::string text = printable(path) + ": " + count +
                     (header.tensors.size() == 1 ? " tensor, " : " tensors, ") + with_commas(data) +
                     " bytes (" + human_bytes(data) + ") from byte " + with_commas(header.data_begin) +
                     " on\n\n" + metadata_text(header);
  return header.tensors.empty() ? text : text + with_names(rows, names);
}

}  // namespace retnet
