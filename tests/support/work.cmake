# What the tests that are scripts share: a folder to work in, and commands that must succeed.

# Empties a folder for a test, or makes it. Nobody's files are removed: a folder with something in it must be one that a test
# made, which leaves a mark there.
function(work_folder folder)
  file(GLOB inside LIST_DIRECTORIES true "${folder}/*")
  if(inside AND NOT EXISTS "${folder}/.made_by_retnet_tests")
    message(FATAL_ERROR "${folder}: required a folder for this test alone, that is empty or that a test made; give another one")
  endif()
  file(REMOVE_RECURSE "${folder}")
  file(WRITE "${folder}/.made_by_retnet_tests" "")
endfunction()

# Runs a command that must succeed; what it prints is in the variable output.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    string(JOIN " " command ${ARGN})
    message(FATAL_ERROR "${command}\nfailed with ${status}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()
