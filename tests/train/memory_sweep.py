#!/usr/bin/env python3
"""Every command of the program under every limit of its memory (ulimit -v), from the least under which `retnet --version`
starts: each run ends with 0, 1 or 2 and at most one line that speaks of memory, and leaves nothing half-written.

    memory_sweep.py PROGRAM [STEPS]        STEPS: limits for each command, 16 unless it is given
"""
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

MIB = 1 << 20
KIB = 1 << 10


def run(program, arguments, folder, limit, environment=None):
    """One run under a limit in bytes, without core files."""
    def prepare():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return subprocess.run([program] + arguments, cwd=folder, preexec_fn=prepare, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=300, env={**os.environ, **(environment or {})})


def least(program, folder):
    """The least limit under which the program starts, to a few pages."""
    low, high = 0, 256 * MIB
    while high - low > 16 * KIB:
        middle = (low + high) // 2
        if run(program, ["--version"], folder, middle).returncode == 0:
            high = middle
        else:
            low = middle
    return high


def limits(least_one, steps):
    """From the least one upwards, in steps of a quarter MiB and more until 1 GiB."""
    factor = (4 * KIB) ** (1 / max(1, steps - 1))
    return [least_one] + [least_one + int(MIB / 4 * factor ** i) for i in range(steps)]


def leftovers(folder):
    """What interrupted writes have left."""
    return [os.path.join(place, name) for place, folders, files in os.walk(folder)
            for name in folders + files if ".tmp" in name]


def problem(result, arguments, limit, folder):
    """What is wrong with how a run has ended, or None."""
    error = result.stderr.decode(errors="replace")
    told = f"retnet {' '.join(arguments)}\n  under {limit} bytes ended with {result.returncode} and said: {error!r}"
    if result.returncode not in (0, 1, 2):
        return told + "\n  required: an exit code of 0, 1 or 2"
    if result.returncode != 0 and (error.count("\n") != 1 or not re.search("memory|ulimit", error)):
        return told + "\n  required: one line about memory"
    if leftovers(folder):
        return told + f"\n  left {leftovers(folder)}"
    return None


def commands():
    """Arguments of each command on a small model, and the files that it writes."""
    training = ["train", "--data", "text.txt", "--quiet", "--steps", "2", "--warmup", "1", "--batch", "4", "--window",
                "32", "--heads", "2", "--layers", "2"]
    return [
        training + ["--d-model", "16", "--out", "fresh"],
        training + ["--d-model", "256", "--threads", "2", "--out", "fresh"],
        ["train", "--out", "run", "--resume", "--quiet"],
        ["eval", "--model", "run"],
        ["generate", "--model", "run", "--prompt", "line", "--tokens", "4"],
        ["forms", "--length", "20", "--handoffs", "1"],
        ["forms", "--length", "3000", "--handoffs", "0", "--threads", "3"],
        ["gradcheck", "--length", "3", "--elements", "1"],
        ["info"],
        ["info", "--model", "run"],
        ["bench", "--quick", "--only", "matmul"],
        ["train", "--help"],
    ]


def main():
    program = os.path.abspath(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    failures = runs = 0
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "text.txt"), "w", encoding="ascii") as text:
            text.write("".join(f"line {i * i % 97} goes on\n" for i in range(300)))
        made = run(program, commands()[0][:-1] + ["run"], folder, None)
        if made.returncode != 0:
            sys.exit(f"the run to work on: {made.stderr.decode()}")
        start = least(program, folder)
        for arguments in commands():
            succeeded = 0
            for limit in limits(start, steps):
                result = run(program, arguments, folder, limit)
                runs += 1
                found = problem(result, arguments, limit, folder)
                if found:
                    print(found, file=sys.stderr)
                    failures += 1
                shutil.rmtree(os.path.join(folder, "fresh"), ignore_errors=True)
                succeeded += result.returncode == 0
                if succeeded == 2:  # more memory is no other case
                    break
            if succeeded == 0:
                print(f"retnet {' '.join(arguments)} never succeeded", file=sys.stderr)
                failures += 1
    print(f"{runs} runs from {start / MIB:.1f} MiB upwards, {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
