# Doxygen's view of a header: its @file comment also puts it into the group of its folder, line for line.
BEGIN { n = split(ARGV[1], part, "/"); folder = part[n - 1] }
/^\/\/\/ @file/ { in_file = 1 }
in_file && held != "" && !/^\/\/\// { held = held " @ingroup " folder; in_file = 0 }
NR > 1 { print held }
{ held = $0 }
END { print held }
