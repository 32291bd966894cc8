# A portable build for x86-64 compiles the innermost loops of the matrix product, kernels/cpu/matmul_isa.cpp, again for
# AVX2 and for AVX-512, and the program takes the best that the machine has. Both have fused products, and so the same
# bits; the baseline has none and rounds twice.
if(NOT RETNET_NATIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  target_compile_definitions(retnet_kernels PRIVATE RETNET_MATMUL_DISPATCH)
  foreach(isa "avx2;-mavx2;-mfma" "avx512;-mavx512f;-mavx2;-mfma")
    list(POP_FRONT isa name)
    add_library(retnet_matmul_${name} OBJECT ${PROJECT_SOURCE_DIR}/kernels/cpu/matmul_isa.cpp)
    target_include_directories(retnet_matmul_${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(retnet_matmul_${name} PRIVATE ${isa})
    target_link_libraries(retnet_matmul_${name} PRIVATE retnet_flags)
    target_sources(retnet_kernels PRIVATE $<TARGET_OBJECTS:retnet_matmul_${name}>)
  endforeach()
endif()
