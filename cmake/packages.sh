#!/bin/sh
# Installs what `make build`, `make test`, `make docs`, .. needs and this machine lacks, on Debian and Ubuntu; elsewhere,
# or without the right to install, says what to install.
#
# usage: packages.sh build|test|docs|bench|instructions|emulated
set -eu

build="g++ cmake libcli11-dev nlohmann-json3-dev catch2"
case "${1:-}" in
  build) wanted="$build" ;;
  test)  wanted="$build doxygen python3" ;;
  docs)  wanted="$build doxygen doxygen-awesome-css libjs-mathjax" ;;
  bench) wanted="$build python3" ;;
  instructions) wanted="$build python3 valgrind" ;;
  emulated) wanted="$build libboost-context-dev" ;;
  *)     echo "usage: packages.sh build|test|docs|bench|instructions|emulated" >&2; exit 2 ;;
esac

# What a package is wanted for: a command, or a header in the usual places.
present() {
  case "$1" in
    libcli11-dev)        set -- CLI/CLI.hpp ;;
    nlohmann-json3-dev)  set -- nlohmann/json.hpp ;;
    libboost-context-dev) set -- boost/context/fiber.hpp ;;
    catch2)              for version in catch.hpp catch_test_macros.hpp; do header "catch2/$version" && return 0; done; return 1 ;;
    doxygen-awesome-css) test -e /usr/share/doxygen-awesome-css/doxygen-awesome.css; return ;;
    libjs-mathjax)       test -e /usr/share/javascript/mathjax/MathJax.js; return ;;
    *)                   command -v "$1" > /dev/null 2>&1; return ;;
  esac
  header "$1"
}

header() {
  for folder in /usr/include /usr/local/include /opt/homebrew/include; do
    test -e "$folder/$1" && return 0
  done
  return 1
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
