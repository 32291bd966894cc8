#!/bin/sh
# Installs what `make build`, `make test`, `make docs`, .. needs and this machine lacks, on Debian and Ubuntu; elsewhere,
# or without the right to install, says what to install.
#
# usage: packages.sh build|test|docs|bench|instructions|clang|emulated|amd|nvidia
#
# build is what every configuration of CMake needs; the others are what their commands need beside it.
set -eu

case "${1:-}" in
  build) wanted="g++ cmake libcli11-dev nlohmann-json3-dev catch2" ;;
  test)  wanted="doxygen python3" ;;
  docs)  wanted="doxygen doxygen-awesome-css libjs-mathjax" ;;
  bench) wanted="python3" ;;
  instructions) wanted="python3 valgrind" ;;
  clang) wanted="clang" ;;
  emulated) wanted="libboost-context-dev" ;;
  amd)   wanted="hipcc" ;;
  nvidia) wanted="python3 python3-pip" ;;  # NVIDIA publishes nvcc for pip; in Debian it is not free
  *)     echo "usage: packages.sh build|test|docs|bench|instructions|clang|emulated|amd|nvidia" >&2; exit 2 ;;
esac

# What a package is wanted for: a command, or a header that the compiler finds.
present() {
  case "$1" in
    libcli11-dev)        header CLI/CLI.hpp ;;
    nlohmann-json3-dev)  header nlohmann/json.hpp ;;
    libboost-context-dev) header boost/context/fiber.hpp ;;
    catch2)              test -e /usr/include/catch2/catch.hpp || test -e /usr/include/catch2/catch_test_macros.hpp ;;
    doxygen-awesome-css) test -e /usr/share/doxygen-awesome-css/doxygen-awesome.css ;;
    libjs-mathjax)       test -e /usr/share/javascript/mathjax/MathJax.js ;;
    hipcc)               command -v "${ROCM_PATH:-/opt/rocm}/bin/hipcc" > /dev/null || command -v hipcc > /dev/null ;;
    python3-pip)         python3 -m pip --version > /dev/null 2>&1 ;;
    *)                   command -v "$1" > /dev/null ;;
  esac
}

header() {
  printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$1" | "${CXX:-c++}" -E -x c++ - > /dev/null 2>&1
}

missing=""
for package in $wanted; do
  present "$package" || missing="$missing $package"
done
test -n "$missing" || exit 0

if ! command -v apt-get > /dev/null 2>&1; then
  echo "packages.sh: these Debian packages, or what they are called here, are missing:$missing" >&2
  exit 1
fi
as_root=""
if test "$(id -u)" != 0; then
  if ! command -v sudo > /dev/null 2>&1; then
    echo "packages.sh: not root and no sudo; as root, run: apt-get install$missing" >&2
    exit 1
  fi
  as_root="sudo"
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq || echo "packages.sh: could not refresh the package lists, trying with the old ones" >&2
# shellcheck disable=SC2086  # one word per package
$as_root apt-get install -y -qq --no-install-recommends $missing > /dev/null || {
  echo "packages.sh: could not install:$missing" >&2
  exit 1
}
