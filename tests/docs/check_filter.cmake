# docs/doxygen.awk turns filter_input.md into filter_expected.txt: fences, code spans, tables, prices, anchors, links,
# quotations. The page is taken for one of docs/.
#
#   cmake -DROOT=source -DTESTS=tests/docs -P check_filter.cmake
cmake_minimum_required(VERSION 3.22)

find_program(AWK NAMES mawk gawk awk)
if(NOT AWK)
  message(STATUS "filter: awk was not found, nothing was checked")
  return()
endif()
get_filename_component(root ${TESTS} DIRECTORY)
set(ENV{RETNET_DOCS_ROOT} ${root})
execute_process(COMMAND ${AWK} -f ${ROOT}/docs/doxygen.awk ${TESTS}/filter_input.md OUTPUT_VARIABLE got
                RESULT_VARIABLE code)
file(READ ${TESTS}/filter_expected.txt wanted)
if(NOT code EQUAL 0 OR NOT got STREQUAL wanted)
  message(FATAL_ERROR "filter: docs/doxygen.awk gave (exit code ${code})\n${got}\ninstead of\n${wanted}")
endif()
message(STATUS "filter: as expected")
