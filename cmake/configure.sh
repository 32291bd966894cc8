#!/bin/sh
# Configures a build folder, for the Makefile's commands: looks first that source and build folder can be worked with, before
# anything is written, and installs the packages that are missing when CMake does not find what it needs.
#
# usage: configure.sh SOURCE BUILD [OPTION-OF-CMAKE]..
set -eu
source=$1
build=$2
shift 2
case "$build" in /*) ;; *) build=$PWD/$build ;; esac

refuse() {
  printf 'make: %s\n' "$*" >&2
  exit 1
}

# Compilers, make and CMake take other characters for their own.
for folder in "$source" "$build"; do
  strange=$(printf %s "$folder" | LC_ALL=C tr -d 'A-Za-z0-9 ._+,@~()&/\200-\377-' | wc -c)
  if test "$strange" -gt 0 || ! printf %s "$folder" | iconv -f UTF-8 -t UTF-8 > /dev/null 2>&1; then
    refuse "the folders of source and build may have letters (UTF-8), digits, spaces and ._+,@~()&- in their names, got $folder; use another"
  fi
done

# A build folder belongs to one source folder, and stays where it was made.
cache=$build/CMakeCache.txt
cached() {
  sed -n "s/^$1:[A-Z]*=//p" "$cache"
}
same() {
  test "$(cd -P -- "$1" 2> /dev/null && pwd)" = "$(cd -P -- "$2" && pwd)"
}
if test -f "$cache"; then
  made_for=$(cached CMAKE_HOME_DIRECTORY)
  if ! same "$made_for" "$source" || ! same "$(cached CMAKE_CACHEFILE_DIR)" "$build"; then
    # What was moved or copied along with its source is begun anew. What another source built is that one's.
    if test "$(cached CMAKE_PROJECT_NAME)" != retnet || { test -e "$made_for/CMakeLists.txt" && ! same "$made_for" "$source" &&
        same "$(cached CMAKE_CACHEFILE_DIR)" "$build"; }; then
      refuse "BUILD must be a folder for this source, got $build, which was made for $made_for; use another"
    fi
    echo "$build was made for $made_for and is configured anew"
    find "$build" -type d -name CMakeFiles -prune -exec rm -rf {} +
    rm -f "$cache"
  fi
elif test -n "$(find "$build/" -mindepth 1 -maxdepth 1 ! -name CMakeFiles ! -name configure.log 2> /dev/null)"; then
  refuse "BUILD must be a new or empty folder or one that CMake made, got $build, which has other things in it; use another"
fi

mkdir -p -- "$build"
log=$build/configure.log
configure() {
  cmake -S "$source" -B "$build" "$@" > "$log" 2>&1
}
configure "$@" && exit 0
sh "$source/cmake/packages.sh" build || { cat "$log"; exit 1; }
configure "$@" || { cat "$log"; exit 1; }
