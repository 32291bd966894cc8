#include "retnet/fields.h"

#include <algorithm>
#include <charconv>

namespace retnet {
namespace {

template <class T>
T number_from(const std::string& what, const char* kind, const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size(), what.c_str(), "required ", kind, ", got ",
          quote(text));
  return value;
}

/// Insertions, deletions, changes and swaps of neighbours that lead from a to b.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before, last,
      row(b.size() + 1);  // distances of prefixes of b, for three prefixes of a
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before = std::move(last);
    last = row;
    row[0] = i;
    for (std::size_t j = 1; j < row.size(); ++j) {
      row[j] = std::min({last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1), last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = 1 + std::max<std::size_t>(1, name.size() / 3);
  for (const std::string& candidate : candidates)
    if (const std::size_t distance = edit_distance(name, candidate); distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  return best;
}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string nearest = nearest_name(name, candidates);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return text;
}

void parse_field(const std::string& what, const std::string& text, std::int64_t& field) {
  field = number_from<std::int64_t>(what, "a whole number", text);
}

void parse_field(const std::string& what, const std::string& text, double& field) {
  field = number_from<double>(what, "a number", text);
}

void parse_field(const std::string& what, const std::string& text, bool& field) {
  require(text == "true" || text == "false", what.c_str(), "required true or false, got ", quote(text));
  field = text == "true";
}

void parse_field(const std::string&, const std::string& text, std::string& field) { field = text; }

void parse_field(const std::string& what, const std::string& text, std::vector<double>& field) {
  field.clear();
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    field.push_back(
        number_from<double>(what, "numbers with commas between them", text.substr(begin, end - begin)));
    begin = end + 1;
  }
}

}  // namespace retnet
