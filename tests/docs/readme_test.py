#!/usr/bin/env python3
"""Runs every command of the README and compares what it prints with what the README says.

A command is a line `$ command` in a ```console block; the lines up to the next command are its output. A line `...`
stands for any number of lines, and `...` inside a line for any text. Times and speeds depend on the machine and are
not compared; every other number may differ by 5 %, because another instruction set rounds differently and training
amplifies that.

usage: readme_test.py README.md BUILD_FOLDER [NAME]     NAME: only commands that contain it
"""
import os
import re
import subprocess
import sys
import tempfile

NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
# A number with one of these behind it, or in front of it, is a time, a speed or a place on this machine.
UNCOMPARED = re.compile(r"(\d[\d,.]*) ?(tokens/s|k tokens/s|GFLOP/s|seconds|s|min|ms|MiB|left)\b")
# Differences at the level of rounding have no two digits in common; their order of magnitude is what counts.
ROUNDING = 1e-5


def commands(text):
    """[(command, [expected lines])] of all console blocks, in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
    return found


def same_number(expected, printed):
    a, b = (float(x.replace(",", "").rstrip(".")) for x in (expected, printed))
    if abs(a) < ROUNDING and abs(b) < ROUNDING:
        return True
    return abs(a - b) <= 0.05 * max(abs(a), abs(b))


def same_line(expected, printed):
    expected, printed = (UNCOMPARED.sub(r"# \2", re.sub(r"\s+", " ", x.strip())) for x in (expected, printed))
    pattern = "".join(".*" if part == "..." else r"([-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?)" if NUMBER.fullmatch(part) else re.escape(part)
                      for part in re.split(r"(\.\.\.|" + NUMBER.pattern + ")", expected))
    match = re.fullmatch(pattern, printed)
    wanted = NUMBER.findall(expected.replace("...", " "))
    return bool(match) and all(map(same_number, wanted, match.groups()))


def mismatch(expected, printed):
    """None when the printed lines fit the expected ones, else the first expected line that was not found."""
    at, skip = 0, False
    for line in expected:
        if line.strip() == "...":
            skip = True
            continue
        while skip and at < len(printed) and not same_line(line, printed[at]):
            at += 1
        if at >= len(printed) or not same_line(line, printed[at]):
            return line
        at, skip = at + 1, False
    return None if skip or at == len(printed) or not expected else "(the end of the output)"


def selftest():
    """The comparison itself can fail."""
    assert mismatch(["loss 1.50"], ["loss 1.52"]) is None
    assert mismatch(["loss 1.50"], ["loss 1.90"]) == "loss 1.50"
    assert mismatch(["a", "...", "b"], ["a", "x", "y", "b"]) is None
    assert mismatch(["a", "...", "b"], ["a", "x", "y"]) == "b"
    assert mismatch(["a 3 tokens/s"], ["a 900 tokens/s"]) is None
    assert mismatch(["a"], ["a", "b"]) is not None
    assert mismatch(["err 1.1e-15"], ["err 2.3e-14"]) is None
    assert mismatch(["err 1.1e-15"], ["err 2.3e-3"]) is not None


def main():
    selftest()
    readme, build = sys.argv[1], os.path.abspath(sys.argv[2])
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    source = os.path.dirname(os.path.abspath(readme))
    with open(readme, encoding="utf-8") as file:
        todo = commands(file.read())
    if not todo:
        sys.exit("readme_test: the README shows no command")
    failed = ran = 0
    with tempfile.TemporaryDirectory() as work:
        # A folder that looks like the source tree to the commands, and keeps what they write out of it.
        for name in os.listdir(source):
            if name not in ("build", "runs", ".git"):
                os.symlink(os.path.join(source, name), os.path.join(work, name))
        os.mkdir(os.path.join(work, "build"))
        os.symlink(build, os.path.join(work, "build", "release"))
        for command, expected in todo:
            if only not in command:
                continue
            if command == "make test":
                print(f"not run here, because it is how this test is reached: {command}")
                continue
            print(f"$ {command}", flush=True)
            result = subprocess.run(command, shell=True, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL, errors="replace", env=dict(os.environ, BUILD=build))
            printed = result.stdout.replace("\r", "\n").splitlines()
            ran += 1
            wrong = f"exit code {result.returncode}" if result.returncode else mismatch(expected, printed)
            if wrong:
                failed += 1
                print("\n".join(printed))
                print(f"readme_test: the README says, and this run did not print:\n{wrong}")
    print(f"readme_test: {ran - failed} passed, {failed} failed")
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
