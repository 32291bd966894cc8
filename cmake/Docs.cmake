# The target `retnet_docs`, where Doxygen is installed: the site, in docs/html of the build folder. It is `docs` too, unless
# this is a part of another project, which may have its own.

find_program(RETNET_DOXYGEN doxygen)
mark_as_advanced(RETNET_DOXYGEN)
if(RETNET_DOXYGEN)
  add_custom_target(retnet_docs
    COMMAND ${CMAKE_COMMAND} "-DROOT=${PROJECT_SOURCE_DIR}" "-DOUTPUT=${PROJECT_BINARY_DIR}/docs"
            -DVERSION=${PROJECT_VERSION} -P "${PROJECT_SOURCE_DIR}/cmake/BuildDocs.cmake"
    COMMENT "Building the documentation" VERBATIM)
  if(PROJECT_IS_TOP_LEVEL)
    add_custom_target(docs DEPENDS retnet_docs)
  endif()
endif()
