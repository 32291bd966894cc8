/// @file
/// Errors that a person can act on: what was required, what was given, what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace retnet {

/// A mistake in what the caller gave, or a failure of the system. The message is one line.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error("op: part part ...").
/// @param op     the operation that refuses, e.g. "matmul"
/// @param parts  printed one after the other with operator<<
template <class... Parts>
[[noreturn]] void fail(const char* op, const Parts&... parts) {
  std::ostringstream message;
  message << op << ": ";
  (message << ... << parts);
  throw Error(message.str());
}

/// Throws as fail() does unless `ok`, so that a check is one line.
template <class... Parts>
void require(bool ok, const char* op, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(op, parts...);
}

}  // namespace retnet
