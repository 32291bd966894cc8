# The text inside the program: the book and this project's own source, as they are at build time. It is written as a
# generated source of retnet_train that defines bundled_text() and bundled_held_out(). Included by CMakeLists.txt; the
# build then runs this same file as a script to write the source:
#
#   cmake -DSOURCE=folder -DNAMES=file -DOUTPUT=file.cpp -P BundleText.cmake
#
# The files are in the order of their names, but for about a tenth of them, which come last, in the same order: what is held
# out, whole files of all kinds. Which these are is a rule on their names, so a change elsewhere moves no file from one side
# to the other.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(names)
  foreach(folder autograd cmake docs kernels retnet tensor tests train)
    foreach(kind h cpp hip md py cmake)
      file(GLOB_RECURSE found CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/${folder}/*.${kind})
      list(APPEND names ${found})
    endforeach()
  endforeach()
  list(APPEND names CONTRIBUTING.md README.md)
  list(SORT names)
  # The script depends on the list of names, so that a file that is added or removed runs it again.
  set(bundled_names ${PROJECT_BINARY_DIR}/generated/bundled_files.txt)
  string(REPLACE ";" "\n" lines "${names}")
  file(GENERATE OUTPUT ${bundled_names} CONTENT "${lines}\n")
  list(TRANSFORM names PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
  set(bundled_text ${PROJECT_BINARY_DIR}/generated/bundled_text.cpp)
  add_custom_command(
    OUTPUT ${bundled_text}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DNAMES=${bundled_names} -DOUTPUT=${bundled_text}
            -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${files} ${bundled_names} ${CMAKE_CURRENT_LIST_FILE}
    COMMENT "Bundling the book and the source as a text to learn from" VERBATIM)
  target_sources(retnet_train PRIVATE ${bundled_text})
  return()
endif()

# The literal of a file and its length, 24 bytes a line, each as \xHH: a string literal compiles many times faster than a list
# of numbers.
set(line "")
foreach(i RANGE 1 24)
  string(APPEND line "[0-9a-f][0-9a-f]")
endforeach()
function(bundle name literal_variable size_variable)
  file(READ ${SOURCE}/${name} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "(${line})" "\\1\"\n    \"" literal "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" literal "${literal}")
  set(${literal_variable} "    // ${name}\n    \"${literal}\"\n" PARENT_SCOPE)
  set(${size_variable} ${size} PARENT_SCOPE)
endfunction()

file(STRINGS ${NAMES} names)
set(size 0)
set(held_out_size 0)
set(literals "")
set(held_out_literals "")
foreach(name IN LISTS names)
  bundle(${name} literal bytes)
  math(EXPR size "${size} + ${bytes}")
  # Names whose hash is below 26 / 256: a tenth of them.
  string(MD5 hash ${name})
  if(hash MATCHES "^(0|1[0-9])")
    math(EXPR held_out_size "${held_out_size} + ${bytes}")
    string(APPEND held_out_literals "${literal}")
  else()
    string(APPEND literals "${literal}")
  endif()
endforeach()

file(WRITE ${OUTPUT} "// Made from the book and the source by cmake/BundleText.cmake.

#include \"train/bundled_text.h\"

namespace retnet {

std::string_view bundled_text() {
  static constexpr char text[] =
${literals}    // The files that are held out.
${held_out_literals}    \"\";
  return {text, ${size}};
}

// Half a byte more, so that rounding down gives the very byte.
double bundled_held_out() { return (${held_out_size} + 0.5) / ${size}; }

}  // namespace retnet
")
