# `make demo` removes nothing by itself: the program overwrites the demo before it, and knows what a run is.
#
# cmake -DMAKE=make -DSOURCE=... -DWORK=folder -P makefile_test.cmake
include(${CMAKE_CURRENT_LIST_DIR}/support/work.cmake)
work_folder(${WORK})
file(WRITE ${WORK}/run/trainer.json "{}")
file(WRITE ${WORK}/run/letter.txt "not of the run")

# Nothing is built, and "echo" stands for the program.
execute_process(COMMAND ${MAKE} -f ${SOURCE}/Makefile demo -o build RETNET=echo OUT=run
                WORKING_DIRECTORY ${WORK} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "make demo failed with ${status}:\n${output}")
endif()
foreach(file trainer.json letter.txt)
  if(NOT EXISTS ${WORK}/run/${file})
    message(FATAL_ERROR "make demo removed ${file}")
  endif()
endforeach()
if(NOT output MATCHES "\ntrain [^\n]*--overwrite")
  message(FATAL_ERROR "make demo does not overwrite the demo before it:\n${output}")
endif()
file(REMOVE_RECURSE ${WORK})
