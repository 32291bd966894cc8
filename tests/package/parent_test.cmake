# Builds a project that has this one as a part, runs it and installs it. So that it takes seconds, the libraries are those of
# BUILD, put where the parent would build them; one file of each is compiled as the parent compiles it. All of them are with
# -DWHOLE=ON.
#
# cmake -DBUILD=... -DROOT=source -DWORK=... -DCOMPILER=c++ -DMAKE=make -DOPTIONS=-Da=b,-Dc=d [-DWHOLE=ON] -P parent_test.cmake
include("${CMAKE_CURRENT_LIST_DIR}/../support/work.cmake")
work_folder("${WORK}")
string(REPLACE "," ";" OPTIONS "${OPTIONS}")

set(parent "${CMAKE_CURRENT_LIST_DIR}/parent")
foreach(fetch OFF ON)
  set(folder "${WORK}/fetch-${fetch}")
  run("${CMAKE_COMMAND}" -S "${parent}" -B "${folder}" -G "Unix Makefiles" "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_BUILD_TYPE=
      -DFETCH=${fetch} "-DRETNET_SOURCE=${ROOT}" "-DCONSUMER=${CMAKE_CURRENT_LIST_DIR}/consumer.cpp" ${OPTIONS}
      -DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON -DRETNET_libcli11_dev_DIR=RETNET_libcli11_dev_DIR-NOTFOUND)
  file(STRINGS "${folder}/CMakeCache.txt" type REGEX "^CMAKE_BUILD_TYPE:")
  if(NOT type MATCHES "=$")
    message(FATAL_ERROR "the parent's empty build type became ${type}")
  endif()
endforeach()

set(folder "${WORK}/fetch-OFF")
if(WHOLE)
  run("${CMAKE_COMMAND}" --build "${folder}" -j 2)
else()
  foreach(object kernels/cpu/random.cpp tensor/shape.cpp autograd/functions_views.cpp retnet/decay.cpp)
    run("${MAKE}" -C "${folder}/retnet" ${object}.o)
  endforeach()
  file(GLOB libraries "${BUILD}/libretnet_*.a")
  file(COPY ${libraries} DESTINATION "${folder}/retnet")
  run("${MAKE}" -C "${folder}" consumer/fast)
endif()
run("${folder}/consumer")
if(NOT output MATCHES "^loss [0-9]")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()
message(STATUS "a parent project was built with retnet in it; it printed: ${output}")

# What is installed is the parent's alone.
run("${CMAKE_COMMAND}" --install "${folder}" --prefix "${WORK}/prefix")
file(GLOB_RECURSE installed RELATIVE "${WORK}/prefix" "${WORK}/prefix/*")
if(NOT installed STREQUAL "bin/consumer")
  message(FATAL_ERROR "the parent's installation has bin/consumer, and got ${installed}")
endif()
