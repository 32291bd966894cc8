# Turns a page of GitHub Markdown into what Doxygen 1.9 understands, line for line, so that warnings keep their line
# numbers:  RETNET_DOCS_ROOT=source awk -f docs/doxygen.awk source/docs/page.md
#
#   $x$, $$ .. $$ and fences of ```math     Doxygen's formulas. As in Pandoc, an opening $ is followed by no space and
#                                           a closing $ preceded by none and followed by no digit, so $5 stays $5
#   # Title and ## Heading                  the same with a label: page_docs_x in docs/x.md, and page_docs_x-heading, the
#                                           heading written as GitHub writes it in addresses
#   <a id="eq5"></a> on a line of its own   \anchor page_docs_x-eq5
#   [text](x.md#eq5), [text](#eq5)          a reference to that label, so that Doxygen checks it
#   [text](../retnet/block.h)               a reference to the interface of that header
#   [text](../retnet/block.cpp)             source/retnet/block.cpp.txt, where cmake/BuildDocs.cmake puts what has no page:
#                                           sources, and the headers inside kernels/cpu and kernels/hip
#   ![text](../docs/figures/x.svg)          a picture among those of docs/
#   <!-- snippet FILE NAME --> and the      \snippet FILE NAME: the same lines, with numbers and links
#   fence after it
#   the empty line after the title          [TOC]
#
# Code, in fences or between backticks, stays as it is.

FNR == 1 {
  name = substr(FILENAME, length(ENVIRON["RETNET_DOCS_ROOT"]) + 2)
  folder = name
  if (!sub(/\/[^\/]*$/, "/", folder)) folder = ""
}

# The label of a page, from its path in the source.
function page_label(path) {
  sub(/\.md$/, "", path)
  gsub(/\//, "_", path)
  return "page_" path
}

# A path from the root of the source, from one that begins in this page's folder.
function from_root(path) {
  path = folder path
  while (sub(/[^\/]+\/\.\.\//, "", path)) {}
  return path
}

# What a link or a picture leads to in the site.
function target(address, picture,    hash, path, anchor) {
  if (address ~ /^[a-z]+:/) return address
  hash = index(address, "#")
  anchor = hash ? "-" substr(address, hash + 1) : ""
  path = hash ? substr(address, 1, hash - 1) : address
  path = path == "" ? name : from_root(path)
  if (picture) { sub(/^docs\//, "", path); return path }
  if (path ~ /\.md$/) return "@ref " page_label(path) anchor
  if (path ~ /\.h$/ && path !~ /^kernels\/(cpu|hip)\//) return "@ref " path
  return "source/" path ".txt"
}

# The label of a heading, of GitHub's name for it: lower case, punctuation gone, blanks to hyphens; the second one of a name
# ends in -1.
function heading_label(line) {
  sub(/^#+ +/, "", line)
  line = tolower(line)
  gsub(/[^a-z0-9 _-]/, "", line)
  gsub(/ /, "-", line)
  line = page_label(name) "-" line
  return labelled[line]++ ? line "-" (labelled[line] - 1) : line
}

# A line of text: its formulas and links, outside of code.
function translate(line,    out, i, c, run, close_at, rest, length_, picture) {
  out = ""
  picture = 0
  length_ = length(line)
  for (i = 1; i <= length_; ++i) {
    c = substr(line, i, 1)
    if (c == "`") {
      # A code span ends at a run of as many backticks as it began with.
      match(substr(line, i), /^`+/)
      run = substr(line, i, RLENGTH)
      rest = substr(line, i + RLENGTH)
      close_at = span_end(rest, run)
      if (close_at == 0) { out = out run; i += length(run) - 1; continue }
      out = out run substr(rest, 1, close_at + length(run) - 1)
      i += length(run) + close_at + length(run) - 2
      continue
    }
    if (c == "\\" && substr(line, i + 1, 1) == "$") { out = out "$"; ++i; continue }
    if (c == "$") {
      rest = substr(line, i + 1)
      close_at = formula_end(rest)
      if (close_at > 0) {
        out = out "\\f$" substr(rest, 1, close_at - 1) "\\f$"
        i += close_at
        continue
      }
    }
    if (c == "[") picture = substr(out, length(out)) == "!"
    if (c == "]" && match(substr(line, i), /^\]\([^ )]+\)/)) {
      out = out "](" target(substr(line, i + 2, RLENGTH - 3), picture) ")"
      i += RLENGTH - 1
      continue
    }
    out = out c
  }
  return out
}

# Where a run of exactly these backticks begins in the text; 0 if nowhere.
function span_end(text, run,    at) {
  at = 0
  while (match(text, /`+/)) {
    if (RLENGTH == length(run)) return at + RSTART
    at += RSTART + RLENGTH - 1
    text = substr(text, RSTART + RLENGTH)
  }
  return 0
}

# Where the $ that closes a formula stands in what follows the opening one; 0 if that one opens nothing.
function formula_end(text,    i, c, before, after) {
  if (text ~ /^[ \t$]/ || text == "") return 0
  for (i = 1; i <= length(text); ++i) {
    c = substr(text, i, 1)
    if (c == "\\") { ++i; continue }
    if (c == "`") return 0
    if (c != "$") continue
    before = substr(text, i - 1, 1)
    after = substr(text, i + 1, 1)
    if (before != " " && before != "\t" && after !~ /[0-9]/) return i
    return 0
  }
  return 0
}

# Inside a fence.
fence != "" {
  if (match($0, /^ *(```+|~~~+) *$/) && index($0, fence) > 0) {
    print (kind == "math" ? "\\f]" : kind == "snippet" ? "" : $0)
    fence = ""
  } else {
    print (kind == "snippet" ? "" : $0)
  }
  next
}

# A display between lines of $$.
display { if ($0 ~ /^ *\$\$ *$/) { print "\\f]"; display = 0 } else print; next }
/^ *\$\$ *$/ { print "\\f["; display = 1; next }
/^ *\$\$.*\$\$ *$/ { line = $0; sub(/\$\$/, "\\f[", line); sub(/\$\$ *$/, "\\f]", line); print line; next }

/^<!-- snippet [^ ]+ [^ ]+ -->$/ { snippet = $3 " " $4; print ""; next }

/^ *(```+|~~~+)/ {
  match($0, /(```+|~~~+)/)
  fence = substr($0, RSTART, RLENGTH)
  info = substr($0, RSTART + RLENGTH)
  kind = "code"
  if (info ~ /^ *math *$/) kind = "math"
  if (snippet != "") kind = "snippet"
  print (kind == "math" ? "\\f[" : kind == "snippet" ? "\\snippet{lineno} " snippet : $0)
  snippet = ""
  next
}

/^<a id="[^"]+"><\/a>$/ {
  split($0, part, "\"")
  label = page_label(name) "-" part[2]
  ++labelled[label]
  print "\\anchor " label
  next
}

# A table of contents after the title.
/^# / && !titled { titled = 1; print translate($0) " {#" page_label(name) "}"; next }
titled == 1 && /^$/ { titled = 2; print "[TOC]"; next }

/^#+ / { print translate($0) " {#" heading_label($0) "}"; next }

{ print translate($0) }
