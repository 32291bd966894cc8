#!/usr/bin/env python3
"""What the scripts do on machines that lack something: `.ci/gpu` compiles the kernels of every platform or fails, and `make`
installs only what CMake misses. The machines are pretended: of commands they have a few of this one's, and those that this
test writes.

usage: machines_test.py SOURCE_FOLDER
"""
import os
import shutil
import subprocess
import sys
import tempfile

# The commands of this machine that the scripts use, none of which installs or compiles.
SYSTEM = "sh bash basename cat chmod dirname env find iconv id mkdir nproc printf rm sed touch tr wc".split()

# A build of a platform leaves an object per kernel, unless SKIPS names the platform; that of the tests leaves a program.
CMAKE = """
case "$*" in
  *--build*emulated*) mkdir -p build/ci-emulated/tests; printf '#!/bin/sh\\n' > build/ci-emulated/tests/retnet_tests
                      chmod +x build/ci-emulated/tests/retnet_tests ;;
  *--build*"$SKIPS"*) ;;
  *--build*) for source in kernels/hip/*.hip; do touch "$2/$(basename "$source" .hip).hip.o"; done ;;
  *nvidia*) case "$*" in *CMAKE_CUDA_COMPILER=/*nvcc*) ;; *) exit 1 ;; esac ;;
esac
"""
INSTALL_HIPCC = """
case "$*" in *install*hipcc*) printf '#!/bin/sh\\n' > "$COMMANDS/hipcc"; chmod +x "$COMMANDS/hipcc" ;; esac
"""
INSTALL_NVCC = """
case "$*" in
  *install*nvidia-cuda-nvcc*)
    bin=build/ci-nvidia/cuda/nvidia/cu13/bin
    mkdir -p "$bin"; printf '#!/bin/sh\\n' > "$bin/nvcc"; chmod +x "$bin/nvcc" ;;
esac
"""


def run(source, commands, skips="none", text="", arguments=(".ci/gpu",)):
    """Whether a script succeeded where these commands are, as {name: script}, and what it said, which has the text."""
    with tempfile.TemporaryDirectory() as work:
        for name in (".ci", "cmake"):
            shutil.copytree(os.path.join(source, name), os.path.join(work, name))
        os.makedirs(os.path.join(work, "kernels/hip"))  # the kernels' names are enough
        for name in os.listdir(os.path.join(source, "kernels/hip")):
            with open(os.path.join(work, "kernels/hip", name), "w", encoding="utf-8"):
                pass
        folder = os.path.join(work, "commands")
        os.mkdir(folder)
        for name in SYSTEM:
            os.symlink(shutil.which(name), os.path.join(folder, name))
        always = {"cmake": CMAKE, "g++": "", "c++": "", "sudo": '"$@"'}
        for name, script in {**always, **commands}.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n" + script)
            os.chmod(file.name, 0o755)
        environment = dict(PATH=folder, COMMANDS=folder, SKIPS=skips, CUDA_PATH="/nowhere", ROCM_PATH="/nowhere", CXX="c++")
        done = subprocess.run([os.path.join(work, arguments[0]), *arguments[1:]], cwd=work, env=environment,
                              capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert text in said, f"expected '{text}', got\n{said}"
    return done.returncode == 0, said


def ci(source):
    both = {"hipcc": "", "nvcc": ""}
    succeeded, said = run(source, both)
    assert succeeded and "RETNET_GPU=amd" in said and "RETNET_GPU=nvidia" in said, said
    for platform in ("amd", "nvidia"):  # a compiler that is there and compiles nothing
        succeeded, said = run(source, both, skips="ci-" + platform, text=f"RETNET_GPU={platform} left kernels/hip/")
        assert not succeeded, said
    # Missing compilers are installed, or CI fails and says why.
    assert run(source, {"nvcc": "", "apt-get": INSTALL_HIPCC}, text="installing: hipcc")[0]
    assert not run(source, {"nvcc": "", "apt-get": "exit 1"}, text="could not install: hipcc")[0]
    assert not run(source, {"nvcc": ""}, text="are missing: hipcc")[0]
    assert run(source, {"hipcc": "", "python3": INSTALL_NVCC}, text="installing nvcc")[0]
    assert not run(source, {"hipcc": "", "python3": "exit 0"}, text="no nvcc, and it could not be installed")[0]


def configure(source):
    bare = {"c++": "exit 1"}  # a compiler that finds no header
    arguments = ("cmake/configure.sh", ".", "build")
    # Where CMake is content, nothing is looked for, wherever the headers are.
    assert run(source, {**bare, "cmake": "exit 0"}, arguments=arguments) == (True, "")
    # Where it is not, what is missing is installed, and it is asked again; its own words are shown if that does not help.
    failing = 'echo "no header $*"; test -e installed'
    install = "case \"$*\" in *install*) touch installed ;; esac"
    assert run(source, {**bare, "cmake": failing, "apt-get": install}, arguments=arguments, text="installing: libcli11-dev")[0]
    succeeded, said = run(source, {**bare, "cmake": failing, "apt-get": "exit 1"}, arguments=arguments,
                          text="could not install: libcli11-dev")
    assert not succeeded and "no header" in said, said
    succeeded, said = run(source, {**bare, "cmake": "exit 1"}, arguments=arguments,
                          text="are missing: libcli11-dev nlohmann-json3-dev")
    assert not succeeded, said


def main():
    ci(sys.argv[1])
    configure(sys.argv[1])


if __name__ == "__main__":
    main()
