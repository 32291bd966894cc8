# The checks of the documentation must fail when what they check is broken, and say why. Each case copies the tree,
# breaks one thing, and runs one check.
#
#   cmake -DROOT=source -DWORK=folder -P break_checks.cmake
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/text.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/../support/work.cmake)

set(checks ${CMAKE_CURRENT_LIST_DIR})

function(fresh_copy)
  work_folder(${WORK})
  foreach(folder docs kernels tensor autograd retnet train tests)
    file(COPY ${ROOT}/${folder} DESTINATION ${WORK}/tree)
  endforeach()
  foreach(page README.md CONTRIBUTING.md CITATION.cff)
    if(EXISTS ${ROOT}/${page})
      file(COPY ${ROOT}/${page} DESTINATION ${WORK}/tree)
    endif()
  endforeach()
endfunction()

function(change file from to)
  file(READ ${WORK}/tree/${file} before)
  string(REPLACE "${from}" "${to}" after "${before}")
  if(after STREQUAL before)
    message(FATAL_ERROR "break_checks: ${file} has no '${from}' to change")
  endif()
  file(WRITE ${WORK}/tree/${file} "${after}")
endfunction()

set(cases 0)
# Runs a check on the broken tree, which must fail with a message that matches, and mends the files.
function(must_fail what check message)
  execute_process(COMMAND ${CMAKE_COMMAND} -DROOT=${WORK}/tree -P ${checks}/check_${check}.cmake
                  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  if(code EQUAL 0)
    message(FATAL_ERROR "break_checks: ${what}, and check_${check} did not notice")
  elseif(NOT output MATCHES "${message}")
    message(FATAL_ERROR "break_checks: ${what}; check_${check} failed without saying '${message}':\n${output}")
  endif()
  message(STATUS "broken: ${what} -> check_${check} says: ${CMAKE_MATCH_0}")
  foreach(file ${ARGN})
    if(EXISTS ${ROOT}/${file})
      configure_file(${ROOT}/${file} ${WORK}/tree/${file} COPYONLY)
    else()
      file(REMOVE ${WORK}/tree/${file})
    endif()
  endforeach()
endfunction()

fresh_copy()

change(kernels/exec.h "#include <cstdint>" "#include <cstdint>\n#include \"tensor/tensor.h\"")
must_fail("kernels/exec.h includes upwards" layers
          "kernels/exec.h includes tensor/tensor.h: kernels/ may include kernels only" kernels/exec.h)

change(tensor/shape.h "#include <vector>" "#include <vector>\n#include \"storage.h\"")
must_fail("an include without its folder" layers "write the path from the root" tensor/shape.h)

file(APPEND ${WORK}/tree/tensor/shape.cpp "\n#include <train/trainer.h>\n")
must_fail("tensor/shape.cpp includes upwards in angle brackets" layers
          "tensor/shape.cpp includes <train/trainer.h>: the project's own headers go in quotes" tensor/shape.cpp)

file(APPEND ${WORK}/tree/tensor/views.cpp "\n#include <nlohmann/json.hpp>\n")
file(APPEND ${WORK}/tree/tensor/shape.cpp "\n#include <nlohmann/json.hpp>\n")
must_fail("nlohmann/json in two files" layers "nlohmann/ is included by .*one file may" tensor/views.cpp tensor/shape.cpp)

change(retnet/block.cpp "Eq. (9)" "Eq. (99)")
must_fail("the code cites Eq. (99)" equations "retnet/block.cpp cites Eq. .99., which docs/equations.md does not have"
          retnet/block.cpp)

file(GLOB_RECURSE tests RELATIVE ${ROOT} ${ROOT}/tests/*_test.cpp)
set(touched "")
foreach(test ${tests})
  file(READ ${WORK}/tree/${test} text)
  string(REPLACE "[eq9]" "" without "${text}")
  if(NOT without STREQUAL text)
    file(WRITE ${WORK}/tree/${test} "${without}")
    list(APPEND touched ${test})
  endif()
endforeach()
must_fail("no test is tagged eq9 any more" equations
          "Eq. .9. is in docs/equations.md, but no test is tagged .eq9." ${touched})

change(retnet/block.cpp "Eq. (9)" "equation nine")
must_fail("the code does not cite Eq. (9) any more" equations "names retnet/block.cpp, but that file does not cite it"
          retnet/block.cpp)

change(retnet/block.cpp "[block]\nVariable Block::operator" "[block]\n\nVariable  Block::operator")
must_fail("quoted code was changed" snippets "docs/msr.md quotes block of retnet/block.cpp otherwise than the source has it"
          retnet/block.cpp)

file(APPEND ${WORK}/tree/docs/msr.md "\n[gone](nowhere.md)\n")
must_fail("a link to a page that is not there" links "nowhere.md leads nowhere" docs/msr.md)

file(APPEND ${WORK}/tree/docs/msr.md "\n[gone](equations.md#eq99)\n")
must_fail("a link to an anchor that is not there" links "equations.md#eq99: there is no such anchor" docs/msr.md)

file(APPEND ${WORK}/tree/docs/msr.md "\nA set $\\{1\\}$.\n")
must_fail("a formula that GitHub garbles" links "GitHub garbles" docs/msr.md)

# All mended: nothing to complain about.
foreach(check layers snippets links)
  execute_process(COMMAND ${CMAKE_COMMAND} -DROOT=${WORK}/tree -P ${checks}/check_${check}.cmake RESULT_VARIABLE code
                  OUTPUT_QUIET ERROR_VARIABLE errors)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "break_checks: the mended tree fails check_${check}:\n${errors}")
  endif()
endforeach()
file(REMOVE_RECURSE ${WORK}/tree)
