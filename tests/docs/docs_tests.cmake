# Tests that hold the documentation to its word; included by tests/CMakeLists.txt.

set(docs_tests ${CMAKE_CURRENT_LIST_DIR})
set(docs_root ${PROJECT_SOURCE_DIR})
set(docs_link "")
if(RETNET_HAVE_OPENMP)
  string(REPLACE ";" "|" docs_link "${OpenMP_CXX_FLAGS}")
endif()
file(GLOB docs_sources CONFIGURE_DEPENDS ${docs_tests}/*_test.cpp)
target_sources(retnet_tests PRIVATE ${docs_sources})

foreach(check layers equations snippets links)
  add_test(NAME docs_${check} COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -P ${docs_tests}/check_${check}.cmake)
endforeach()

# Each check must fail, with the right message, on a tree that was broken on purpose.
add_test(NAME docs_checks_fail_when_broken
  COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DWORK=${CMAKE_CURRENT_BINARY_DIR}/work/docs_checks -P ${docs_tests}/break_checks.cmake)

# The filter that makes GitHub's Markdown fit for Doxygen.
add_test(NAME docs_filter
  COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DTESTS=${docs_tests} -P ${docs_tests}/check_filter.cmake)

# Kernel headers are read by GPU compilers too, as C++17.
add_test(NAME docs_kernel_headers_are_cxx17
  COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DCOMPILER=${CMAKE_CXX_COMPILER} -DWORK=${CMAKE_CURRENT_BINARY_DIR}/work/docs_headers
          -P ${docs_tests}/check_headers.cmake)

# The site, with every warning an error; then every link in it. Skipped where there is no Doxygen.
add_test(NAME docs_doxygen
  COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DOUTPUT=${PROJECT_BINARY_DIR}/docs_test -P ${docs_root}/cmake/BuildDocs.cmake)
set_tests_properties(docs_doxygen PROPERTIES SKIP_REGULAR_EXPRESSION "Doxygen was not found" FIXTURES_SETUP site)
add_test(NAME docs_keep_pages
  COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DWORK=${CMAKE_CURRENT_BINARY_DIR}/work/docs_pages -P ${docs_tests}/keep_pages.cmake)
if(RETNET_PYTHON)
  add_test(NAME docs_site
    COMMAND ${RETNET_PYTHON} ${docs_tests}/check_site.py ${docs_root} ${PROJECT_BINARY_DIR}/docs_test/html)
  set_tests_properties(docs_site PROPERTIES SKIP_REGULAR_EXPRESSION "Doxygen was not found" FIXTURES_REQUIRED site)
endif()

# CONTRIBUTING.md's steps for adding an operation, followed in a copy of the source; a GPU's kernels would have to be
# compiled again for it.
if(NOT RETNET_GPU STREQUAL "none")
  return()
endif()
set(docs_flags $<TARGET_PROPERTY:retnet_flags,INTERFACE_COMPILE_OPTIONS>)
add_test(NAME docs_adding_an_operation
  COMMAND ${CMAKE_COMMAND} -DROOT=${docs_root} -DWORK=${CMAKE_CURRENT_BINARY_DIR}/work/adding_an_operation
          -DCOMPILER=${CMAKE_CXX_COMPILER} "-DFLAGS=$<JOIN:${docs_flags},|>"
          "-DOBJECTS=$<JOIN:$<TARGET_OBJECTS:retnet_tests>,|>"
          "-DLIBRARIES=$<TARGET_FILE:retnet_autograd>|$<TARGET_FILE:retnet_tensor>|$<TARGET_FILE:retnet_kernels>"
          "-DLINK=${docs_link}" -P ${docs_tests}/follow_contributing.cmake)
set_tests_properties(docs_adding_an_operation PROPERTIES TIMEOUT 900)
