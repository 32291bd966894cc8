# Turns a page of GitHub Markdown into what Doxygen 1.9 understands, line for line, so that warnings keep their line
# numbers:  awk -f docs/doxygen.awk page.md
#
#   $x$, $$ .. $$ and fences of ```math     Doxygen's formulas. As in Pandoc, an opening $ is followed by no space and
#                                           a closing $ preceded by none and followed by no digit, so $5 stays $5
#   <a id="eq5"></a> on a line of its own   \anchor eq5, so that Doxygen checks links to it
#   <!-- snippet FILE NAME --> and the      \snippet FILE NAME: the same lines, with numbers and links
#   fence after it
#   the empty line after the title          [TOC]
#
# Code, in fences or between backticks, stays as it is.

# Formulas of one line outside of code.
function formulas(line,    out, i, c, run, close_at, rest, length_) {
  out = ""
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

/^<a id="[^"]+"><\/a>$/ { split($0, part, "\""); print "\\anchor " part[2]; next }

# A table of contents after the title.
/^# / && !titled { titled = 1; print formulas($0); next }
titled == 1 && /^$/ { titled = 2; print "[TOC]"; next }

{ print formulas($0) }
