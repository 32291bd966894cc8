/// @file
/// A line of a terminal that is written over and over.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

namespace retnet {

/// The descriptor, if it leads to a terminal, or -1.
int terminal_of(int descriptor);

/// Width in characters of the terminal that a file descriptor leads to, as it is now; 80 where that is none
/// or does not know.
std::size_t terminal_columns(int descriptor);

/// One line, drawn over the one before. What does not fit into the terminal's width is left out, or the next
/// line would be drawn a row further down. The width is asked for anew each time, as windows change theirs.
class TerminalLine {
 public:
  /// @param descriptor  of the terminal that `out` writes to
  TerminalLine(std::ostream& out, int descriptor) : out_(out), descriptor_(descriptor) {}
  ~TerminalLine() { end(); }
  TerminalLine(const TerminalLine&) = delete;
  TerminalLine& operator=(const TerminalLine&) = delete;

  /// Columns that a line may have: the terminal's, but for the last, behind which some terminals go on to the
  /// next row.
  std::size_t room() const { return terminal_columns(descriptor_) - 1; }
  /// Draws a text over the one before. A text that is cut ends in '>', where there is room for that.
  void draw(const std::string& text);
  /// Removes what was drawn.
  void clear();
  /// Goes on to the next row, if something was drawn on this one.
  void end();

 private:
  std::ostream& out_;
  int descriptor_;
  std::size_t width_ = 0;  ///< of what stands in the row
};

}  // namespace retnet
