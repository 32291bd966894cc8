# The site is made anew in a folder of its own: another's folder html is refused, and stays as it is.
#
# cmake -DROOT=source -DWORK=folder -P keep_pages.cmake
include("${CMAKE_CURRENT_LIST_DIR}/../support/work.cmake")
work_folder("${WORK}")
file(WRITE "${WORK}/html/letter.txt" "not of the site")
execute_process(COMMAND "${CMAKE_COMMAND}" "-DROOT=${ROOT}" "-DOUTPUT=${WORK}" -P "${ROOT}/cmake/BuildDocs.cmake"
                RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REGEX REPLACE "[ \n]+" " " output "${output}")  # CMake breaks its messages into lines
if(NOT EXISTS "${WORK}/html/letter.txt")
  message(FATAL_ERROR "the docs removed a folder html that is not theirs:\n${output}")
endif()
if(output MATCHES "Doxygen was not found")
  message(STATUS "${output}")
elseif(status EQUAL 0 OR NOT output MATCHES "give another OUTPUT")
  message(FATAL_ERROR "required a refusal to replace a folder html that is not the site's, got ${status}:\n${output}")
endif()
