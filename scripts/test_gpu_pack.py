# SPDX-License-Identifier: Apache-2.0
"""What scripts/test_gpu runs, where it finds it, and how it is packed for a machine that compiles nothing.

A pack is an archive with one folder, laid out as the source tree, so that a script finds in it what it finds there:
    manifest.json          commit, flags, versions, and CTest's tests: command, environment, how their end is judged
    build/cuda, build/cpu  the programs (stripped)
    bin, lib               MPICH's starter, and the libraries that a machine need not have
    scripts, tests, input  the Python files and decks
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 40 << 20
FOLDER = "penstock-gpu"
MANIFEST = "manifest.json"
# The C library and the compiler's are every machine's own, and must not be older than the program that they serve.
OF_THE_SYSTEM = re.compile(r"(ld-linux\S*|lib(c|m|pthread|rt|dl|resolv|util|stdc\+\+|gcc_s|gomp))\.so(\.|$)")
OF_CUDA = re.compile(r"lib(cuda|cudart|cublas|cublasLt|cudnn\w*|nccl|nvrtc[\w-]*|nvJitLink|cupti)\.so(\.|$)")
FLAGS = ("CMAKE_BUILD_TYPE", "CMAKE_CUDA_ARCHITECTURES", "PENSTOCK_ARCHITECTURE", "CMAKE_CXX_FLAGS",
         "CMAKE_CXX_FLAGS_RELEASE", "CMAKE_CUDA_FLAGS", "CMAKE_CUDA_FLAGS_RELEASE", "PENSTOCK_CUDNN")  # fmt: skip
UNDERSTOOD = {"ENVIRONMENT", "LABELS", "TIMEOUT", "PASS_REGULAR_EXPRESSION", "FAIL_REGULAR_EXPRESSION",
              "SKIP_REGULAR_EXPRESSION", "SKIP_RETURN_CODE", "WILL_FAIL"}  # fmt: skip
OF_NO_CONCERN = {"WORKING_DIRECTORY", "PROCESSORS", "COST", "RUN_SERIAL", "RESOURCE_LOCK"}  # tests name whole paths


class Refused(Exception):
    """What is asked for cannot be done: why, and the cure."""


class Program(NamedTuple):
    """A test of CTest's that is no script: words and environment with {build}, {source} and {mpiexec} in them."""

    name: str
    command: list
    environment: list
    rules: dict  # the CTest properties that judge its end


def said_by(words, **options):
    """What a command prints; Refused where it fails."""
    try:
        end = subprocess.run(words, capture_output=True, text=True, **options)
    except OSError as error:
        raise Refused(f"{words[0]}: {error.strerror}") from error
    if end.returncode != 0:
        raise Refused(f"{' '.join(map(str, words))} ended with exit code {end.returncode}:\n{end.stdout}{end.stderr}")
    return end.stdout


def cache_of(build):
    """CMake's cache: {name: value}."""
    path = build / "CMakeCache.txt"
    if not path.exists():
        raise Refused(f"{build} is no build folder; build it: cmake --preset cuda && cmake --build --preset cuda")
    return {name: value for name, value in re.findall(r"^([\w.-]+):\w+=(.*)$", path.read_text(), re.M)}


def has_planted_faults(build):
    return cache_of(build).get("PENSTOCK_FAULTS", "OFF").upper() not in ("OFF", "0", "NO", "N", "FALSE", "")


class Places:
    """Whole paths for {build}, {source} and {mpiexec}, and the other way round."""

    def __init__(self, build, source, mpiexec):
        self.paths = {"{build}": str(build), "{source}": str(source), "{mpiexec}": str(mpiexec)}

    def named(self, text):
        for name, path in sorted(self.paths.items(), key=lambda item: -len(item[1])):
            if path:
                text = text.replace(path, name)
        return text

    def filled(self, text):
        for name, path in self.paths.items():
            text = text.replace(name, path)
        return text


def places_of(build):
    cache = cache_of(build)
    return Places(build, cache.get("CMAKE_HOME_DIRECTORY", str(ROOT)), cache.get("MPIEXEC_EXECUTABLE", "mpiexec"))


def programs_of(build):
    """CTest's tests that start programs of the build; those that Python drives are found otherwise."""
    listed = json.loads(said_by(["ctest", "--test-dir", build, "--show-only=json-v1"]))
    places, found = places_of(build), []
    for test in listed["tests"]:
        properties = {item["name"]: item["value"] for item in test.get("properties", ())}
        if "contract" in properties.get("LABELS", ()):
            continue
        if "command" not in test:
            raise Refused(f"{test['name']} is not built; build all of {build}: cmake --build {build}")
        if Path(test["command"][0]).name.startswith("python"):
            continue
        unknown = set(properties) - UNDERSTOOD - OF_NO_CONCERN
        if unknown:
            raise Refused(f"{test['name']} has the property {', '.join(sorted(unknown))}, which scripts/test_gpu does not "
                          "know: teach test_gpu_pack.py what it means")  # fmt: skip
        rules = {name: value for name, value in properties.items() if name in UNDERSTOOD - {"ENVIRONMENT", "LABELS"}}
        found.append(Program(test["name"], [places.named(word) for word in test["command"]],
                             [places.named(word) for word in properties.get("ENVIRONMENT", ()) if word], rules))  # fmt: skip
    return found


def files_in(texts):
    """Files of the build that words and environments name, below it."""
    return sorted({name for text in texts for name in re.findall(r"\{build\}/([^:;,= ]+)", text)})


def versions_of(build):
    """Of what the program was made with, as CMake found it."""
    found = {}
    for path in sorted(build.glob("CMakeFiles/*/CMake*Compiler.cmake")):
        text = path.read_text()
        for language in ("CXX", "CUDA"):
            version = re.search(rf'set\(CMAKE_{language}_COMPILER_VERSION "([^"]+)"\)', text)
            if version:
                found[language] = version.group(1)
    return found


def commit(source=ROOT):
    """Of a source tree; "-changed" where it has changes that no commit holds."""
    try:
        head = said_by(["git", "-C", source, "rev-parse", "--short=12", "HEAD"]).strip()
        return head + ("-changed" if said_by(["git", "-C", source, "status", "--porcelain", "-uno"]).strip() else "")
    except Refused:
        return "unknown"


def about(build):
    cache = cache_of(build)
    return {"commit": commit(), "flags": {name: cache[name] for name in FLAGS if cache.get(name)},
            "versions": versions_of(build), "host": " ".join(os.uname()[::2])}  # fmt: skip


def needed_libraries(program):
    """What the loader finds for a program: {name: path, or None where it finds none}."""
    found = {}
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    for name, path in re.findall(r"^\s*(\S+) => (not found|/\S+)", listed.stdout, re.M):
        found[name] = None if path == "not found" else Path(path)
    return found


def libraries_to_take(programs, modules):
    """(paths by name to pack, names of CUDA's that the other machine must have)."""
    taken, of_cuda = {}, set()
    for program in programs:
        for name, path in needed_libraries(program).items():
            if OF_CUDA.match(name):
                of_cuda.add(name)
            elif not OF_THE_SYSTEM.match(name):
                if path is None:
                    raise Refused(f"{program} needs {name}, which is not on this machine")
                taken[name] = path
    for module in modules:  # what one of them lacks, it lacks here, too, and its library does without it
        needed = needed_libraries(module)
        if None not in needed.values():
            taken.update({n: p for n, p in needed.items() if not OF_CUDA.match(n) and not OF_THE_SYSTEM.match(n)})
    return taken, sorted(of_cuda)


def modules_of_ucx(libraries):
    """UCX opens what lies in a folder next to its library."""
    folder = libraries["libucs.so.0"].parent / "ucx" if "libucs.so.0" in libraries else None
    return sorted(folder.glob("*.so.*")) if folder and folder.is_dir() else []


def strip_to(program, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    end = subprocess.run(["strip", "-o", path, program], capture_output=True, text=True)
    if end.returncode != 0:
        raise Refused(f"strip {program}: {end.stderr.strip()}")
    path.chmod(0o755)


def starter_of_mpi(cache):
    """mpiexec and what it starts on each node, which has to lie next to it."""
    mpiexec = Path(cache.get("MPIEXEC_EXECUTABLE", "mpiexec"))
    hydra = Path(os.path.realpath(mpiexec))
    proxy = hydra.parent / "hydra_pmi_proxy"
    if not proxy.exists():
        raise Refused(f"{mpiexec} is not MPICH's Hydra (there is no {proxy}): only that can be packed")
    return {"mpiexec": hydra, "hydra_pmi_proxy": proxy}


class Pack:
    """Collects the pack's files in a folder and makes the archive of it."""

    def __init__(self, build, cpu, folder):
        self.build, self.cpu, self.folder = build, cpu, folder

    def collect(self):
        build = self.folder / "build/cuda"
        tests = programs_of(self.build)
        texts = [text for test in tests for text in (*test.command, *test.environment)]
        names = {name for name in files_in(texts) if (self.build / name).is_file()} | {"penstock"}
        names |= {str(path.relative_to(self.build)) for path in self.build.rglob("bench.memory") if path.is_file()}
        programs = [self.build / name for name in sorted(names)]
        for program in programs:
            strip_to(program, build / program.relative_to(self.build))
        if self.cpu:
            strip_to(self.cpu, self.folder / "build/cpu/penstock")
            programs.append(self.cpu)
        starter = starter_of_mpi(cache_of(self.build))
        for name, path in starter.items():
            self._copy(path, f"bin/{name}")
        of_cuda = self._take_libraries([*programs, *starter.values()])
        for pattern in ("scripts/test_gpu*", "scripts/bench_gpu*", "tests/contract/*.py", "input/*.toml"):
            for path in sorted(ROOT.glob(pattern)):
                self._copy(path, path.relative_to(ROOT))
        manifest = {"about": about(self.build), "made": time.strftime("%Y-%m-%d %H:%M:%S %z"), "of_cuda": of_cuda,
                    "tests": [test._asdict() for test in tests]}  # fmt: skip
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")

    def _take_libraries(self, programs):
        libraries, of_cuda = libraries_to_take(programs, [])
        modules = modules_of_ucx(libraries)
        libraries, of_cuda = libraries_to_take(programs, modules)
        for name, path in libraries.items():
            self._copy(path, f"lib/{name}")
        for module in modules:
            name = re.sub(r"(\.so\.\d+)[.\d]*$", r"\1", module.name)  # libuct_ib.so.0, which UCX asks for
            self._copy(module, f"lib/ucx/{name}")
        return of_cuda

    def _copy(self, path, name):
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    def largest(self, count=6):
        sizes = sorted(((path.stat().st_size, str(path.relative_to(self.folder))) for path in self.folder.rglob("*")
                        if path.is_file()), reverse=True)  # fmt: skip
        return ", ".join(f"{name} {size / 2**20:.1f}" for size, name in sizes[:count])

    def archive(self, path, limit):
        """The archive under that name; Refused where it is too large."""
        kind = {".xz": "w:xz", ".gz": "w:gz", ".tgz": "w:gz"}.get(path.suffix)
        if kind is None:
            raise Refused(f"-o {path}: the name of a pack ends with .tgz, .tar.gz or .tar.xz")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with tarfile.open(part, kind) as archive:
            archive.add(self.folder, FOLDER)
        size = part.stat().st_size
        if size > limit:
            part.unlink()
            raise Refused(f"{path} would have {size / 2**20:.1f} MiB, and a pack has at most {limit / 2**20:.0f}; the "
                          f"largest parts in MiB before they are compressed: {self.largest()}; compile for one architecture "
                          "(-DCMAKE_CUDA_ARCHITECTURES=90), leave out the CPU program (--cpu none), or name the pack "
                          ".tar.xz, which compresses better")  # fmt: skip
        part.rename(path)
        return size


def make_pack(build, cpu, path, limit=LARGEST):
    """Packs the build, and the program of the CPU build where `cpu` names one. What the pack's size is."""
    with tempfile.TemporaryDirectory(prefix="penstock-pack-") as folder:
        pack = Pack(build.resolve(), cpu, Path(folder))
        pack.collect()
        return pack.archive(path, limit)


def read_manifest(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["tests"] = [Program(**test) for test in manifest["tests"]]
    return manifest
