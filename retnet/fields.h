/// @file
/// Structs of settings as lists of named fields. A struct says its fields once, in a function
///
///     template <class S, class Visit>
///     void for_each_field(S& s, Visit&& visit) { visit("name", s.name, "help"); ... }
///
/// and files, command line flags and help are made from that list. A field is a std::int64_t, double, bool,
/// std::string, std::vector<double>, or an enumeration with Names.
#pragma once

#include <iterator>
#include <string>
#include <type_traits>
#include <vector>

#include "tensor/json.h"
#include "tensor/text.h"

namespace retnet {

/// Names of an enumeration's values, in order: `static constexpr const char* list[]`.
template <class E>
struct Names;

/// The candidate with the smallest edit distance to `name`, or "" when none is near (more than a third
/// differs).
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

/// "; did you mean NAME?" with the nearest candidate, or "".
std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates);

/// "a, b or c".
std::string joined(const std::vector<std::string>& names);

/// @name One field from text, as on a command line
/// Each throws Error "WHAT: required .., got ..".
/// @{
void parse_field(const std::string& what, const std::string& text, std::int64_t& field);  ///< decimal digits
void parse_field(const std::string& what, const std::string& text, double& field);       ///< a decimal number
void parse_field(const std::string& what, const std::string& text, bool& field);         ///< true or false
void parse_field(const std::string& what, const std::string& text, std::string& field);  ///< as it is
void parse_field(const std::string& what, const std::string& text,
                 std::vector<double>& field);  ///< "0.9,0.99"
/// One of the names of an enumeration.
template <class E>
requires std::is_enum_v<E>
void parse_field(const std::string& what, const std::string& text, E& field) {
  const std::vector<std::string> names(std::begin(Names<E>::list), std::end(Names<E>::list));
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == text) {
      field = static_cast<E>(i);
      return;
    }
  fail(what.c_str(), "required ", joined(names), ", got ", quote(text), did_you_mean(text, names));
}
/// @}

/// One field from JSON. @throws Error "WHAT: required .., got .."
template <class T>
void read_field(const std::string& what, const Json& json, T& field) {
  if constexpr (std::is_same_v<T, std::int64_t>) {
    field = json.as_int(what);
  } else if constexpr (std::is_same_v<T, double>) {
    field = json.as_double(what);
  } else if constexpr (std::is_same_v<T, bool>) {
    field = json.as_bool(what);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    field.clear();
    for (const Json& element : json.elements(what)) field.push_back(element.as_double(what));
  } else {
    parse_field(what, json.as_string(what), field);
  }
}

/// One field as JSON; enumerations by name.
template <class T>
Json field_to_json(const T& field) {
  if constexpr (std::is_enum_v<T>) {
    return Names<T>::list[static_cast<std::size_t>(field)];
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    Json list = Json::array();
    for (const double value : field) list.push_back(value);
    return list;
  } else {
    return field;
  }
}

/// Names of a struct's fields, in order.
template <class S>
std::vector<std::string> field_names(S& s) {
  std::vector<std::string> names;
  for_each_field(s, [&](const char* key, const auto&, const char*) { names.push_back(key); });
  return names;
}

/// Every field, as an object in the order of the list.
template <class S>
Json fields_to_json(S& s) {
  Json json = Json::object();
  for_each_field(
      s, [&](const char* key, const auto& field, const char*) { json.set(key, field_to_json(field)); });
  return json;
}

/// Reads an object into the fields of `s`; a field that is absent keeps its value.
/// @throws Error "SOURCE: .." for an unknown key, offering the nearest, or for a value that does not fit
template <class S>
void fields_from_json(S& s, const Json& json, const std::string& source) {
  const std::vector<std::string> names = field_names(s);
  for (const Json::Member& member : json.items(source)) {
    bool known = false;
    for_each_field(s, [&](const char* key, auto& field, const char*) {
      if (member.key != key) return;
      known = true;
      read_field(source + ": " + key, member.value, field);
    });
    if (!known) fail(source.c_str(), "unknown field ", quote(member.key), did_you_mean(member.key, names));
  }
}

/// Sets one field from text. @throws Error for an unknown field, or for text that does not fit
template <class S>
void set_field(S& s, const std::string& key, const std::string& text) {
  bool known = false;
  for_each_field(s, [&](const char* name, auto& field, const char*) {
    if (key != name) return;
    known = true;
    parse_field(key, text, field);
  });
  if (!known) fail("settings", "unknown field ", quote(key), did_you_mean(key, field_names(s)));
}

}  // namespace retnet
