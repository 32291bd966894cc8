#!/usr/bin/env python3
"""The scripts around `retnet bench`: the comparison with PyTorch (here one that is only pretended), the roofline, the busy machine, and,
where PyTorch is installed, that the network written in it computes the same in all its forms.

usage: bench_scripts_test.py SOURCE_FOLDER PROGRAM
"""
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

FAKE_SCRIPT = """import json, sys
flag = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert flag["--threads"] == "1" and flag["--mode"] == "decode" and flag["--config"] == "tiny", sys.argv
print(json.dumps(dict(tokens_per_s=10.0 * int(flag["--batch"]), rss_peak_mib=700.0, form="recurrent")))
"""


def run(*command, environment=None, code=0):
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def compare(source, program, folder):
    for name, text in (("torch.py", "__version__ = '0.0'\n"), ("fake.py", FAKE_SCRIPT)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    arguments = [sys.executable, os.path.join(source, "train/bench_compare.py"), "--program", program, "--only", "decode",
                 "--quick", "--threads", "1", "--out", folder, "--torch-script", os.path.join(folder, "fake.py")]
    printed = run(*arguments, environment=dict(os.environ, PYTHONPATH=folder))
    assert "PyTorch 0.0" in printed, printed
    with open(os.path.join(folder, "compare.json"), encoding="utf-8") as file:
        results = json.load(file)["results"]
    assert [r["case"] for r in results] == ["tiny, batch 1", "tiny, batch 16"], results
    for result, torch in zip(results, (10, 160)):
        assert result["torch"] == torch and abs(result["ratio"] - result["ours"] / torch) < 1e-9, result
    # Without PyTorch only ours is measured.
    printed = run(*arguments, "--torch-python", os.path.join(folder, "no-python"))
    assert "no PyTorch" in printed and "tiny, batch 16" in printed, printed


def core(source):
    sys.dont_write_bytecode = True  # nothing is written to the source folder
    sys.path.insert(0, os.path.join(source, "train"))
    import bench_compare  # pylint: disable=import-error,import-outside-toplevel

    assert bench_compare.core_to_name("Prescott", ["sse2", "avx2", "avx512f"]) == "SkylakeX"
    assert bench_compare.core_to_name("Prescott", ["sse2", "avx2"]) == "Haswell"
    assert bench_compare.core_to_name("Prescott", ["sse2"]) is None
    assert bench_compare.core_to_name("Haswell", ["avx2", "avx512f"]) is None
    bench_compare.openblas_core = lambda: "Haswell"
    assert bench_compare.Torch(sys.executable, "script.py", 1).environment["OPENBLAS_CORETYPE"] == "Haswell"


def roofline(source, program, folder):
    lines, figure = os.path.join(folder, "speed.jsonl"), os.path.join(folder, "roofline.svg")
    script = os.path.join(source, "train/bench_roofline.py")
    run(program, "bench", "--only", "matmul", "--only", "decode", "--quick", "--threads", "1", "--save", lines)
    run(sys.executable, script, lines, figure)
    circles = xml.etree.ElementTree.parse(figure).getroot().findall(".//{http://www.w3.org/2000/svg}circle")
    classes = [circle.get("class") for circle in circles]
    assert classes.count("matmul") > 15 and classes.count("decode") > 5, classes
    for circle in circles:
        assert 0 < float(circle.get("cx")) < 760 and 0 < float(circle.get("cy")) < 480
    with open(lines, "w", encoding="utf-8") as file:
        file.write('{"what":"matmul"}\n')
    assert "no machine" in run(sys.executable, script, lines, figure, code=1)
    assert not [name for name in os.listdir(folder) if ".tmp." in name], os.listdir(folder)


def busy(source, program, folder):
    """One round of a moment: every case beside no other program and beside one, and what is printed is what is written."""
    arguments = ["--program", program, "--quick", "--hogs", "0", "1", "--torch-python", os.path.join(folder, "no-python"), "--out", folder]
    printed = run(sys.executable, os.path.join(source, "train/bench_busy.py"), *arguments)
    with open(os.path.join(folder, "busy.json"), encoding="utf-8") as file:
        results = json.load(file)
    cases = [f"tiny, {case}" for case in ("training, batch 16", "training, batch 2", "decoding, batch 1", "decoding, batch 4", "decoding, batch 16")]
    assert [(r["hogs"], r["case"]) for r in results] == [(hogs, case) for hogs in (0, 1) for case in cases], results
    for result in results:
        assert result["rates"][0] > 0 and result["shares"][0] == result["rates"][0] / result["apart"][0], result
        assert f"{result['case']:<28}{result['rates'][0]:>10,.0f}" in printed, (result, printed)


def network(source):
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode != 0:
        return print("without PyTorch, its network is not tested")
    print(run(sys.executable, os.path.join(source, "train/bench_torch.py"), "--selftest"))


def main():
    source, program = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        core(source)
        compare(source, program, folder)
        roofline(source, program, folder)
        busy(source, program, folder)
    network(source)


if __name__ == "__main__":
    main()
