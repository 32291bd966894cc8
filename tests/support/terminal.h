/// @file
/// A terminal without a person before it.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace retnet::test {

/// A pseudo-terminal. What is written to it stays in its buffer of a few kilobytes until it is read.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) {
    master_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master_ < 0 || grantpt(master_) != 0 || unlockpt(master_) != 0)
      throw std::runtime_error("no terminal");
    descriptor_ = open(ptsname(master_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (descriptor_ < 0) throw std::runtime_error("no terminal");
    resize(columns);
  }
  ~Terminal() { close(master_), close(descriptor_); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// For the program that writes.
  int descriptor() const { return descriptor_; }
  /// @param columns  0: a terminal that does not know
  void resize(unsigned short columns) const {
    const winsize size{24, columns, 0, 0};
    if (ioctl(descriptor_, TIOCSWINSZ, &size) != 0) throw std::runtime_error("cannot resize a terminal");
  }
  /// What has been written since the last call; waits for nothing.
  std::string read() const {
    std::string text;
    char block[4096];
    fcntl(master_, F_SETFL, O_NONBLOCK);
    for (ssize_t got; (got = ::read(master_, block, sizeof block)) > 0;)
      text.append(block, static_cast<std::size_t>(got));
    return text;
  }

 private:
  int master_ = -1, descriptor_ = -1;
};

/// Rows that a text takes up on a terminal that goes on to the next row only when a character does not fit,
/// counted from the one it begins in. `eager`: as soon as the last column is full.
inline int rows_taken(const std::string& text, std::size_t columns, bool eager) {
  int rows = 0;
  std::size_t column = 0;
  for (const char c : text) {
    if (c == '\r') {
      column = 0;
    } else if (c == '\n') {
      column = 0, ++rows;
    } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
      if (column == columns) column = 0, ++rows;
      if (++column == columns && eager) column = 0, ++rows;
    }
  }
  return rows;
}

}  // namespace retnet::test
