#!/usr/bin/env python3
"""Whatever the environment says of threads and their stacks: the program trains, to the same weights.

usage: thread_environment_test.py PROGRAM
"""
import glob
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

ENVIRONMENTS = [
    {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "4,2"}, {"OMP_NUM_THREADS": "80000"}, {"OMP_NUM_THREADS": "2147483647"},
    {"OMP_NUM_THREADS": "99999999999"}, {"OMP_NUM_THREADS": "-3"}, {"OMP_NUM_THREADS": "0"}, {"OMP_NUM_THREADS": "many"},
    {"OMP_STACKSIZE": "16k"}, {"OMP_STACKSIZE": "1"}, {"OMP_STACKSIZE": "100G"}, {"OMP_STACKSIZE": "large"},
    {"GOMP_STACKSIZE": "16"}, {"KMP_STACKSIZE": "16k"}, {"OMP_THREAD_LIMIT": "1"}, {"OMP_DYNAMIC": "true"},
    {"OMP_MAX_ACTIVE_LEVELS": "0"}, {"OMP_NESTED": "true"}, {"KMP_DEVICE_THREAD_LIMIT": "2"},
    {"OMP_PROC_BIND": "true"}, {"OMP_PROC_BIND": "spread", "OMP_PLACES": "threads"}, {"OMP_WAIT_POLICY": "active"},
    {"OMP_NUM_THREADS": "9000", "OMP_STACKSIZE": "16k", "OMP_THREAD_LIMIT": "3"},
]
TRAIN = ("train --data text.txt --quiet --steps 3 --warmup 1 --batch 8 --window 64 --d-model 32 --key-width 32 "
         "--value-width 64 --ffn-width 64 --heads 2 --layers 1").split()


def clean():
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}


def weights(program, folder, flags, environment, stack=None):
    """The bytes of the trained model."""
    def prepare():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if stack is not None:
            resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    out = tempfile.mkdtemp(dir=folder)
    done = subprocess.run([program] + TRAIN + flags + ["--out", out], cwd=folder, env={**clean(), **environment},
                          preexec_fn=prepare, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{environment} {flags}, stack {stack}: ended with {done.returncode}\n{done.stderr}"
    with open(os.path.join(out, "step-000003/model.safetensors"), "rb") as file:
        return file.read()


def processors_of(program, folder, environment):
    """Those that the threads of a run may use, each by itself."""
    words = " ".join(TRAIN).replace("--steps 3", "--steps 1000000").split()
    command = [program, *words, "--threads", "2", "--out", tempfile.mkdtemp(dir=folder)]
    run = subprocess.Popen(command, cwd=folder, env={**clean(), **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = []
    for _ in range(200):
        time.sleep(0.05)
        tasks = glob.glob(f"/proc/{run.pid}/task/*/status")
        seen = [re.search(r"Cpus_allowed_list:\s*(\S+)", open(task, encoding="utf-8").read()).group(1) for task in tasks]
        if len(set(seen)) > 1:
            break
    run.kill()
    run.wait()
    return seen


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "text.txt"), "w", encoding="ascii") as text:
            text.write("".join(f"line {i * i % 97} goes on\n" for i in range(300)))
        expected = weights(program, folder, ["--threads", "1"], {})
        for environment in ENVIRONMENTS:
            assert weights(program, folder, [], environment) == expected, environment
        assert weights(program, folder, ["--threads", "1024"], {}) == expected
        for kib in (64, 100, 300):  # too small for threads of the default size, and raised where that is allowed
            assert weights(program, folder, ["--threads", "3"], {}, kib * 1024) == expected, kib
        if len(os.sched_getaffinity(0)) > 1 and os.path.exists("/proc/self/task"):
            places = processors_of(program, folder, {"OMP_PROC_BIND": "true", "OMP_PLACES": "threads"})
            assert len(set(places)) > 1, f"threads that are bound are all on processor {places}"
        shown = subprocess.run([program, "info"], env={**clean(), "OMP_NUM_THREADS": "80000"}, capture_output=True,
                               text=True, check=True).stdout
        helped = subprocess.run([program, "train", "--help"], env={**clean(), "OMP_NUM_THREADS": "80000"}, capture_output=True,
                                text=True, check=True).stdout
        assert "(1024)" in helped and "80000" not in helped, helped
        threads = int(next(line for line in shown.splitlines() if line.startswith("threads")).split()[1])
        assert threads <= 8 * (os.cpu_count() or 1), shown
    print(f"{len(ENVIRONMENTS)} environments, the same weights")


if __name__ == "__main__":
    main()
