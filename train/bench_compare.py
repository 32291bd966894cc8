#!/usr/bin/env python3
"""Runs `retnet bench` beside a PyTorch script of the same network, in turns, and prints how many times as fast ours is.

    bench_compare.py --program build/release/retnet --out build/bench --rounds 3
    bench_compare.py --program .. --torch-python venv/bin/python --torch-script other.py --only training

Needs nothing but Python; the PyTorch that --torch-python has is run as a program of its own. Without PyTorch, only ours
is measured. The script prints one line of JSON with tokens_per_s and rss_peak_mib, and takes the flags that
bench_torch.py takes. What was measured is written to OUT/compare.json.
"""
import argparse
import ctypes
import glob
import json
import os
import statistics
import subprocess
import sys

# The OpenBLAS with OpenMP, where Debian has it: its PyTorch is quicker with that than with the default one.
OPENBLAS = "/usr/lib/*/openblas-openmp"


def core_to_name(core, flags):
    """Which core to tell OpenBLAS that it runs on, or None where it found out itself. A processor newer than its tables is
    the oldest one to it, a Prescott, and is given no AVX.

    core: what OpenBLAS says it is; flags: what the processor can do."""
    if core != "Prescott":
        return None
    return "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else None


def openblas_core():
    """core_to_name() for this machine and the OpenBLAS of OPENBLAS."""
    libraries = glob.glob(OPENBLAS + "/libblas.so.3")
    if not libraries or "OPENBLAS_CORETYPE" in os.environ:
        return None
    name = ctypes.CDLL(libraries[0]).openblas_get_corename
    name.restype = ctypes.c_char_p
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    return core_to_name(name().decode(), flags)


def cases(only, presets, quick):
    """(section, name, arguments of ours, case of ours, list of arguments of PyTorch): of the last the best counts."""
    for preset in ("tiny",) if quick else presets:
        forms = [["--form", "parallel"], ["--form", "chunkwise"]]
        if "training" in only:
            steps = ["--mode", "train", "--steps", "3" if quick else "8", "--warmup", "2"]
            yield ("training", preset, ["--form", "chunkwise"], f"{preset}, chunkwise",
                   [[*steps, *form, "--score-norm"] for form in forms])
        if "decode" in only:
            for batch in (1, 16):
                yield ("decode", f"{preset}, batch {batch}", [], f"{preset}, batch {batch}, f32 weights",
                       [["--mode", "decode", "--steps", "50" if quick else "300", "--batch", str(batch)]])
        if "forward" in only:
            for n in (1024,) if quick else (1024, 4096, 16384):
                length = ["--mode", "forward", "--batch", "1", "--seq", str(n), "--steps", "3", "--warmup", "1"]
                ours = ["--form", "chunkwise", "--length", str(n)]
                # The parallel form's N x N matrices: only while they are small.
                theirs = [[*length, "--form", "chunkwise", "--chunk", "128"]]
                if n <= 4096:
                    theirs.append([*length, "--form", "parallel", "--score-norm"])
                yield "forward", f"{preset}, N {n}", ours, f"{preset}, chunkwise, N {n}", theirs


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"bench_compare: {' '.join(command)} ended with {done.returncode}:\n{done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Torch:
    """A Python that may have PyTorch, and the script to run in it."""

    def __init__(self, python, script, threads):
        self.command, self.threads = [python, script], threads
        folders = glob.glob(OPENBLAS) + [os.environ.get("LD_LIBRARY_PATH", "")]
        self.environment = dict(os.environ, LD_LIBRARY_PATH=":".join(filter(None, folders)))
        self.core = openblas_core()
        if self.core:
            self.environment["OPENBLAS_CORETYPE"] = self.core
        try:
            probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, errors="replace",
                                   env=self.environment, check=False)
            self.version = probe.stdout.strip() if probe.returncode == 0 else ""
        except OSError:
            self.version = ""

    def run(self, preset, arguments):
        return run([*self.command, "--config", preset, "--threads", str(self.threads), *arguments], self.environment)[-1]


def ours(program, threads, section, preset, arguments, name, quick):
    """The line of a case; the peak measured just before it comes with it."""
    command = [program, "bench", "--json", "--threads", str(threads), "--only", section, "--preset", preset, *arguments]
    for line in run(command + (["--quick"] if quick else [])):
        if line["case"] == name:
            return line
    sys.exit(f"bench_compare: {' '.join(command)} printed no case {name}")


def memory(program, threads, preset):
    command = [program, "bench", "--json", "--threads", str(threads), "--only", "memory", "--preset", preset, "--form",
               "chunkwise", "--length", "1"]
    return next(line["value"] for line in run(command) if line["case"] == f"{preset}, chunkwise, training, process")


def compare(a, torch):
    results = []
    for section, name, flags, case, variants in cases(a.only, a.preset, a.quick):
        preset = name.split(",")[0]
        mine, theirs = [], [[] for _ in variants]
        for _ in range(a.rounds):
            mine.append(ours(a.program, a.threads, section, preset, flags, case, a.quick))
            for measured, arguments in zip(theirs, variants):
                if torch.version:
                    measured.append(torch.run(preset, arguments))
        result = dict(section=section, case=name, unit="tokens/s", ours=statistics.median(m["value"] for m in mine))
        if torch.version:
            medians = [statistics.median(m["tokens_per_s"] for m in measured) for measured in theirs]
            result.update(torch=max(medians), torch_form=theirs[medians.index(max(medians))][0]["form"],
                          ratio=result["ours"] / max(medians))
        report(result, results)
        if section == "training" and not a.quick:
            result = dict(section="memory", case=f"{preset}, training", unit="MiB", ours=memory(a.program, a.threads, preset))
            if torch.version:
                least = min((m for measured in theirs for m in measured), key=lambda m: m["rss_peak_mib"])
                result.update(torch=least["rss_peak_mib"], torch_form=least["form"], torch_import=least.get("rss_import_mib"),
                              ratio=result["ours"] / least["rss_peak_mib"])
            report(result, results)
    return results


def report(result, results):
    results.append(result)
    row = f"{result['section']:<10}{result['case']:<22}{result['ours']:>12,.1f} {result['unit']}"
    if "torch" in result:
        row = f"{row:<56}{result['torch']:>12,.1f} {result['torch_form']:<11}{result['ratio']:>8.2f}"
    print(row, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/retnet", help="ours")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--torch-script", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_torch.py"))
    parser.add_argument("--only", nargs="+", choices=("training", "decode", "forward"), default=("training", "decode", "forward"))
    parser.add_argument("--preset", nargs="+", choices=("tiny", "small"), default=("tiny", "small"))
    parser.add_argument("--out", default="build/bench", help="folder to write to")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns; their median counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="one round of few steps of preset tiny")
    a = parser.parse_args()
    sys.stdout.reconfigure(errors="surrogateescape")  # names of files are any bytes
    if a.quick:
        a.rounds = 1
    torch = Torch(a.torch_python, a.torch_script, a.threads)
    if torch.version:
        told = f", OpenBLAS told that this is a {torch.core}" if torch.core else ""
        print(f"ours beside PyTorch {torch.version} ({a.torch_script}), {a.threads} threads{told}\n")
        print(f"{'':<32}{'ours':>12}{'':<12}{'PyTorch':>12} {'form':<11}{'ratio':>8}")
    else:
        print(f"{a.torch_python} has no PyTorch, so ours is measured alone (PYTHON=.. names another Python)\n")
    results = compare(a, torch)
    os.makedirs(a.out, exist_ok=True)
    path = os.path.join(a.out, "compare.json")
    temporary = f"{path}.tmp.{os.getpid()}"  # so that the old file stays until the new one is whole
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(dict(torch=torch.version, script=os.path.basename(a.torch_script), threads=a.threads, rounds=a.rounds,
                       results=results), file, indent=1)
    os.replace(temporary, path)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
