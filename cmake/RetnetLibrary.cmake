# Flags that every target shares, and retnet_library(FOLDER [DEPENDENCY]): one static library per folder, retnet_FOLDER, which
# is retnet::FOLDER to another project, installed or not.

add_library(retnet_flags INTERFACE)
target_compile_features(retnet_flags INTERFACE cxx_std_20)
target_compile_options(retnet_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow
  # A product and a sum are fused only where a kernel asks for it, so that the remainder of a vectorised loop
  # computes the same bits as its body: causality and batch invariance are exact, not approximate.
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(RETNET_NATIVE)
  target_compile_options(retnet_flags INTERFACE -march=native)
endif()
if(RETNET_SANITIZE)
  target_compile_options(retnet_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(retnet_flags INTERFACE -fsanitize=address,undefined)
endif()

# The matrix product, retention and decoding are the kernels that ask: all their loops, remainders included, run one and
# the same chain of fused operations per element.
file(GLOB fused_sources ${PROJECT_SOURCE_DIR}/kernels/cpu/machine.cpp ${PROJECT_SOURCE_DIR}/kernels/cpu/matmul_isa.cpp
     ${PROJECT_SOURCE_DIR}/kernels/cpu/matmul_steps.cpp
     ${PROJECT_SOURCE_DIR}/kernels/cpu/retention*.cpp ${PROJECT_SOURCE_DIR}/kernels/cpu/decode_*.cpp)
set(fused_options -ffp-contract=fast)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # For some processors GCC splits a lone chain of fused operations into products and sums again, because that is faster.
  # The loops for one vector would round otherwise than those for several.
  list(APPEND fused_options --param=avoid-fma-max-bits=0)
  # Where the innermost loop begins in its line of the cache is worth 5 % on some processors; left to itself it changes with
  # every change of the code before it.
  list(APPEND fused_options -falign-functions=64 -falign-loops=64)
endif()
set_source_files_properties(${fused_sources} PROPERTIES COMPILE_OPTIONS "${fused_options}")

set(RETNET_HAVE_OPENMP OFF)
if(RETNET_OPENMP)
  find_package(OpenMP COMPONENTS CXX)
  if(OpenMP_CXX_FOUND)
    set(RETNET_HAVE_OPENMP ON)
  else()
    message(STATUS "retnet: no OpenMP for ${CMAKE_CXX_COMPILER_ID}; building with one thread")
  endif()
endif()

function(retnet_library folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp ${PROJECT_SOURCE_DIR}/${folder}/cpu/*.cpp)
  list(FILTER sources EXCLUDE REGEX "_main\\.cpp$")
  add_library(retnet_${folder} STATIC ${sources})
  add_library(retnet::${folder} ALIAS retnet_${folder})
  set_target_properties(retnet_${folder} PROPERTIES EXPORT_NAME ${folder})
  set_property(DIRECTORY APPEND PROPERTY RETNET_FOLDERS ${folder})
  target_include_directories(retnet_${folder} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/retnet>)
  target_compile_features(retnet_${folder} PUBLIC cxx_std_20)  # the headers need it too
  target_link_libraries(retnet_${folder} PRIVATE $<BUILD_INTERFACE:retnet_flags>)
  foreach(dependency ${ARGN})
    target_link_libraries(retnet_${folder} PUBLIC retnet_${dependency})
  endforeach()
  if(RETNET_HAVE_OPENMP)
    target_link_libraries(retnet_${folder} PUBLIC OpenMP::OpenMP_CXX)
  endif()
endfunction()

# Lets one source file include a header-only library, from where CMake finds it or where the compiler looks by itself (CPATH,
# CMAKE_CXX_FLAGS); says what to install where it is missing.
include(CheckCXXSourceCompiles)
function(retnet_header_library source header package)
  string(MAKE_C_IDENTIFIER "RETNET_${package}_DIR" folder)
  find_path(${folder} ${header} DOC "Folder that holds ${header}")
  if(${folder})
    set_source_files_properties("${PROJECT_SOURCE_DIR}/${source}" PROPERTIES INCLUDE_DIRECTORIES "${${folder}}")
    return()
  endif()
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_source_compiles("#if !__has_include(<${header}>)\n#error\n#endif\nint main() {}" ${folder}_BY_COMPILER)
  if(NOT ${folder}_BY_COMPILER)
    unset(${folder}_BY_COMPILER CACHE)  # it may be installed by the next time
    message(FATAL_ERROR "retnet: ${header} is missing; install it (Debian, Ubuntu: apt install ${package}) "
                        "or set ${folder} to the folder that holds it")
  endif()
endfunction()
