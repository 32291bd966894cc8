#!/usr/bin/env python3
"""Names of folders and files as people have them, through the program, the Makefile and CMake.

What a person names (prefix, data, out, prompt) may be any bytes. The folders of source and build have letters, digits, spaces
and a few signs in their names, or are refused before anything is written. What was not made by the build is never removed.

usage: names_test.py SOURCE BUILD [--all]     BUILD: where the source was built; --all: every name with every command
"""
import os
import shutil
import subprocess
import sys
import tempfile

WORDS = [b"with space", b"Bob's \"quote\"", b"[1]", b"$HOME $(id) `id`", b"semi;colon", b"a&b (c)", "ü".encode(), b"caf\xe9",
         b"-dash", b"#%!*?"]
EVERYTHING = b"-a b'\"[1]$x$(id)`id`;&(#%)*" + "ü".encode() + b"\xe9"
GOOD_FOLDERS = [b"s (1) & \xc3\xbc", b"a+b,c@d~.e"]
BAD_FOLDERS = [b"a[1]", b"a$b", b"a;b", b"a'b", b'a"b', b"a#b", b"a%b", b"a:b", b"a\\b", b"caf\xe9", b"a*"]
TINY = "--d-model 32 --layers 1 --heads 2 --batch 2 --window 32 --warmup 0 --eval-windows 1 --threads 1 --quiet".split()

# Stands for the compiler: objects are those of the build that is there, but for one, which is compiled.
LAUNCHER = """#!/bin/sh
previous= ; object= ; depends=
for word; do
  case "$previous" in -o) object=$word ;; -MF) depends=$word ;; esac
  previous=$word
done
case "$object" in *build_info*) exec "$@" ;; esac
for folder in "$OBJECTS" "$OBJECTS/tests"; do
  test ! -f "$folder/$object" || break
done
cp "$folder/$object" "$object" 2> /dev/null || exec "$@"
printf '%s:\\n' "$object" > "$depends"
"""


def run(*command, cwd, environment=None, fails=False):
    """What a command says, as bytes; it must succeed, or fail."""
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode(errors="replace")
    assert (done.returncode != 0) == fails, f"{command} in {cwd} ended with {done.returncode}\n{said}"
    return done.stdout


def write(path, text=b""):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text)


def everything_in(folder):
    return sorted(os.path.join(at, name) for at, folders, files in os.walk(folder) for name in folders + files)


def program(retnet, work, names):
    """Data, runs and prompts of these names."""
    for name in names:
        folder = tempfile.mkdtemp(dir=work)
        data = name + b".txt"
        write(os.path.join(folder, data), b"To be, or not to be, that is the question.\n" * 40)
        train = [retnet, "train", "--data", data, *TINY]
        run(*train, "--steps", "1", "--out", name, cwd=folder)
        run(*train, "--steps", "1", "--out", name, "--resume", cwd=folder)  # finds the data by the name that the run remembers
        assert b"nats" in run(retnet, "eval", "--model", name, cwd=folder)
        said = run(retnet, "generate", "--model", name, "--prompt", name, "--tokens", "1", cwd=folder)
        assert said.startswith(name), (name, said)
        assert sorted(os.listdir(folder)) == sorted([data, name]), os.listdir(folder)


def make(folder, *arguments, **options):
    return run("make", *arguments, cwd=folder, **options)


def makefile(source, build, work, names):
    """OUT, BENCH and PREFIX of these names, with a program that was built before."""
    stub = os.path.join(work, b"program")
    for name in (b"retnet", b"python3"):
        write(os.path.join(stub, name), b"#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >> \"$SAID\"\n")
        os.chmod(os.path.join(stub, name), 0o755)
    for name in names:
        folder = tempfile.mkdtemp(dir=work)
        said = os.path.join(folder, b"said")
        arguments = ["-f", os.path.join(source, b"Makefile"), "-o", "build"]
        told = {**os.environb, b"SAID": said, b"PATH": stub + b":" + os.environb[b"PATH"]}
        make(folder, *arguments, "demo", b"BUILD=" + stub, b"OUT=" + name, environment=told)
        make(folder, *arguments, "bench", b"BUILD=" + stub, b"BENCH=" + name, b"PYTHON=" + name, environment=told)
        with open(said, "rb") as file:
            words = file.read().split(b"\n")
        assert words.count(b"--out=" + name) == 2 and words.count(b"--model=" + name) == 2, words
        assert words.count(b"--torch-python=" + name) == 1 and words.count(name + b"/roofline.svg") == 1, words
        os.remove(said)
        os.rmdir(os.path.join(folder, name))
        make(folder, *arguments, "install", b"BUILD=" + build, b"PREFIX=" + name)
        installed = os.path.join(folder, name)
        assert os.listdir(folder) == [name], os.listdir(folder)
        for path in (b"bin/retnet", b"lib/cmake/retnet/retnetConfig.cmake", b"include/retnet/retnet/model.h"):
            path = path if os.path.exists(os.path.join(installed, path)) else path.replace(b"lib/", b"lib64/")
            assert os.path.isfile(os.path.join(installed, path)), (name, path)


def copy_of(source, folder):
    """The source, as a clone has it."""
    os.makedirs(folder)
    for name in os.listdir(source):
        if name not in (b"build", b"runs", b".git"):
            path = os.path.join(source, name)
            (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, os.path.join(folder, name))


def folders(source, build, work, names, docs):
    """Sources in folders of these names: built, installed, moved, cleaned."""
    launcher = os.path.join(work, b"launcher")
    write(launcher, LAUNCHER.encode())
    os.chmod(launcher, 0o755)
    environment = {**os.environb, b"OBJECTS": build, b"CMAKE_CXX_COMPILER_LAUNCHER": launcher}
    for name in names:
        clone = os.path.join(work, name)
        copy_of(source, clone)
        elsewhere = os.path.join(work, b"builds of " + name)
        make(clone, "install", b"PREFIX=prefix " + name, environment=environment)
        assert b"retnet 0" in run(os.path.join(clone, b"prefix " + name, b"bin/retnet"), "--version", cwd=clone)
        run("sh", b"cmake/configure.sh", clone, elsewhere, cwd=clone, environment=environment)
        if docs:
            make(clone, "docs", environment=environment)
            check = os.path.join(clone, b"tests/docs/check_site.py")
            run(sys.executable, check, clone, os.path.join(clone, b"build/release/docs/html"), cwd=work)
        moved = os.path.join(work, b"moved " + name)
        os.rename(clone, moved)
        assert b"configured anew" in make(moved, "build", environment=environment)
        assert b"anew" not in make(moved, "build", environment=environment)
        # Another source's build folder is not taken, nor one with other things in it.
        other = os.path.join(work, b"other " + name)
        copy_of(source, other)
        assert b"was made for" in make(other, "build", b"BUILD=" + os.path.join(moved, b"build/release"), fails=True)
        write(os.path.join(other, b"mine/letter.txt"))
        for mine in (b"mine", b"."):
            assert b"other things" in make(other, "build", b"BUILD=" + mine, fails=True)
        clean(moved, elsewhere)
        for folder in (moved, other, elsewhere):
            shutil.rmtree(folder, ignore_errors=True)


def clean(clone, elsewhere):
    """`make clean` removes build folders of this source, and nothing else."""
    kept = [b"build/notes.txt", b"build/mine/letter.txt", b"build/another/CMakeCache.txt", b"runs/demo/log.jsonl",
            b"linked/CMakeCache.txt"]
    for path in kept:
        write(os.path.join(clone, path), b"CMAKE_PROJECT_NAME:STATIC=retnet\n" if path.startswith(b"linked") else b"mine")
    os.symlink(b"../linked", os.path.join(clone, b"build/link"))
    make(clone, "clean", b"BUILD=" + elsewhere)
    assert not os.path.exists(os.path.join(clone, b"build/release"))
    assert os.path.exists(elsewhere) == (b"moved" in clone), "a build folder elsewhere is removed iff it is of this source"
    for path in [*kept, b"build/link"]:
        assert os.path.lexists(os.path.join(clone, path)), path


def refused(source, work, names):
    """Sources and build folders of these names: one line, and nothing is written."""
    for name in names:
        clone = os.path.join(work, b"refused", name)
        for path in (b"Makefile", b"cmake/configure.sh", b"cmake/packages.sh"):
            write(os.path.join(clone, path))
            shutil.copy(os.path.join(source, path), os.path.join(clone, path))
        before = everything_in(clone)
        for target in ("build", "install", "demo"):
            said = make(clone, target, fails=True)
            lines = [line for line in said.splitlines() if b"***" not in line]
            assert len(lines) == 1 and b"use another" in lines[0], (name, said)
        assert everything_in(clone) == before, name
        plain = os.path.join(work, b"plain")
        os.makedirs(plain, exist_ok=True)
        said = make(plain, "-f", os.path.join(source, b"Makefile"), "build", b"BUILD=" + name, fails=True)
        assert b"use another" in said and os.listdir(plain) == [], (name, said)
    for name in (b"a[1]", b"a$b", b"a#b"):  # without make CMake says it
        said = run("cmake", "-S", source, "-B", os.path.join(work, name), cwd=work, fails=True)
        assert b"use another" in b" ".join(said.split()), (name, said)


def main():
    source, build = (os.fsencode(os.path.realpath(path)) for path in sys.argv[1:3])
    every = "--all" in sys.argv[3:]
    for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "BUILD", "PREFIX", "PYTHON", "CMAKE_FLAGS"):
        os.environ.pop(name, None)  # of the make that this may be run by
    with tempfile.TemporaryDirectory() as work:
        work = os.fsencode(work)
        program(os.path.join(build, b"retnet"), work, [EVERYTHING, *WORDS] if every else [EVERYTHING, b"caf\xe9"])
        makefile(source, build, work, [EVERYTHING, *WORDS] if every else [EVERYTHING])
        refused(source, work, BAD_FOLDERS)
        folders(source, build, work, GOOD_FOLDERS if every else GOOD_FOLDERS[:1], every)


if __name__ == "__main__":
    main()
