#include "train/terminal_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "tensor/text.h"

namespace retnet {

int terminal_of(int descriptor) { return ::isatty(descriptor) == 1 ? descriptor : -1; }

std::size_t terminal_columns(int descriptor) {
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void TerminalLine::draw(const std::string& text) {
  const std::size_t room = this->room();
  std::string shown = text;
  if (columns_of(text) > room) shown = room == 0 ? "" : std::string(beginning(text, room - 1)) + ">";
  const std::size_t width = columns_of(shown), before = std::min(width_, room);
  out_ << '\r' << shown << std::string(before > width ? before - width : 0, ' ');  // over a longer one
  out_.flush();
  width_ = width;
}

void TerminalLine::clear() {
  if (width_ > 0) out_ << '\r' << std::string(std::min(width_, room()), ' ') << '\r' << std::flush;
  width_ = 0;
}

void TerminalLine::end() {
  if (width_ > 0) out_ << std::endl;
  width_ = 0;
}

}  // namespace retnet
