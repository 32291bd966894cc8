#!/bin/sh
# Removes the build folders of a source: those that CMake made for it, in its folder build/, and the one that is given. Nothing
# else is removed, and no link is followed.
#
# usage: clean.sh SOURCE BUILD
set -eu
source=$1
for build in "$source"/build/* "$2"; do
  cache=$build/CMakeCache.txt
  if test -L "$build" || ! test -f "$cache" || ! grep -qxF "CMAKE_PROJECT_NAME:STATIC=retnet" "$cache"; then
    continue
  fi
  # One in build/ may have been moved here along with its source; elsewhere it must be this source's.
  case "$build" in
    "$source"/build/*) ;;
    *) if ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$source" "$cache"; then
         printf 'left, as it is no build folder of this source: %s\n' "$build"
         continue
       fi ;;
  esac
  printf 'removing %s\n' "$build"
  rm -rf -- "$build"
done
if test -d "$source/build" && ! test -L "$source/build"; then
  rmdir -- "$source/build" 2> /dev/null ||
    find "$source/build" -mindepth 1 -maxdepth 1 -printf 'left, as it is no build folder of this source: build/%f\n'
fi
