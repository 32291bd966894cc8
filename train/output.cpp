#include "train/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tensor/text.h"

namespace retnet {

void prepare_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    // The lowest free number is taken, so this fills exactly the gap. Opened the wrong way round, standard
    // input and output still fail when used, as closed ones should; standard error swallows what nobody can
    // read.
    const int place = open("/dev/null", descriptor == 1 ? O_RDONLY : O_WRONLY);
    if (place != descriptor) std::_Exit(1);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void require_standard_output() {
  const int flags = fcntl(STDOUT_FILENO, F_GETFL);
  require(flags != -1 && (flags & O_ACCMODE) != O_RDONLY, "standard output",
          "is closed; give it a place, even /dev/null");
}

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) throw ClosedPipe();
    if (written < 0 && errno == EBADF) require_standard_output();
    require(written >= 0, "standard output", "cannot write: ", std::strerror(errno));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c == widths.size()) widths.push_back(0);
      widths[c] = std::max(widths[c], columns_of(row[c]));
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - columns_of(row[c]), ' ');
      line += c == 0 ? row[c] + space : "  " + space + row[c];
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string formatted(const char* format, double value) {
  // The sign of a NaN says nothing, and not every printf shows it.
  if (std::isnan(value)) value = std::abs(value);
  char text[512];  // %.3f of the largest double has 313 characters
  const int length = std::snprintf(text, sizeof text, format, value);
  require(length >= 0 && length < static_cast<int>(sizeof text), "formatted", "the number does not fit");
  return text;
}

std::string with_commas(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3;) digits.insert(i -= 3, 1, ',');
  return digits;
}

std::string human_bytes(std::int64_t bytes) { return MemorySize(bytes).text; }

std::string wrapped(const std::string& text, std::size_t width, std::size_t indent) {
  std::string out;
  std::size_t column = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::size_t length = end - begin;
    if (column > 0 && column + 1 + length > width) {
      out += '\n';
      out.append(indent, ' ');
      column = 0;
    }
    if (column > 0) out += ' ', ++column;
    out.append(text, begin, length);
    column += length;
    begin = end + 1;
  }
  return out;
}

}  // namespace retnet
