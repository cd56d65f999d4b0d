# SPDX-License-Identifier: Apache-2.0
"""scripts/bench_cpu and scripts/bench_cpu_kernels with made-up programs: what they set, compute, refuse, pack and print."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
sys.dont_write_bytecode = True

import bench_cpu_program as programs  # noqa: E402

# Trains as fast as its folder's `seconds` says, and notes what it was started with.
PENSTOCK = """#!{python}
import csv, json, os, pathlib, re, sys
here = pathlib.Path(__file__).parent
with open(here / "notes", "a") as file:
    print(json.dumps([sys.argv[1:], {{n: os.environ.get(n) for n in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "LANES")}}]), file=file)
if sys.argv[1] == "train":
    steps = int(re.search(r"steps = (\\d+)", pathlib.Path(sys.argv[2]).read_text()).group(1))
    run = pathlib.Path(sys.argv[4])
    run.mkdir()
    with open(run / "metrics.csv", "w") as file:
        print("step,seconds", file=file)
        for step in range(steps):
            print(step, 100 if step < 3 else (here / "seconds").read_text().strip(), sep=",", file=file)
"""
# Every product takes 2 ms at 1 GFLOP/s, but those of the head take 4 ms at 5.
BENCH = """#!{python}
import json, os, re, sys
pattern = next(word.split("=", 1)[1] for word in sys.argv if word.startswith("--benchmark_filter="))
entries = []
for product in ("qkv", "output", "up", "down", "head"):
    for direction in ("forward", "input_gradient", "weight_gradient"):
        name = f"product/{{product}}/{{direction}}/L4_C256/float32"
        if re.search(pattern, name):
            head = product == "head"
            entries.append({{"name": name + "/real_time", "real_time": 4.0 if head else 2.0, "flops": 5e9 if head else 1e9}})
print(json.dumps({{"benchmarks": entries}}) if entries else "")
"""
# Stands for a Python with PyTorch: three times as slow as 0.1 s.
PYTHON = """#!{python}
import json, os, sys
if sys.argv[1] == "-c":
    sys.exit(0)
print(json.dumps({{"version": "2.0", "way": "eager, float32", "left_out": {{}},
      "capability": "AVX2" if os.environ.get("ATEN_CPU_CAPABILITY") == {obeys!r} else "AVX512"}}), flush=True)
for line in sys.stdin:
    print(json.dumps([0.3] * int(line)), flush=True)
"""


def made(path, text, **words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(python=sys.executable, **words))
    path.chmod(0o755)
    return path


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def build(self, name, seconds, architecture="x86-64-v3", bench=True):
        build = self.folder / name
        made(build / "penstock", PENSTOCK)
        if bench:
            made(build / "tests/benchmarks/bench.ops", BENCH)
        (build / "seconds").write_text(str(seconds))
        if architecture:
            (build / "CMakeCache.txt").write_text(f"PENSTOCK_ARCHITECTURE:STRING={architecture}\n")
        return build

    def bench_cpu(self, *words, script=SCRIPTS / "bench_cpu"):
        more = [] if any("--pack" in str(word) for word in words) else ["--only", "pytorch", "--json", self.folder / "out.json"]
        command = [sys.executable, "-B", script, "--model", "L4", "--type", "float32", "--threads", "1", "--rounds", "2", "--steps",
                   "2", *more, *words]  # fmt: skip
        return subprocess.run([*map(str, command)], capture_output=True, text=True)

    def result(self):
        return json.loads((self.folder / "out.json").read_text())

    def notes(self, build):
        return [json.loads(line) for line in (build / "notes").read_text().splitlines()]


class BenchCpu(Folder):
    def test_ratios_and_share(self):
        build, before = self.build("now", 0.1), self.build("older", 0.2)
        python = made(self.folder / "python", PYTHON, obeys="avx2")
        end = self.bench_cpu("--build", build, "--before", before / "penstock", "--python", python)
        self.assertEqual(end.returncode, 0, end.stderr)
        (row,) = self.result()["training"]
        self.assertEqual(row["tokens_per_second"], {"penstock": 20480, "before": 10240, "pytorch": 2048 / 0.3})
        self.assertAlmostEqual(row["ratio"]["pytorch"], 3)
        self.assertAlmostEqual(row["ratio"]["before"], 2)
        # 4 layers of 4 products in 3 directions of 2 ms at 1 GFLOP/s, and 3 of the head of 4 ms at 5 GFLOP/s.
        rate = (48 * 2e-3 * 1e9 + 3 * 4e-3 * 5e9) / (48 * 2e-3 + 3 * 4e-3)
        self.assertAlmostEqual(row["product_rate"], rate, delta=1)
        flops = 6 * (12 * 4 * 256**2 + 256 * 256) + 6 * 4 * 256 * 256
        self.assertAlmostEqual(row["share"], 20480 * flops / rate)
        self.assertIn("2.00", end.stdout)
        self.assertIn("3.00", end.stdout)
        self.assertTrue(all(setting is None for _, settings in self.notes(build) for setting in settings.values()))

    def test_avx2_holds_both_programs(self):
        build = self.build("now", 0.1)
        python = made(self.folder / "python", PYTHON, obeys="avx2")
        end = self.bench_cpu("--build", build, "--python", python, "--avx2", "--environment", "LANES=8")
        self.assertEqual(end.returncode, 0, end.stderr)
        self.assertIn("held to AVX2", end.stdout)
        self.assertEqual(self.result()["about"]["held_to"], "AVX2")
        self.assertEqual(self.result()["training"][0]["pytorch"]["capability"], "AVX2")
        for _, settings in self.notes(build):
            self.assertEqual(settings, {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": None, "LANES": "8"})

    def test_avx2_refuses_what_may_use_more(self):
        python = made(self.folder / "python", PYTHON, obeys="avx2")
        for architecture in ("x86-64-v4", "sapphirerapids", "skylake-avx512", "znver4"):
            end = self.bench_cpu("--build", self.build(architecture, 0.1, architecture), "--python", python, "--avx2")
            self.assertEqual(end.returncode, 1)
            self.assertIn(f"compiled for {architecture}", end.stderr)
            self.assertIn("-DPENSTOCK_ARCHITECTURE=x86-64-v3", end.stderr)

    def test_avx2_refuses_a_pytorch_that_does_not_obey(self):
        python = made(self.folder / "python", PYTHON, obeys="never")
        end = self.bench_cpu("--build", self.build("now", 0.1), "--python", python, "--avx2")
        self.assertEqual(end.returncode, 1)
        self.assertIn("computes with AVX512", end.stderr)

    def test_without_bench_ops_there_is_no_share(self):
        end = self.bench_cpu("--build", self.build("now", 0.1, bench=False), "--no-pytorch")
        self.assertEqual(end.returncode, 0, end.stderr)
        self.assertNotIn("share", self.result()["training"][0])

    def test_a_program_that_is_not_there(self):
        end = self.bench_cpu("--program", self.folder / "nothing", "--no-pytorch")
        self.assertEqual(end.returncode, 1)
        self.assertIn("is not there", end.stderr)

    def test_cores(self):
        self.assertEqual(programs.cores_of("0-1,4"), {0, 1, 4})
        for wrong in ("", "a", "1,", "1-b"):
            with self.assertRaises(SystemExit) as end:
                programs.cores_of(wrong)
            self.assertIn(f"--cores {wrong}: ", str(end.exception))


@unittest.skipUnless(shutil.which("strip") and shutil.which("mpiexec"), "needs strip and MPICH")
class Packing(Folder):
    def test_an_unpacked_pack_measures(self):
        for name in ("one", "two"):
            build = self.build(name, 0.1, architecture=f"x86-64-{name}")
            shutil.copy("/bin/true", build / "penstock")
            shutil.copy("/bin/true", build / "tests/benchmarks/bench.ops")
        pack = self.folder / "pack.tgz"
        end = self.bench_cpu("--build", self.folder / "one", "--more", f"second={self.folder / 'two'}", "--pack", pack)
        self.assertEqual(end.returncode, 0, end.stderr)
        with tarfile.open(pack) as archive:
            archive.extractall(self.folder)
        there = self.folder / programs.FOLDER
        builds = json.loads((there / programs.MANIFEST).read_text())["builds"]
        self.assertEqual({name: build["flags"] for name, build in builds.items()},
                         {"one": {"PENSTOCK_ARCHITECTURE": "x86-64-one"}, "second": {"PENSTOCK_ARCHITECTURE": "x86-64-two"}})  # fmt: skip
        self.assertTrue(os.access(there / "bin/mpiexec", os.X_OK))
        self.assertTrue(any("libmpi" in path.name or "libhwloc" in path.name for path in (there / "lib").iterdir()))
        for name in builds:  # /bin/true trains nothing
            made(there / "build" / name / "penstock", PENSTOCK)
            made(there / "build" / name / "tests/benchmarks/bench.ops", BENCH)
            (there / "build" / name / "seconds").write_text("0.1" if name == "one" else "0.4")
        end = self.bench_cpu("--build", there / "build/one", "--before", there / "build/second", "--no-pytorch",
                             script=there / "scripts/bench_cpu")  # fmt: skip
        self.assertEqual(end.returncode, 0, end.stderr)
        self.assertIn("compiled for x86-64-two", end.stdout)
        self.assertAlmostEqual(self.result()["training"][0]["ratio"]["before"], 4)


class Kernels(Folder):
    def column(self, name, attention):
        best = {f"product/{product}/{direction}/L6_C384/float32": {"ms": 10.0, "rate": 100e9}
                for product in (*programs.PRODUCTS, "head") for direction in programs.PASSES}  # fmt: skip
        best["attention/forward/L6_C384/float32"] = {"ms": 1.0, "rate": attention}
        best["linear/up_gelu/forward/L6_C384/float32"] = {"ms": 11.5, "rate": 87e9}
        best["gelu/L6_C384/float32"] = {"ms": 1.0, "rate": 5e9}
        best["copy/MiB_each_way/2"] = {"ms": 1.0, "rate": 20e9}
        best["copy/MiB_each_way/6"] = {"ms": 1.0, "rate": 10e9}
        return {"name": name, "commit": "c0ffee", "compiled_for": "x86-64-v3", "settings": {"LANES": "8"}, "best": best}

    def test_the_table(self):
        paths = []
        for name, attention in (("before", 10e9), ("after", 60e9)):
            run = {"date": "today", "cpu": "a CPU", "threads": 2, "rounds": 3, "loads": [0.0, 1.0], "columns":
                   [self.column(name, attention)]}  # fmt: skip
            paths.append(self.folder / f"{name}.json")
            paths[-1].write_text(json.dumps(run))
        end = subprocess.run([sys.executable, "-B", SCRIPTS / "bench_cpu_kernels", "--show", *paths], capture_output=True, text=True)
        self.assertEqual(end.returncode, 0, end.stderr)
        lines = end.stdout.splitlines()
        self.assertIn("- before: commit c0ffee, compiled for x86-64-v3, LANES=8", lines)
        self.assertIn("| L6 C384, float32 | in | before | after |", lines)
        self.assertIn("| products of the model | GFLOP/s | 100 | 100 |", lines)
        self.assertIn("| attention, forward | GFLOP/s | 10 (10 %) | 60 (60 %) |", lines)
        self.assertIn("| GELU in it | % of its product | 15 % | 15 % |", lines)
        self.assertIn("| GELU by itself | GB/s | 5 (50 %) | 5 (50 %) |", lines)  # of the copy that moves as many bytes
        self.assertNotIn("L4 C256", end.stdout)

    def test_columns_have_settings_of_their_own(self):
        build = self.folder / "build"
        made(build / "penstock", PENSTOCK)
        made(build / "bench.ops", """#!{python}
import json, os
print(json.dumps({{"benchmarks": [{{"name": "attention/forward/L4_C256/float32/real_time", "real_time": 2.0, "shortest_ms": 1.0,
                                 "flops": 1e9 * int(os.environ["LANES"])}}]}}))
""")  # fmt: skip
        out = self.folder / "out.json"
        end = subprocess.run([sys.executable, "-B", SCRIPTS / "bench_cpu_kernels", "--run", f"narrow={build},LANES=8", "--run",
                              f"wide={build},LANES=16", "--model", "L4", "--type", "float32", "--rounds", "1", "--json", out],
                             capture_output=True, text=True)  # fmt: skip
        self.assertEqual(end.returncode, 0, end.stderr)
        rates = [column["best"]["attention/forward/L4_C256/float32"]["rate"] for column in json.loads(out.read_text())["columns"]]
        self.assertEqual(rates, [16e9, 32e9])  # of the shortest call


if __name__ == "__main__":
    unittest.main()
