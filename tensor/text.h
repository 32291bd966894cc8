/// @file
/// Text from outside made fit for one line of a message.
#pragma once

#include <string>
#include <string_view>

namespace retnet {

/// `text` with its control characters written as `\n`, `\t` or `\x1b`, for names that the user chose: paths.
/// An empty one is `""`, for a message must not begin with nothing.
std::string printable(std::string_view text);

/// `text` in double quotes for a message, for what a file holds: everything but printable ASCII is escaped,
/// and beyond `limit` bytes it is cut and its length is given: `"abc..." (5000 bytes)`.
std::string quote(std::string_view text, std::size_t limit = 48);

}  // namespace retnet
