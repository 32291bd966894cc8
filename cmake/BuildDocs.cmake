# Builds the documentation with Doxygen into OUTPUT/html, readable offline and from file://. Every warning is an error.
#
#   cmake -DROOT=source -DOUTPUT=folder [-DVERSION=1.2.3] -P BuildDocs.cmake
#
# With doxygen-awesome-css (theme) and MathJax 2 (formulas) from the system where they are; without them the site is
# plainer: Doxygen's own colours, and formulas as TeX.
cmake_minimum_required(VERSION 3.22)

find_program(DOXYGEN doxygen)
if(NOT DOXYGEN)
  message(STATUS "docs: Doxygen was not found; install it (Debian, Ubuntu: apt install doxygen) to build the site")
  return()
endif()
find_program(AWK NAMES mawk gawk awk)
if(NOT AWK)
  message(FATAL_ERROR "docs: awk was not found; install mawk")
endif()

get_filename_component(ROOT "${ROOT}" REALPATH)  # as Doxygen names the files
get_filename_component(OUTPUT "${OUTPUT}" ABSOLUTE)
set(styles docs/theme/site.css)
find_path(AWESOME doxygen-awesome.css PATHS /usr/share/doxygen-awesome-css /usr/local/share/doxygen-awesome-css NO_DEFAULT_PATH)
if(AWESOME)
  set(styles "${AWESOME}/doxygen-awesome.css ${AWESOME}/doxygen-awesome-sidebar-only.css ${styles}")
else()
  message(STATUS "docs: without doxygen-awesome-css the site has Doxygen's own colours (apt install doxygen-awesome-css)")
endif()
find_path(MATHJAX MathJax.js PATHS /usr/share/javascript/mathjax NO_DEFAULT_PATH)
if(NOT MATHJAX)
  message(STATUS "docs: without MathJax formulas are shown as TeX (apt install libjs-mathjax)")
endif()

# Pages that were removed from the book must not stay in the site; another's pages are not touched.
if(EXISTS "${OUTPUT}/html" AND NOT EXISTS "${OUTPUT}/Doxyfile")
  message(FATAL_ERROR "docs: the folder html in OUTPUT is made anew and must be new or an earlier site, got ${OUTPUT}/html; "
                      "give another OUTPUT")
endif()
file(REMOVE_RECURSE "${OUTPUT}/html")
file(MAKE_DIRECTORY "${OUTPUT}")
# Doxygen is run in the source's root, so that only OUTPUT has to be quoted.
set(FILTER "${AWK} -f docs/doxygen.awk")
set(GROUP_FILTER "${AWK} -f docs/group.awk")
set(ENV{RETNET_DOCS_ROOT} "${ROOT}")
configure_file("${ROOT}/docs/Doxyfile.in" "${OUTPUT}/Doxyfile" @ONLY)
execute_process(COMMAND ${DOXYGEN} "${OUTPUT}/Doxyfile" WORKING_DIRECTORY "${ROOT}" RESULT_VARIABLE code
                OUTPUT_QUIET ERROR_VARIABLE warnings)
if(NOT code EQUAL 0 OR warnings MATCHES "warning|error")
  message(NOTICE "${warnings}")
  message(FATAL_ERROR "docs: Doxygen gave warnings (exit code ${code})")
endif()

# Sources that the book leads to and that have no page of their own, as text, so that a browser shows them.
file(GLOB pages "${OUTPUT}/html/*.html")
foreach(page IN LISTS pages)
  file(READ "${page}" text)
  string(REGEX MATCHALL "href=\"source/[^\"]+\\.txt\"" links "${text}")
  foreach(link IN LISTS links)
    string(REGEX REPLACE "^href=\"source/(.+)\\.txt\"$" "\\1" source "${link}")
    configure_file("${ROOT}/${source}" "${OUTPUT}/html/source/${source}.txt" COPYONLY)
  endforeach()
endforeach()

# The part of MathJax that these pages need: 2 of its 54 MB.
if(MATHJAX)
  set(to "${OUTPUT}/html/mathjax")
  file(COPY ${MATHJAX}/MathJax.js DESTINATION "${to}")
  foreach(part config/TeX-MML-AM_CHTML.js extensions/tex2jax.js extensions/mml2jax.js extensions/MathEvents.js
          extensions/MathMenu.js extensions/MathZoom.js extensions/AssistiveMML.js extensions/TeX jax/input/TeX
          jax/element jax/output/SVG/jax.js jax/output/SVG/config.js jax/output/SVG/autoload
          jax/output/SVG/fonts/TeX/fontdata.js jax/output/SVG/fonts/TeX/fontdata-extra.js
          jax/output/SVG/fonts/TeX/AMS jax/output/SVG/fonts/TeX/Caligraphic jax/output/SVG/fonts/TeX/Main
          jax/output/SVG/fonts/TeX/Math jax/output/SVG/fonts/TeX/Size1 jax/output/SVG/fonts/TeX/Size2
          jax/output/SVG/fonts/TeX/Size3 jax/output/SVG/fonts/TeX/Size4)
    if(EXISTS ${MATHJAX}/${part})
      get_filename_component(folder ${part} DIRECTORY)
      file(COPY ${MATHJAX}/${part} DESTINATION "${to}/${folder}" FOLLOW_SYMLINK_CHAIN)
    endif()
  endforeach()
else()
  file(WRITE "${OUTPUT}/html/mathjax/MathJax.js" "// MathJax was missing when this site was built: formulas stay TeX.\n")
endif()
message(STATUS "docs: ${OUTPUT}/html/index.html")
