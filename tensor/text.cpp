#include "tensor/text.h"

#include <charconv>
#include <cmath>

namespace retnet {
namespace {

void append_escaped(std::string& out, unsigned char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\t') {
    out += "\\t";
  } else {
    out += "\\x";
    out += kHex[c >> 4];
    out += kHex[c & 15];
  }
}

template <class T>
std::string shortest(T value) {
  if (std::isnan(value)) return "nan";  // without its sign, which says nothing
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

struct Character {
  std::size_t bytes, columns;
};

/// The character that a text begins with. A byte that is no UTF-8 is shown as one sign.
Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t bytes = lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (std::size_t i = 1; i < bytes; ++i)
    if (i == text.size() || (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return {1, 1};
  return {bytes, bytes < 3 ? std::size_t{1} : std::size_t{2}};
}

bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

/// Whether a text begins with a character beyond ASCII that a terminal acts on: U+0080 to U+009F are control
/// characters too, and U+2028 to U+202E and U+2066 to U+2069 end a line or turn the direction of what
/// follows.
bool begins_with_control(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  if (byte(0) == 0xc2) return byte(1) >= 0x80 && byte(1) <= 0x9f;
  if (byte(0) != 0xe2) return false;
  return (byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) ||
         (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9);
}

}  // namespace

std::string printable(std::string_view text) {
  if (text.empty()) return "\"\"";
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const bool control = is_control(static_cast<unsigned char>(rest[0])) || begins_with_control(rest);
    const std::size_t bytes = control ? first_character(rest).bytes : 1;
    for (const char c : rest.substr(0, bytes))
      if (control)
        append_escaped(out, static_cast<unsigned char>(c));
      else
        out += c;
    at += bytes;
  }
  return out;
}

std::string quote(std::string_view text, std::size_t limit) {
  std::string out = "\"";
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_control(byte) || byte >= 0x80) {
      append_escaped(out, byte);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  if (text.size() <= limit) return out + '"';
  return out + "...\" (" + std::to_string(text.size()) + " bytes)";
}

std::string_view beginning(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  while (end < text.size()) {
    const Character next = first_character(text.substr(end));
    if (next.columns > columns) break;
    end += next.bytes;
    columns -= next.columns;
  }
  return text.substr(0, end);
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character next = first_character(text.substr(at));
    at += next.bytes;
    columns += next.columns;
  }
  return columns;
}

std::string number_text(double value) { return shortest(value); }
std::string number_text(float value) { return shortest(value); }

}  // namespace retnet
