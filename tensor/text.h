/// @file
/// Text from outside made fit for one line of a message.
#pragma once

#include <string>
#include <string_view>

namespace retnet {

/// `text` with its control characters written as `\n`, `\t` or `\x1b`, for names that the user chose: paths.
/// Those beyond ASCII that a terminal acts on are written byte by byte. An empty one is `""`, for a message
/// must not begin with nothing.
std::string printable(std::string_view text);

/// `text` in double quotes for a message, for what a file holds: everything but printable ASCII is escaped,
/// and beyond `limit` bytes it is cut and its length is given: `"abc..." (5000 bytes)`.
std::string quote(std::string_view text, std::size_t limit = 48);

/// Characters that a UTF-8 text takes up on a terminal, at most: those of three and more bytes are counted as
/// wide ones, for many are.
std::size_t columns_of(std::string_view text);

/// The longest beginning of a UTF-8 text that takes up at most so many columns; whole characters.
std::string_view beginning(std::string_view text, std::size_t columns);

/// A number as the shortest text that reads back as the same number: "0.1", "1.0000001", "1e+30"; "nan",
/// "inf", "-inf". So a message never shows a number that was refused as one that is allowed.
std::string number_text(double value);
std::string number_text(float value);  ///< the same of a float: "0.1" for 0.1F

}  // namespace retnet
