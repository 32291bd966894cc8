/// @file
/// JSON values, read strictly and written deterministically.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/error.h"

namespace retnet {

/// What a JSON text may hold before it is refused: a short text can otherwise ask for much memory.
struct JsonLimits {
  int depth = 64;                               ///< of arrays and objects within each other
  std::int64_t values = std::int64_t{1} << 22;  ///< in total; each takes about 40 bytes
};

/// A JSON value: null, bool, 64-bit integer, double, string, array, or object. Objects keep the order of
/// their members and have no key twice. Integers are exact: a number is a double iff it was written with a
/// point or an exponent, or does not fit 64 bits.
///
///     const Json config = Json::object({{"layers", 2}, {"name", "tiny"}, {"gamma", Json::array({0.97,
///     0.98})}}); config.at("layers").as_int();                           // 2 for (const auto& [key, value]
///     : config.items()) ...
class Json {
 public:
  struct Member;
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;

  /// @name Creation
  /// @{
  Json();                               ///< null
  Json(std::nullptr_t);                 ///< null
  Json(std::same_as<bool> auto value);  ///< a bool
  Json(double value);                   ///< a double
  Json(const char* value);              ///< a string
  Json(std::string_view value);         ///< a string
  Json(std::string value);              ///< a string
  /// @throws Error for an unsigned number that does not fit std::int64_t
  template <std::integral T>
  requires(!std::same_as<T, bool>) Json(T value);
  static Json array();                ///< an empty array
  static Json array(Array elements);  ///< an array of these
  /// @throws Error "WHAT: ..." when a key occurs twice
  static Json object(Object members, std::string_view what = "json");
  static Json object();                    ///< an empty object
  Json(const Json& other);                 ///< a copy of all of it
  Json& operator=(const Json& other);      ///< the same; when memory runs out nothing has changed
  Json(Json&& other) noexcept;             ///< what the other one was, which may be anything then
  Json& operator=(Json&& other) noexcept;  ///< the same
  ~Json();                                 ///< of all of it
  /// @}

  /// Reads one JSON value that takes up the whole text. Refuses what RFC 8259 does (comments, trailing
  /// commas, NaN, text after the value, invalid UTF-8, a byte order mark) and duplicate keys. O(n log n)
  /// time.
  /// @param source  names the text in messages, e.g. "runs/a/config.json"
  /// @throws Error "SOURCE: line 3, column 14: ...", in one line
  static Json parse(std::string_view text, const std::string& source, const JsonLimits& limits = {});

  /// The value as text, the same for the same value everywhere. Integers are exact, doubles the shortest text
  /// that reads back as the same double (and as a double: 1.0, not 1).
  /// @param indent  spaces per level; 0 writes a single line without spaces
  /// @throws Error when a double is not finite or a string is not UTF-8: JSON has no way to write these
  std::string dump(int indent = 0) const;

  /// @name Description
  /// @{
  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }  ///< true iff null
  bool is_bool() const { return std::holds_alternative<bool>(value_); }            ///< true iff true or false
  bool is_int() const { return std::holds_alternative<std::int64_t>(value_); }  ///< true iff a 64-bit integer
  bool is_double() const { return std::holds_alternative<double>(value_); }     ///< true iff a double
  bool is_string() const { return std::holds_alternative<std::string>(value_); }  ///< true iff a string
  bool is_array() const { return std::holds_alternative<Array>(value_); }         ///< true iff an array
  bool is_object() const { return std::holds_alternative<Object>(value_); }       ///< true iff an object
  std::string describe() const;  ///< for messages, shortened: `4.5`, `the string "abc"`, `an array of 3`
  /// @}

  /// @name Access
  /// Each throws Error "WHAT: required an integer of 64 bits, got 4.5" when the value is something else;
  /// `what` is where the value stands, e.g. "config.json: layers".
  /// @{
  bool as_bool(std::string_view what = "json") const;                  ///< true or false
  std::int64_t as_int(std::string_view what = "json") const;           ///< 4.0 and 1e3 are no integers
  double as_double(std::string_view what = "json") const;              ///< integers too, rounded beyond 2^53
  const std::string& as_string(std::string_view what = "json") const;  ///< a string
  const Array& elements(std::string_view what = "json") const;         ///< of an array, in order
  const Object& items(std::string_view what = "json") const;           ///< members of an object, in order
  /// The member of an object, which must be there; O(members), as find() is.
  const Json& at(std::string_view key, std::string_view what = "json") const;
  /// The member of an object, or nullptr.
  const Json* find(std::string_view key, std::string_view what = "json") const;
  /// @}

  /// Replaces a member of an object or adds it at the end; null becomes an object. @throws Error for other
  /// values
  void set(std::string_view key, Json value);
  /// Adds an element to an array; null becomes an array. @throws Error for other values
  void push_back(Json value);

  friend bool operator==(const Json& a, const Json& b);  ///< same types, values and order; 1 is not 1.0

 private:
  template <class T>
  const T& get(const char* required, std::string_view what) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

/// A member of an object.
struct Json::Member {
  std::string key;
  Json value;

  friend bool operator==(const Member& a, const Member& b) { return a.key == b.key && a.value == b.value; }
};

inline Json::Json(std::same_as<bool> auto value) : value_(bool{value}) {}

template <std::integral T>
requires(!std::same_as<T, bool>) Json::Json(T value) : value_(static_cast<std::int64_t>(value)) {
  if constexpr (std::unsigned_integral<T> && sizeof(T) == 8)
    require(value <= static_cast<T>(INT64_MAX), "json", value, " does not fit a signed 64-bit integer");
}

/// Reads a JSON file. @throws Error as read_file() and Json::parse() do, naming the file
Json read_json(const std::string& path);

/// Replaces a file by the indented text of `value`, whole or not at all. @throws Error as write_file_atomic()
/// does
void write_json(const std::string& path, const Json& value);

}  // namespace retnet
