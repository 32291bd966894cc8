/// @file
/// Errors that a person can act on: what was required, what was given, what to do.
#pragma once

#include <cstdint>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "tensor/text.h"

namespace retnet {

/// A mistake in what the caller gave, or a failure of the system. The message is one line.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Memory that cannot be had: the message is one line that names what was too large. It lies in the exception
/// itself, because there may be no memory for it elsewhere. No Error, so that who catches errors of files and
/// shapes does not take it for one of those.
class OutOfMemory : public std::bad_alloc {
 public:
  /// The message as by printf, cut to what there is room for.
  [[gnu::format(printf, 2, 3)]] explicit OutOfMemory(const char* format, ...);
  const char* what() const noexcept override { return text_; }

 private:
  char text_[384];
};

/// "298.0 GiB", in an object of its own, so that no memory is needed to say it.
struct MemorySize {
  explicit MemorySize(std::int64_t bytes);
  char text[24];
};

namespace detail {

/// A part of a message, numbers with all their digits.
template <class Part>
decltype(auto) shown_in_error(const Part& part) {
  if constexpr (std::is_floating_point_v<Part>)
    return number_text(part);
  else
    return (part);
}

}  // namespace detail

/// Throws Error("op: part part ...").
/// @param op     the operation that refuses, e.g. "matmul"
/// @param parts  printed one after the other with operator<<, numbers as number_text() has them
template <class... Parts>
[[noreturn]] void fail(const char* op, const Parts&... parts) {
  std::ostringstream message;
  message << op << ": ";
  (message << ... << detail::shown_in_error(parts));
  throw Error(message.str());
}

/// Throws as fail() does unless `ok`, so that a check is one line.
template <class... Parts>
void require(bool ok, const char* op, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(op, parts...);
}

}  // namespace retnet
