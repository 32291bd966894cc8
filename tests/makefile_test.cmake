# `make demo` begins with the removal of the demo before it. It must remove nothing else, whatever OUT names.
#
# cmake -DMAKE=make -DSOURCE=... -DWORK=folder -P makefile_test.cmake
include(${CMAKE_CURRENT_LIST_DIR}/support/work.cmake)
work_folder(${WORK})
file(WRITE ${WORK}/mine/letter.txt "not a run")
file(WRITE ${WORK}/run/trainer.json "{}")

# Nothing is built, and ":" stands for the program.
function(demo environment)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env ${environment} ${MAKE} -f ${SOURCE}/Makefile demo -o build RETNET=: ${ARGN}
                  WORKING_DIRECTORY ${WORK} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "make demo failed with ${status}:\n${output}")
  endif()
endfunction()

demo(NOTHING=1 OUT=mine)
if(NOT EXISTS ${WORK}/mine/letter.txt)
  message(FATAL_ERROR "make demo OUT=mine removed a folder that holds no run")
endif()
demo(OUT=run)
if(NOT EXISTS ${WORK}/run)
  message(FATAL_ERROR "make demo removed the folder that OUT of the environment names")
endif()
demo(NOTHING=1 OUT=run)
if(EXISTS ${WORK}/run)
  message(FATAL_ERROR "make demo OUT=run kept the run before")
endif()
file(REMOVE_RECURSE ${WORK})
