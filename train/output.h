/// @file
/// Standard output that does not lose an error: a full disk or a closed pipe is seen at the byte it hits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"

namespace retnet {

/// Standard output is a pipe whose reader has gone, as `retnet generate | head` leaves it. Nobody needs a
/// message.
struct ClosedPipe : Error {
  ClosedPipe() : Error("standard output: the reader has gone") {}
};

/// Gives the file descriptors 0, 1 and 2 that are closed a place, so that no file of ours is opened under the
/// number of standard output and then written to by print(). Also lets writes to a closed pipe or beyond a
/// file size limit fail instead of killing the program. Call it first.
void prepare_standard_streams();

/// @throws Error when standard output is closed: better said before an hour of training than after it
void require_standard_output();

/// Writes to standard output, at once. @throws ClosedPipe, or Error when the bytes cannot be written
void print(std::string_view text);

/// A table for people: columns aligned, the first to the left, the others to the right.
/// @param rows  the first row is the heading
std::string table(const std::vector<std::vector<std::string>>& rows);

/// A number as printf prints it with `format`, e.g. "%.3f"; any NaN is "nan".
std::string formatted(const char* format, double value);

/// A whole number with commas: 863,744.
std::string with_commas(std::int64_t value);

/// A number of bytes for people: "132.0 KiB".
std::string human_bytes(std::int64_t bytes);

/// Text broken into lines of at most `width` characters, at spaces; the lines after the first are indented.
std::string wrapped(const std::string& text, std::size_t width, std::size_t indent);

}  // namespace retnet
