# The text inside the program: docs/*.md, sorted by name, as a generated source of retnet_train that defines
# bundled_text(). Included by CMakeLists.txt; the build then runs this same file as a script to write the source:
#
#   cmake -DDOCS=folder -DNAMES=a.md,b.md -DOUTPUT=file.cpp -P BundleText.cmake

if(NOT CMAKE_SCRIPT_MODE_FILE)
  file(GLOB documents CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
  list(FILTER documents EXCLUDE REGEX "/README\\.md$")
  set(names)
  foreach(document ${documents})
    get_filename_component(name ${document} NAME)
    list(APPEND names ${name})
  endforeach()
  # The names are part of the command, so that a document that is added or removed runs it again.
  list(JOIN names "," names)
  set(bundled_text ${PROJECT_BINARY_DIR}/generated/bundled_text.cpp)
  add_custom_command(
    OUTPUT ${bundled_text}
    COMMAND ${CMAKE_COMMAND} -DDOCS=${PROJECT_SOURCE_DIR}/docs "-DNAMES=${names}" -DOUTPUT=${bundled_text}
            -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${documents} ${CMAKE_CURRENT_LIST_FILE}
    COMMENT "Bundling the text of docs/" VERBATIM)
  target_sources(retnet_train PRIVATE ${bundled_text})
  return()
endif()

set(hex "")
string(REPLACE "," ";" names "${NAMES}")
foreach(name IN LISTS names)
  file(READ ${DOCS}/${name} document HEX)
  string(APPEND hex "${document}")
endforeach()
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
# 24 bytes a line, each as \xHH: a string literal compiles many times faster than a list of numbers.
set(line "")
foreach(i RANGE 1 24)
  string(APPEND line "[0-9a-f][0-9a-f]")
endforeach()
string(REGEX REPLACE "(${line})" "\\1\"\n    \"" literal "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" literal "${literal}")
file(WRITE ${OUTPUT} "// Made from docs/*.md by cmake/BundleText.cmake.

#include \"train/dataset.h\"

namespace retnet {

std::string bundled_text() {
  static constexpr char text[] =
    \"${literal}\";
  return {text, ${size}};
}

}  // namespace retnet
")
