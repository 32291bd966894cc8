# Every header of kernels/ compiles alone, as C++17, which GPU compilers read.
#
#   cmake -DROOT=source -DCOMPILER=c++ -DWORK=folder -P check_headers.cmake
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/text.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/../support/work.cmake)

file(GLOB headers RELATIVE ${ROOT} ${ROOT}/kernels/*.h)
work_folder(${WORK})
foreach(header ${headers})
  file(WRITE ${WORK}/header.cpp "#include \"${header}\"\n")
  execute_process(COMMAND ${COMPILER} -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I${ROOT} ${WORK}/header.cpp
                  RESULT_VARIABLE code ERROR_VARIABLE errors)
  if(NOT code EQUAL 0)
    complain("${header} does not compile alone as C++17:\n${errors}")
  endif()
endforeach()
list(LENGTH headers count)
if(count LESS 5)
  complain("only ${count} headers in kernels/")
endif()
report("headers" "${count} kernel headers compile alone as C++17")
