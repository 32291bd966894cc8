# `cmake --install`: the program, the libraries, their headers under include/retnet, and what find_package(retnet)
# needs. The headers say #include "tensor/tensor.h"; the targets add include/retnet to the search path, so the names
# collide with nothing in /usr/include.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(RETNET_PROGRAM)
  install(TARGETS retnet_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
get_property(folders DIRECTORY PROPERTY RETNET_FOLDERS)
foreach(folder IN LISTS folders)
  install(TARGETS retnet_${folder} EXPORT retnetTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  file(GLOB headers "${PROJECT_SOURCE_DIR}/${folder}/*.h")
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/retnet/${folder})
endforeach()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/retnet)
install(EXPORT retnetTargets NAMESPACE retnet:: DESTINATION ${package_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/retnetConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/retnetConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/retnetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/retnetConfig.cmake ${PROJECT_BINARY_DIR}/retnetConfigVersion.cmake
        DESTINATION ${package_folder})
