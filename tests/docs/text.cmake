# What the checks of text share. CMake takes [, ], ; and a \ at a line's end for list syntax, so lines are read with these
# characters replaced, and put back by restore().

cmake_minimum_required(VERSION 3.22)

# The lines of a file, as a list.
function(read_lines file result)
  file(READ "${file}" text)
  string(ASCII 1 a)
  string(ASCII 2 b)
  string(ASCII 3 c)
  string(ASCII 4 d)
  string(REPLACE "[" "${a}" text "${text}")
  string(REPLACE "]" "${b}" text "${text}")
  string(REPLACE ";" "${c}" text "${text}")
  string(REPLACE "\\" "${d}" text "${text}")
  string(REGEX REPLACE "\n$" "" text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# A line, or several, as they are in the file.
function(restore line result)
  string(ASCII 1 a)
  string(ASCII 2 b)
  string(ASCII 3 c)
  string(ASCII 4 d)
  string(REPLACE "${a}" "[" line "${line}")
  string(REPLACE "${b}" "]" line "${line}")
  string(REPLACE "${c}" ";" line "${line}")
  string(REPLACE "${d}" "\\" line "${line}")
  set(${result} "${line}" PARENT_SCOPE)
endfunction()

# Source files of the folders, as absolute paths.
function(source_files root result)
  set(files)
  foreach(folder ${ARGN})
    file(GLOB_RECURSE some ${root}/${folder}/*.h ${root}/${folder}/*.cpp ${root}/${folder}/*.hip)
    list(APPEND files ${some})
  endforeach()
  set(${result} "${files}" PARENT_SCOPE)
endfunction()

# Collects a complaint in `problems`, to be reported together by report().
set(problems "")
function(complain text)
  set(problems "${problems}  ${text}\n" PARENT_SCOPE)
endfunction()

# Ends the script with all complaints, or says that it is well.
function(report name summary)
  if(problems)
    message(FATAL_ERROR "${name}:\n${problems}")
  endif()
  message(STATUS "${name}: ${summary}")
endfunction()
