# Installs the built project into an empty folder, then builds and runs a project that finds it there.
#
# cmake -DBUILD=... -DSOURCE=... -DWORK=... -P package_test.cmake
include("${CMAKE_CURRENT_LIST_DIR}/../support/work.cmake")
work_folder("${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix")
run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${WORK}/build" "-DCMAKE_PREFIX_PATH=${WORK}/prefix" "-DCMAKE_CXX_COMPILER=${COMPILER}")
run("${CMAKE_COMMAND}" --build "${WORK}/build")
run("${WORK}/build/consumer")
if(NOT output MATCHES "^loss [0-9]")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()
run("${WORK}/prefix/bin/retnet" --version)
message(STATUS "an installed retnet was found, linked and run; the consumer printed: ${output}")
