#!/usr/bin/env python3
"""Instructions of one training step and of one decoded token, counted by valgrind's callgrind: a measure of speed that
does not depend on what else the machine is doing, so that a change can be compared with what was there before it.

    bench_instructions.py --program build/portable/retnet --out build/bench

Two runs that differ in their number of steps are subtracted, so what the program does before and after drops out. One
thread, preset tiny. Written to OUT/instructions.json; with an older file there, the change is printed. valgrind knows no
AVX-512, so the program is best a portable build, which is the same on every machine.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile


def count(program, arguments, folder):
    """Instructions of a run of the program."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder, check=False)
    total = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not total:
        sys.exit(f"bench_instructions: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return int(total.group(1))


def per_step(program, arguments, few, many, folder):
    """arguments: a function of the number of steps."""
    counts = [count(program, arguments(n), folder) for n in (few, many)]
    return round((counts[1] - counts[0]) / (many - few))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/portable/retnet")
    parser.add_argument("--out", default="build/bench")
    a = parser.parse_args()
    sys.stdout.reconfigure(errors="surrogateescape")  # names of files are any bytes
    if not shutil.which("valgrind"):
        sys.exit("bench_instructions: valgrind is missing; install it (Debian, Ubuntu: apt install valgrind)")
    program = os.path.abspath(a.program)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "text.txt"), "w", encoding="utf-8") as file:
            file.write("To be, or not to be, that is the question.\n" * 400)
        runs = iter(range(100))

        def train(steps):  # of one window: valgrind takes a function call for each fused multiply-add
            return ["train", "--data", "text.txt", "--out", f"run-{next(runs)}", "--steps", str(steps), "--warmup", "1",
                    "--batch", "1", "--held-out", "0.02", "--eval-every", "0", "--save-every", "1000", "--threads", "1", "--quiet"]

        results = {"training step, tiny, one window": per_step(program, train, 1, 2, folder)}

        def generate(tokens):
            return ["generate", "--model", "run-0", "--prompt", "To be", "--tokens", str(tokens), "--temperature", "0",
                    "--threads", "1"]

        results["decoded token, tiny"] = per_step(program, generate, 8, 24, folder)
    path = os.path.join(a.out, "instructions.json")
    before = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            before = json.load(file)["instructions"]
    for name, value in results.items():
        change = f"   {100 * (value / before[name] - 1):+.1f} % since the file before" if before.get(name) else ""
        print(f"{name:<34}{value:>16,} instructions{change}")
    build = subprocess.run([program, "info"], capture_output=True, text=True, errors="replace", check=True).stdout
    os.makedirs(a.out, exist_ok=True)
    temporary = f"{path}.tmp.{os.getpid()}"  # the next run compares with this file, so it is whole or the old one
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(dict(instructions=results, build=[line for line in build.splitlines() if line.strip()]), file, indent=1)
    os.replace(temporary, path)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
