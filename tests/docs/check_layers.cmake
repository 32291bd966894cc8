# The arrows of the architecture, from the #include lines:
#
#   kernels <- tensor <- autograd <- retnet <- train        a <- b: b may include a, never the reverse
#
# A file may include its own folder and those to its left. Beyond that, nlohmann/json may be included by one file and
# CLI11 by one, because each costs ten seconds a time.
#
#   cmake -DROOT=source -P check_layers.cmake
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/text.cmake)

set(folders kernels tensor autograd retnet train)
set(heavy_json nlohmann/)
set(heavy_cli CLI/)
set(users_json "")
set(users_cli "")
set(count 0)

set(left "")
foreach(folder ${folders})
  list(APPEND left ${folder})
  source_files(${ROOT} files ${folder})
  foreach(path ${files})
    file(RELATIVE_PATH name ${ROOT} ${path})
    math(EXPR count "${count} + 1")
    file(STRINGS ${path} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]+)[>\"].*$" "\\1" target "${line}")
      foreach(library json cli)
        if(target MATCHES "^${heavy_${library}}")
          list(APPEND users_${library} ${name})
        endif()
      endforeach()
      if(NOT line MATCHES "\"")
        continue()  # a system header
      endif()
      string(REGEX REPLACE "/.*" "" target_folder "${target}")
      if(NOT target MATCHES "/" OR NOT target_folder IN_LIST folders)
        complain("${name} includes \"${target}\": write the path from the root, beginning with one of ${folders}")
      elseif(NOT target_folder IN_LIST left)
        complain("${name} includes ${target}: ${folder}/ may include ${left} only")
      elseif(NOT EXISTS ${ROOT}/${target})
        complain("${name} includes ${target}, which does not exist")
      endif()
    endforeach()
  endforeach()
endforeach()

list(REMOVE_DUPLICATES users_json)
list(REMOVE_DUPLICATES users_cli)
foreach(library json cli)
  list(LENGTH users_${library} users)
  if(users GREATER 1)
    complain("${heavy_${library}} is included by ${users_${library}}; one file may")
  endif()
endforeach()
if(count LESS 40)
  complain("only ${count} source files under ${ROOT}: this cannot be the whole tree")
endif()
string(REPLACE ";" " " problems "${problems}")
report("layers" "${count} files include their own folder and those to its left only")
