#!/usr/bin/env python3
"""What is left of training and decoding beside programs that want the processors too: `retnet bench --only rates` on all
threads, in turns with as many single-threaded ones side by side, which never wait for each other. Their rates, added up,
are what the scheduler would give a program without any waiting; ours is printed as a share of that.

    bench_busy.py --program build/release/retnet --hogs 0 1 2 4 --rounds 20
    bench_busy.py --program .. --setting quota      # in a control group that may use one processor (as root)

--setting: `cores` as they are; `one` processor for all threads (taskset); `double`, twice as many threads as
processors; `quota`, of one processor; `pair`, two such programs side by side, each as a share of its half. Nothing but Python is
needed; where --torch-python has PyTorch, bench_torch.py is measured too, its threads as a share of as many processes of
one thread. Everything is written to OUT/busy.json.
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys

HOG = "while True: pass"
TORCH = {"training, batch 16": ["--mode", "train", "--form", "parallel", "--steps", "2", "--warmup", "1"],
         "decoding, batch 1": ["--mode", "decode", "--batch", "1", "--steps", "300"],
         "decoding, batch 16": ["--mode", "decode", "--batch", "16", "--steps", "200"]}


@contextlib.contextmanager
def hogs(count):
    """So many programs that do nothing, without pause."""
    running = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in running:
            hog.kill()
        for hog in running:
            hog.wait()


@contextlib.contextmanager
def quota():
    """A control group that may use one processor's time, for this process and what it starts."""
    version2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    root = "/sys/fs/cgroup" if version2 else "/sys/fs/cgroup/cpu"
    group = os.path.join(root, "retnet-bench-busy")
    try:
        os.makedirs(group, exist_ok=True)
        limits = {"cpu.max": "100000 100000"} if version2 else {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}
        for name, value in limits.items():
            with open(os.path.join(group, name), "w", encoding="ascii") as file:
                file.write(value)
        enter(group)
    except OSError as error:
        sys.exit(f"bench_busy: cannot set a control group's quota ({error}); it takes root, and the controller `cpu`")
    try:
        yield
    finally:
        enter(root)
        os.rmdir(group)


def enter(group):
    with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


def together(commands):
    """The lines of JSON that each command prints, all of them running at once."""
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
               for command in commands]
    results = []
    for command, process in zip(commands, running):
        out, err = process.communicate()
        if process.returncode != 0:
            sys.exit(f"bench_busy: {' '.join(command)} ended with {process.returncode}:\n{err.strip()}")
        results.append([json.loads(line) for line in out.splitlines() if line.startswith("{")])
    return results


def added(results):
    """The rate of each case, over all of the programs."""
    rates = {}
    for lines in results:
        for line in (line for line in lines if line["what"] == "rates"):
            rates[line["case"]] = rates.get(line["case"], 0) + line["value"]
    return rates


class Retnet:
    name = "retnet"

    def __init__(self, a):
        self.command = [*a.prefix, a.program, "bench", "--json", "--only", "rates", "--preset", a.preset, *(["--quick"] if a.quick else [])]

    def rates(self, threads, programs):
        return added(together([[*self.command, "--threads", str(threads)]] * programs))


class Torch:
    name = "PyTorch"

    def __init__(self, a):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_torch.py")
        self.command, self.preset = [*a.prefix, a.torch_python, script, "--config", a.preset], a.preset

    def rates(self, threads, programs):
        rates = {}
        for case, arguments in TORCH.items():
            results = together([[*self.command, "--threads", str(threads), *arguments]] * programs)
            rates[f"{self.preset}, {case}"] = sum(lines[-1]["tokens_per_s"] for lines in results)
        return rates


def has_torch(python):
    try:
        return subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def measure(kind, threads, programs, processors, rounds):
    """Rows of a case: rates and shares, in turns."""
    rows = {}
    for _ in range(rounds):
        ours, apart = kind.rates(threads, programs), kind.rates(1, max(processors, programs))
        for case, rate in ours.items():
            row = rows.setdefault(case, dict(rates=[], apart=[], shares=[]))
            row["rates"].append(rate), row["apart"].append(apart[case]), row["shares"].append(rate / apart[case])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/retnet")
    parser.add_argument("--out", default="build/bench")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--hogs", nargs="+", type=int, default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--setting", choices=("cores", "one", "double", "quota", "pair"), default="cores")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--torch-rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of a moment")
    a = parser.parse_args()
    sys.stdout.reconfigure(errors="surrogateescape")  # names of files are any bytes
    a.program, a.rounds = os.path.abspath(a.program), 1 if a.quick else a.rounds
    processors = len(os.sched_getaffinity(0))
    a.prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if a.setting == "one" else []
    threads, programs = processors * (2 if a.setting == "double" else 1), 2 if a.setting == "pair" else 1
    kinds = [(Retnet(a), a.rounds)] + ([(Torch(a), a.torch_rounds)] if not a.quick and has_torch(a.torch_python) else [])
    results = []
    print(f"{'':<9}{'hogs':>5}  {'case':<28}{'tokens/s':>10}{'worst':>10}{'apart':>10}   share: median, worst")
    with quota() if a.setting == "quota" else contextlib.nullcontext():
        for count in a.hogs:
            with hogs(count):
                for kind, rounds in kinds:
                    for case, row in measure(kind, threads, programs, processors, rounds).items():
                        results.append(dict(kind=kind.name, setting=a.setting, hogs=count, case=case, **row))
                        print(f"{kind.name:<9}{count:>5}  {case:<28}{statistics.median(row['rates']):>10,.0f}{min(row['rates']):>10,.0f}"
                              f"{statistics.median(row['apart']):>10,.0f}   {statistics.median(row['shares']):.2f}, {min(row['shares']):.2f}",
                              flush=True)
    os.makedirs(a.out, exist_ok=True)
    path = os.path.join(a.out, "busy.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    os.replace(path + ".new", path)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
