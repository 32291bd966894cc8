# RETNET_GPU=none|amd|nvidia|emulated: which compiler, if any, turns kernels/hip/*.hip into code for a GPU. The sources are
# the same; kernels/hip/hip.h gives the runtime's names their CUDA meaning for nvcc, and kernels/emulated runs them on the
# CPU, thread by thread, where there is no GPU to test them on.
set(RETNET_GPU none CACHE STRING "GPU to compile kernels for: none, amd, nvidia or emulated")
set_property(CACHE RETNET_GPU PROPERTY STRINGS none amd nvidia emulated)
set(RETNET_GPU_ARCHITECTURES gfx906 gfx908 gfx90a gfx1030 CACHE STRING "AMD GPUs to compile kernels for, with RETNET_GPU=amd")

set(RETNET_GPU_OPTIONS -O3 CACHE STRING "Options for the GPU's compiler")

file(GLOB hip_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/hip/*.hip)
# What takes longest comes first, so that at the end no core waits for it.
foreach(name retention_chunk matmul)
  list(REMOVE_ITEM hip_sources ${PROJECT_SOURCE_DIR}/kernels/hip/${name}.hip)
  list(PREPEND hip_sources ${PROJECT_SOURCE_DIR}/kernels/hip/${name}.hip)
endforeach()

# hipcc by hand: CMake's language HIP does not find what Debian installs.
function(retnet_amd_objects)
  find_program(RETNET_HIPCC hipcc HINTS $ENV{ROCM_PATH}/bin /opt/rocm/bin)
  find_library(RETNET_HIP_RUNTIME amdhip64 HINTS $ENV{ROCM_PATH}/lib /opt/rocm/lib)
  if(NOT RETNET_HIPCC OR NOT RETNET_HIP_RUNTIME)
    message(FATAL_ERROR "retnet: RETNET_GPU=amd needs hipcc and the library amdhip64; install ROCm (Debian: apt install hipcc), "
                        "or set ROCM_PATH to where it is")
  endif()
  list(TRANSFORM RETNET_GPU_ARCHITECTURES PREPEND --offload-arch= OUTPUT_VARIABLE architectures)
  set(folder ${PROJECT_BINARY_DIR}/hip)
  file(MAKE_DIRECTORY ${folder})
  foreach(source ${hip_sources})
    get_filename_component(name ${source} NAME_WE)
    set(object ${folder}/${name}.o)
    add_custom_command(
      OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "Building HIP object hip/${name}.o"
      COMMAND ${RETNET_HIPCC} ${architectures} ${RETNET_GPU_OPTIONS} -std=c++17 -Wall -Wextra -fPIC -I${PROJECT_SOURCE_DIR}
              -MD -MF ${object}.d -c ${source} -o ${object})
    list(APPEND objects ${object})
    target_sources(retnet_kernels PRIVATE ${object})
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  endforeach()
  add_custom_target(retnet_hip DEPENDS ${objects})
  target_link_libraries(retnet_kernels PUBLIC ${RETNET_HIP_RUNTIME})
endfunction()

# nvcc as CMake's language CUDA. A macro: enable_language() sets variables that its caller's scope needs.
macro(retnet_nvidia_objects)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "retnet: RETNET_GPU=nvidia needs nvcc; install the CUDA toolkit, or set CMAKE_CUDA_COMPILER to its nvcc")
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90 CACHE STRING "NVIDIA GPUs to compile kernels for")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set_source_files_properties(${hip_sources} PROPERTIES LANGUAGE CUDA)
  # Apart from the library, whose flags are those of the host's compiler.
  add_library(retnet_hip OBJECT ${hip_sources})
  target_include_directories(retnet_hip PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(retnet_hip PRIVATE ${RETNET_GPU_OPTIONS} -Xcompiler=-Wall,-Wextra)
  target_sources(retnet_kernels PRIVATE $<TARGET_OBJECTS:retnet_hip>)
  set_target_properties(retnet_hip retnet_kernels PROPERTIES
    CUDA_STANDARD 17 CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
  target_link_libraries(retnet_kernels PUBLIC CUDA::cudart_static)
endmacro()

# The host's own compiler, for the emulator.
function(retnet_emulated_objects)
  find_package(Boost COMPONENTS context)
  if(NOT Boost_FOUND)
    message(FATAL_ERROR "retnet: RETNET_GPU=emulated needs Boost.Context; install it (Debian, Ubuntu: apt install libboost-context-dev)")
  endif()
  set(folder ${PROJECT_BINARY_DIR}/emulated)
  file(MAKE_DIRECTORY ${folder})
  set(rewrite ${PROJECT_SOURCE_DIR}/cmake/EmulateLaunch.cmake)
  foreach(source ${hip_sources})
    get_filename_component(name ${source} NAME_WE)
    add_custom_command(OUTPUT ${folder}/${name}.cpp DEPENDS ${source} ${rewrite} VERBATIM
                       COMMAND ${CMAKE_COMMAND} -DFROM=${source} -DTO=${folder}/${name}.cpp -P ${rewrite})
    list(APPEND rewritten ${folder}/${name}.cpp)
  endforeach()
  file(GLOB runtime CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/emulated/*.cpp)
  add_library(retnet_hip OBJECT ${runtime} ${rewritten})
  target_include_directories(retnet_hip PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(retnet_hip PRIVATE retnet_flags Boost::context)
  # What the GPU's compilers know or do not mind. Of the files, because these come after the flags of the target.
  set_source_files_properties(${rewritten} PROPERTIES COMPILE_OPTIONS
    "-Wno-unknown-pragmas;-Wno-shadow;$<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>")
  if(RETNET_HAVE_OPENMP)
    target_link_libraries(retnet_hip PRIVATE OpenMP::OpenMP_CXX)
  endif()
  target_sources(retnet_kernels PRIVATE $<TARGET_OBJECTS:retnet_hip>)
  target_compile_definitions(retnet_hip PRIVATE RETNET_GPU_EMULATED)
  target_compile_definitions(retnet_kernels PUBLIC RETNET_GPU_EMULATED)  # its own tests ask for it
  target_link_libraries(retnet_kernels INTERFACE $<LINK_ONLY:Boost::context>)
endfunction()

if(RETNET_GPU STREQUAL "amd")
  retnet_amd_objects()
elseif(RETNET_GPU STREQUAL "emulated")
  retnet_emulated_objects()
elseif(RETNET_GPU STREQUAL "nvidia")
  retnet_nvidia_objects()
elseif(NOT RETNET_GPU STREQUAL "none")
  message(FATAL_ERROR "retnet: RETNET_GPU must be none, amd, nvidia or emulated, got ${RETNET_GPU}")
endif()
if(NOT RETNET_GPU STREQUAL "none")
  target_compile_definitions(retnet_kernels PUBLIC RETNET_GPU)  # tensor/dispatch.h asks for it
endif()
