/// @file
/// The text inside the program: the book and this project's own source, as they were when it was built.
#pragma once

#include <string_view>

namespace retnet {

/// The files one after the other, whole; those that are held out come last. "" in a program built without.
std::string_view bundled_text();

/// The share of that text, from its end, that files make which a rule on their names holds out: about a tenth.
/// As `held_out` of a Dataset it cuts exactly between two files.
double bundled_held_out();

}  // namespace retnet
