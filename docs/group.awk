# Doxygen's view of a header: its @file comment also puts it into the group of its folder, line for line. The name of the
# group goes to the end of the first sentence's first line, as a block of code may come last.
BEGIN { n = split(ARGV[1], part, "/"); folder = part[n - 1] }
after_file { $0 = $0 " @ingroup " folder; after_file = 0 }
/^\/\/\/ @file/ { after_file = 1 }
{ print }
