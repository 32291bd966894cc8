#include "tensor/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>  // 10 s to compile, so nowhere else

#include "tensor/file.h"
#include "tensor/text.h"

namespace retnet {
namespace {

// The first key that occurs twice, or nullptr. Sorts, so that a hostile object of a million keys stays cheap.
const std::string* duplicate_key(const Json::Object& members) {
  std::vector<const std::string*> keys;
  keys.reserve(members.size());
  for (const Json::Member& member : members) keys.push_back(&member.key);
  std::sort(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a < *b; });
  const auto twice =
      std::adjacent_find(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a == *b; });
  return twice == keys.end() ? nullptr : *twice;
}

// "syntax error while parsing value - invalid literal" of nlohmann's
// "[json.exception.parse_error.101] parse error at line 1, column 4: syntax error while parsing value -
// invalid literal; last read: '...'; expected ...": the rest may quote the whole file.
std::string syntax_error(std::string_view message) {
  if (message.find("parse_error") == message.npos) return "number out of range";
  const std::size_t begin = message.find(": ");
  if (begin != message.npos) message.remove_prefix(begin + 2);
  return printable(message.substr(0, std::min<std::size_t>(message.find("; "), 120)));
}

[[noreturn]] void fail_at(const std::string& source, std::string_view text, std::size_t position,
                          const std::string& error) {
  const std::string_view read = text.substr(0, position);
  const auto line = 1 + std::count(read.begin(), read.end(), '\n');
  const std::size_t line_begin = read.rfind('\n') == read.npos ? 0 : read.rfind('\n') + 1;
  const std::size_t column = std::max<std::size_t>(1, read.size() - line_begin);
  const std::string_view tail = read.substr(read.size() - std::min<std::size_t>(read.size(), 24));
  fail(printable(source).c_str(), "line ", line, ", column ", column, ": ", error, ", after ", quote(tail));
}

// Builds a Json from the events of nlohmann's parser, which is iterative: nesting costs no stack. An event
// returns whether to go on; these throw instead.
class Builder {
 public:
  Builder(std::string_view text, const std::string& source, const JsonLimits& limits)
      : text_(text), source_(source), limits_(limits) {}

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  // Called for numbers with a minus sign only. The integer -0 keeps its sign as a double.
  bool number_integer(std::int64_t value) { return value == 0 ? add(Json(-0.0)) : add(Json(value)); }
  bool number_unsigned(std::uint64_t value) {
    return value <= INT64_MAX ? add(Json(value)) : add(Json(static_cast<double>(value)));
  }
  bool number_float(double value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) { fail(printable(source_).c_str(), "binary values are no JSON"); }
  bool start_object(std::size_t) { return open(); }
  bool start_array(std::size_t) { return open(); }
  bool key(std::string& value) {
    open_.back().keys.push_back(std::move(value));
    return true;
  }
  bool end_object() {
    Json::Object members(open_.back().keys.size());
    for (std::size_t i = 0; i < members.size(); ++i)
      members[i] = {std::move(open_.back().keys[i]), std::move(open_.back().values[i])};
    open_.pop_back();
    return place(Json::object(std::move(members), source_));
  }
  bool end_array() {
    Json array = Json::array(std::move(open_.back().values));
    open_.pop_back();
    return place(std::move(array));
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& exception) {
    fail_at(source_, text_, position, syntax_error(exception.what()));
  }

  Json result() { return std::move(root_); }

 private:
  struct Container {
    std::vector<std::string> keys;  // of an object
    Json::Array values;
  };

  void count() {
    require(++values_ <= limits_.values, printable(source_).c_str(), "holds more than ", limits_.values,
            " values");
  }
  bool add(Json value) {
    count();
    return place(std::move(value));
  }
  bool place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else {
      open_.back().values.push_back(std::move(value));
    }
    return true;
  }
  bool open() {
    count();
    open_.emplace_back();
    require(static_cast<int>(open_.size()) <= limits_.depth, printable(source_).c_str(),
            "nested deeper than ", limits_.depth, " levels");
    return true;
  }

  std::string_view text_;
  const std::string& source_;
  JsonLimits limits_;
  std::int64_t values_ = 0;
  std::vector<Container> open_;  // innermost last
  Json root_;
};

void append_double(std::string& out, double value) {
  require(std::isfinite(value), "json", "cannot write ", value, ": JSON has finite numbers only");
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
  // "1" would read back as an integer.
  if (std::find_if(digits, end, [](char c) { return c == '.' || c == 'e'; }) == end) out += ".0";
}

void append_string(std::string& out, const std::string& text) {
  try {
    out += nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("json", "cannot write ", quote(text), ": not UTF-8");
  }
}

void append_line(std::string& out, int indent, int level) {
  if (indent == 0) return;
  out += '\n';
  out.append(static_cast<std::size_t>(indent * level), ' ');
}

void append_value(std::string& out, const Json& json, int indent, int level);

void append_array(std::string& out, const Json::Array& elements, int indent, int level) {
  // A list of numbers reads better in one line.
  const bool flat = std::none_of(elements.begin(), elements.end(),
                                 [](const Json& x) { return x.is_array() || x.is_object(); });
  const char* separator = "";
  out += '[';
  for (const Json& element : elements) {
    out += separator;
    if (!flat) append_line(out, indent, level + 1);
    append_value(out, element, indent, level + 1);
    separator = flat && indent > 0 ? ", " : ",";
  }
  if (!flat) append_line(out, indent, level);
  out += ']';
}

void append_object(std::string& out, const Json::Object& members, int indent, int level) {
  const char* separator = "";
  out += '{';
  for (const auto& [key, value] : members) {
    out += separator;
    append_line(out, indent, level + 1);
    append_string(out, key);
    out += indent > 0 ? ": " : ":";
    append_value(out, value, indent, level + 1);
    separator = ",";
  }
  if (!members.empty()) append_line(out, indent, level);
  out += '}';
}

void append_value(std::string& out, const Json& json, int indent, int level) {
  if (json.is_null()) {
    out += "null";
  } else if (json.is_bool()) {
    out += json.as_bool() ? "true" : "false";
  } else if (json.is_int()) {
    out += std::to_string(json.as_int());
  } else if (json.is_double()) {
    append_double(out, json.as_double());
  } else if (json.is_string()) {
    append_string(out, json.as_string());
  } else if (json.is_array()) {
    append_array(out, json.elements(), indent, level);
  } else {
    append_object(out, json.items(), indent, level);
  }
}

}  // namespace

Json::Json() = default;
Json::Json(std::nullptr_t) {}
Json::Json(double value) : value_(value) {}
Json::Json(const char* value) : value_(std::string(value)) {}
Json::Json(std::string_view value) : value_(std::string(value)) {}
Json::Json(std::string value) : value_(std::move(value)) {}

// Not the variant's own copy: where memory runs out in that, GCC 12's library destroys an alternative that is
// not there, as it holds a variant of strings and vectors to have a value always.
Json::Json(const Json& other) {
  std::visit(
      [this](const auto& value) {
        auto copy = value;
        value_.template emplace<decltype(copy)>(std::move(copy));
      },
      other.value_);
}

Json& Json::operator=(const Json& other) { return *this = Json(other); }
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(Json&&) noexcept = default;
Json::~Json() = default;

Json Json::array() { return array(Array{}); }
Json Json::object() { return object(Object{}); }

Json Json::array(Array elements) {
  Json json;
  json.value_ = std::move(elements);
  return json;
}

Json Json::object(Object members, std::string_view what) {
  const std::string* twice = duplicate_key(members);
  require(twice == nullptr, printable(what).c_str(), "the key ", quote(twice ? *twice : ""), " occurs twice");
  Json json;
  json.value_ = std::move(members);
  return json;
}

Json Json::parse(std::string_view text, const std::string& source, const JsonLimits& limits) {
  // The parser takes a NUL byte for the end of the text, and skips a byte order mark.
  if (const std::size_t nul = text.find('\0'); nul != text.npos) fail_at(source, text, nul + 1, "a NUL byte");
  if (text.substr(0, 3) == "\xEF\xBB\xBF") fail_at(source, text, 3, "a byte order mark");
  Builder builder(text, source, limits);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.result();
}

std::string Json::dump(int indent) const {
  std::string out;
  append_value(out, *this, indent, 0);
  return out;
}

std::string Json::describe() const {
  if (is_string()) return "the string " + quote(as_string());
  if (is_array()) return "an array of " + std::to_string(elements().size());
  if (is_object()) return "an object of " + std::to_string(items().size());
  return dump();
}

template <class T>
const T& Json::get(const char* required, std::string_view what) const {
  const T* value = std::get_if<T>(&value_);
  if (value == nullptr) fail(printable(what).c_str(), "required ", required, ", got ", describe());
  return *value;
}

bool Json::as_bool(std::string_view what) const { return get<bool>("true or false", what); }
std::int64_t Json::as_int(std::string_view what) const {
  return get<std::int64_t>("an integer of 64 bits", what);
}
double Json::as_double(std::string_view what) const {
  return is_int() ? static_cast<double>(as_int()) : get<double>("a number", what);
}
const std::string& Json::as_string(std::string_view what) const { return get<std::string>("a string", what); }
const Json::Array& Json::elements(std::string_view what) const { return get<Array>("an array", what); }
const Json::Object& Json::items(std::string_view what) const { return get<Object>("an object", what); }

const Json* Json::find(std::string_view key, std::string_view what) const {
  for (const Member& member : items(what))
    if (member.key == key) return &member.value;
  return nullptr;
}

const Json& Json::at(std::string_view key, std::string_view what) const {
  const Json* value = find(key, what);
  require(value != nullptr, printable(what).c_str(), "the key ", quote(key), " is missing");
  return *value;
}

void Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = Object{};
  if (const Json* old = find(key)) {
    const_cast<Json&>(*old) = std::move(value);
  } else {
    std::get<Object>(value_).push_back({std::string(key), std::move(value)});
  }
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array{};
  elements();  // throws for what is no array
  std::get<Array>(value_).push_back(std::move(value));
}

bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

Json read_json(const std::string& path) { return Json::parse(read_file(path), path); }

void write_json(const std::string& path, const Json& value) { write_file_atomic(path, value.dump(2) + "\n"); }

}  // namespace retnet
