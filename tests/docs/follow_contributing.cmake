# Follows CONTRIBUTING.md, "Add an operation", in a copy of the source: each block that comes after a comment
#
#   <!-- edit FILE before: TEXT -->      goes in front of the line of FILE that has TEXT
#   <!-- edit FILE replace: TEXT -->     takes the place of TEXT
#
# Then the operation's tests must pass; and without the entry in the table of operations (step 7) they must fail,
# naming what is missing. To be quick it compiles only the files that the steps change and links them with the rest of
# this build: OBJECTS and LIBRARIES.
#
#   cmake -DROOT=source -DWORK=folder -DCOMPILER=c++ -DFLAGS=a|b -DLINK=a -DOBJECTS=a|b -DLIBRARIES=a|b -P follow_contributing.cmake
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/text.cmake)

include(${CMAKE_CURRENT_LIST_DIR}/../support/work.cmake)
work_folder(${WORK})
foreach(folder kernels tensor autograd)
  file(COPY ${ROOT}/${folder} DESTINATION ${WORK})
endforeach()
file(COPY ${ROOT}/tests/support ${ROOT}/tests/autograd DESTINATION ${WORK}/tests)
file(COPY ${ROOT}/docs/gradients.md DESTINATION ${WORK}/docs)

# Applies one edit; the text must occur, and for a replacement exactly once.
function(apply_edit file kind text block)
  restore("${text}" text)
  restore("${block}" block)
  if(NOT EXISTS ${WORK}/${file})
    complain("CONTRIBUTING.md edits ${file}, which does not exist")
    set(problems "${problems}" PARENT_SCOPE)
    return()
  endif()
  file(READ ${WORK}/${file} content)
  string(FIND "${content}" "${text}" at)
  if(at LESS 0)
    complain("CONTRIBUTING.md: ${file} has no '${text}'")
    set(problems "${problems}" PARENT_SCOPE)
    return()
  endif()
  string(SUBSTRING "${content}" 0 ${at} head)
  string(SUBSTRING "${content}" ${at} -1 tail)
  if(kind STREQUAL "before")
    # Back to the beginning of the line.
    string(FIND "${head}" "\n" newline REVERSE)
    math(EXPR newline "${newline} + 1")
    string(SUBSTRING "${content}" 0 ${newline} head)
    string(SUBSTRING "${content}" ${newline} -1 tail)
    string(APPEND head "${block}")
  else()
    string(LENGTH "${text}" length)
    string(SUBSTRING "${tail}" ${length} -1 tail)
    string(REGEX REPLACE "\n$" "" block "${block}")
    string(APPEND head "${block}")
  endif()
  file(WRITE ${WORK}/${file} "${head}${tail}")
endfunction()

read_lines(${ROOT}/CONTRIBUTING.md lines)
set(state text)
set(edits 0)
set(changed "")
foreach(line IN LISTS lines)
  if(state STREQUAL "text" AND line MATCHES "^<!-- edit ([^ ]+) (before|replace): (.+) -->$")
    set(file ${CMAKE_MATCH_1})
    set(kind ${CMAKE_MATCH_2})
    set(text "${CMAKE_MATCH_3}")
    set(block "")
    set(state begin)
  elseif(state STREQUAL "begin" AND line MATCHES "^```")
    set(state code)
  elseif(state STREQUAL "code" AND line MATCHES "^```$")
    apply_edit(${file} ${kind} "${text}" "${block}")
    math(EXPR edits "${edits} + 1")
    list(APPEND changed ${file})
    set(state text)
  elseif(state STREQUAL "code")
    string(APPEND block "${line}\n")
  endif()
endforeach()
if(edits LESS 12)
  complain("CONTRIBUTING.md has only ${edits} edits")
endif()
if(problems)
  report("contributing" "")
endif()

# Compile what changed, link it in front of what did not.
string(REPLACE "|" ";" FLAGS "${FLAGS}|${LINK}")
string(REPLACE "|" ";" OBJECTS "${OBJECTS}")
string(REPLACE "|" ";" LIBRARIES "${LIBRARIES}")
set(compiled "")
foreach(source kernels/cpu/elementwise.cpp tensor/ops_elementwise.cpp autograd/functions_elementwise.cpp
        tests/support/op_table_elementwise.cpp tests/autograd/operations_test.cpp)
  string(REPLACE "/" "_" object ${source})
  execute_process(COMMAND ${COMPILER} -std=c++20 -O1 ${FLAGS} -I${WORK} -DRETNET_SOURCE_DIR="${WORK}" -c ${WORK}/${source}
                  -o ${WORK}/${object}.o RESULT_VARIABLE code ERROR_VARIABLE errors)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "contributing: after the steps of CONTRIBUTING.md ${source} does not compile:\n${errors}")
  endif()
  list(APPEND compiled ${WORK}/${object}.o)
endforeach()

# The tests' other objects: the table's other parts and the main function.
set(others "")
set(old_table "")
foreach(object IN LISTS OBJECTS)
  if(object MATCHES "op_table_elementwise")
    set(old_table ${object})
  elseif(object MATCHES "/support/")
    list(APPEND others ${object})
  endif()
endforeach()

function(link program)
  execute_process(COMMAND ${COMPILER} ${FLAGS} ${ARGN} ${others} ${LIBRARIES} -o ${WORK}/${program}
                  RESULT_VARIABLE code ERROR_VARIABLE errors)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "contributing: cannot link ${program}:\n${errors}")
  endif()
endfunction()

set(ENV{RETNET_POISON} 1)
link(with_entry ${compiled})
execute_process(COMMAND ${WORK}/with_entry "[operations]" OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE code)
# A failure of another operation is for retnet_tests to report; every message about this one names it.
if(output MATCHES "softplus" OR NOT output MATCHES "All tests passed|test cases: ")
  message(NOTICE "${output}")
  message(FATAL_ERROR "contributing: after the steps of CONTRIBUTING.md the operation's tests fail")
endif()

# Without step 7.
list(REMOVE_ITEM compiled ${WORK}/tests_support_op_table_elementwise.cpp.o)
link(without_entry ${compiled} ${old_table})
execute_process(COMMAND ${WORK}/without_entry "every declared operation has an entry*" OUTPUT_VARIABLE output
                ERROR_VARIABLE output RESULT_VARIABLE code)
if(code EQUAL 0 OR NOT output MATCHES "softplus.Variable. needs an entry")
  message(NOTICE "${output}")
  message(FATAL_ERROR "contributing: without the entry of step 7 the tests should fail for want of it, but gave ${code}")
endif()
message(STATUS "contributing: ${edits} edits, the tests pass with them, and fail without the table's entry")
