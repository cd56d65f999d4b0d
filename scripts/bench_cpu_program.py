# SPDX-License-Identifier: Apache-2.0
"""The programs that scripts/bench_cpu and scripts/bench_cpu_kernels measure, how they are held to AVX2, and how they are
packed for a machine that compiles nothing and has none of their libraries.

A pack is an archive with one folder, laid out as the source tree: build/NAME/penstock and build/NAME/tests/benchmarks/bench.ops
of each build, bin and lib (MPICH's starter, and the libraries that a machine need not have), scripts, and src, whose text is
what the benchmark trains on.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import test_gpu_pack as packing

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = "manifest.json"
FOLDER = "penstock-cpu"
# A CPU with AVX-512 does what one without it does when programs are compiled for, and their libraries told, AVX2.
PENSTOCK_HELD_TO_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "PENSTOCK_LANES": "8"}
PYTORCH_HELD_TO_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
WITHOUT_AVX512 = re.compile(r"x86-64(-v[23])?|haswell|broadwell|skylake|core-avx2|znver[123]|alderlake")


def flags_of_cpu():
    """What the kernel says this CPU has; empty where it does not say."""
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        return set()
    return set(found.group(1).split()) if found else set()


def name_of_cpu():
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found.group(1) if found else "unknown"


def manifest():
    """Of the pack that this script was unpacked from; None in a source tree."""
    path = ROOT / MANIFEST
    return json.loads(path.read_text()) if path.exists() else None


def settings_of(words):
    """{name: value} of words such as NAME=VALUE."""
    wrong = [word for word in words if "=" not in word or word.startswith("=")]
    if wrong:
        sys.exit(f"{wrong[0]}: a setting of the environment is NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


def cores_of(text):
    """{0, 1, 4} of "0-1,4"."""
    cores = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            sys.exit(f"--cores {text}: a list of cores is such as 0-1 or 0,2")
        cores.update(range(int(first), int(last or first) + 1))
    return cores


class Program:
    """One build of Penstock, named by its folder or by its program, and the settings that it runs with."""

    def __init__(self, place, settings):
        place = Path(place).resolve()
        self.penstock = place if place.is_file() else place / "penstock"
        self.folder = self.penstock.parent
        self.bench = next((path for path in (self.folder / "tests/benchmarks/bench.ops", self.folder / "bench.ops")
                           if path.exists()), None)  # fmt: skip
        self.settings = settings
        if not self.penstock.exists():
            sys.exit(f"{self.penstock} is not there; build it (cmake --preset cpu && cmake --build --preset cpu), or name "
                     "another with --program")  # fmt: skip

    def environment(self, **more):
        libraries = [str(ROOT / "lib")] if manifest() else []
        before = os.environ.get("LD_LIBRARY_PATH")
        found = {"LD_LIBRARY_PATH": ":".join(libraries + ([before] if before else []))} if libraries else {}
        return {**os.environ, **found, **self.settings, **more}

    def about(self):
        """{"commit": ..., "flags": {...}} as CMake's cache or the pack's manifest says; flags are empty where nothing does."""
        if (self.folder / "CMakeCache.txt").exists():
            source = packing.cache_of(self.folder).get("CMAKE_HOME_DIRECTORY", ROOT)
            return {**packing.about(self.folder), "commit": packing.commit(source)}
        packed = (manifest() or {}).get("builds", {}).get(self.folder.name)
        return packed or {"commit": "unknown", "flags": {}}

    def architecture(self):
        """What -march it was compiled with; None where nothing says."""
        return self.about()["flags"].get("PENSTOCK_ARCHITECTURE")

    def commit(self):
        """Of the source tree as it is now."""
        return self.about()["commit"]

    def check_is_without_avx512(self):
        """Ends the script where the program may use what --avx2 forbids; what it was compiled for, in words."""
        architecture = self.architecture()
        if architecture is None:
            return "compiled for what nobody says (there is no CMakeCache.txt next to it)"
        native_without = architecture == "native" and "avx512f" not in flags_of_cpu()
        if not native_without and not WITHOUT_AVX512.fullmatch(architecture):
            sys.exit(f"--avx2: {self.penstock} was compiled for {architecture}, and may use AVX-512 here; build another with "
                     "-DPENSTOCK_ARCHITECTURE=x86-64-v3 and name it with --program")  # fmt: skip
        return f"compiled for {architecture}"

    def benchmarks(self, pattern, threads, seconds):
        """{name: entry} of bench.ops' JSON, the names without the library's endings."""
        if self.bench is None:
            return {}
        command = [self.bench, f"--benchmark_filter={pattern}", "--benchmark_format=json", f"--benchmark_min_time={seconds}"]
        output = subprocess.run(command, capture_output=True, text=True, env=self.environment(OMP_NUM_THREADS=str(threads)))
        if output.returncode != 0:
            sys.exit(f"{self.bench} ended with exit code {output.returncode}:\n{output.stderr}")
        if not output.stdout.strip():
            return {}  # no benchmark has such a name
        return {entry["name"].removesuffix("/real_time"): entry for entry in json.loads(output.stdout)["benchmarks"]}

    def mpiexec(self):
        return ROOT / "bin/mpiexec" if manifest() else "mpiexec"


PRODUCTS = ("qkv", "output", "up", "down")  # of every layer; besides: head
PASSES = ("forward", "input_gradient", "weight_gradient")


def rate_of_products(found, model, layers, kind):
    """FLOP/s of all products of a step, as bench.ops timed each by itself; None where it has not. `model`: such as L6_C384."""
    flops = seconds = 0.0
    for product in (*PRODUCTS, "head"):
        for direction in PASSES:
            entry = found.get(f"product/{product}/{direction}/{model}/{kind}")
            if entry is None:
                return None
            times = 1 if product == "head" else layers
            seconds += times * entry["real_time"] * 1e-3  # milliseconds
            flops += times * entry["real_time"] * 1e-3 * entry["flops"]
    return flops / seconds


class Pack:
    """Collects builds, libraries and scripts in a folder, and makes the archive of it."""

    def __init__(self, builds, folder):
        self.builds, self.folder = builds, folder  # {name: Program}

    def collect(self):
        programs, about = [], {}
        for name, build in self.builds.items():
            for path in filter(None, (build.penstock, build.bench)):
                packing.strip_to(path, self.folder / "build" / name / path.relative_to(build.folder))
                programs.append(path)
            about[name] = build.about()
        first = next(iter(self.builds.values())).folder
        cache = packing.cache_of(first) if (first / "CMakeCache.txt").exists() else {}
        starter = packing.starter_of_mpi({"MPIEXEC_EXECUTABLE": shutil.which("mpiexec") or "mpiexec", **cache})
        for name, path in starter.items():
            self._copy(path, f"bin/{name}")
        self._take_libraries([*programs, *starter.values()])
        for pattern in ("scripts/bench_cpu*", "scripts/pytorch_gpt2.py", "scripts/test_gpu_pack.py", "src/**/*.[ch]pp"):
            for path in sorted(ROOT.glob(pattern)):
                self._copy(path, path.relative_to(ROOT))
        made = time.strftime("%Y-%m-%d %H:%M:%S %z")
        (self.folder / MANIFEST).write_text(json.dumps({"made": made, "builds": about}, indent=1) + "\n")

    def _take_libraries(self, programs):
        libraries, _ = packing.libraries_to_take(programs, [])
        modules = packing.modules_of_ucx(libraries)
        libraries, _ = packing.libraries_to_take(programs, modules)
        for name, path in libraries.items():
            self._copy(path, f"lib/{name}")
        for module in modules:
            name = re.sub(r"(\.so\.\d+)[.\d]*$", r"\1", module.name)
            self._copy(module, f"lib/ucx/{name}")

    def _copy(self, path, name):
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def make_pack(builds, path):
    """The archive of {name: Program} under that name, which ends with .tar.xz, .tar.gz or .tgz; its size in bytes."""
    kind = {".xz": "w:xz", ".gz": "w:gz", ".tgz": "w:gz"}.get(path.suffix)
    if kind is None:
        sys.exit(f"--pack {path}: the name of a pack ends with .tgz, .tar.gz or .tar.xz")
    with tempfile.TemporaryDirectory(prefix="penstock-pack-") as folder:
        try:
            Pack(builds, Path(folder)).collect()
        except packing.Refused as error:
            sys.exit(str(error))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, kind, **({"preset": 2} if kind == "w:xz" else {})) as archive:
            archive.add(folder, FOLDER)
    return path.stat().st_size
