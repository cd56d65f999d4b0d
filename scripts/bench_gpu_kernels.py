# SPDX-License-Identifier: Apache-2.0
"""Kernel by kernel: what CUPTI or ncu saw of a program, cut to training steps and grouped by readable names."""

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

UNITS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1.0, "second": 1.0}
METRIC = "gpu__time_duration.sum"
NAMELESS = {"Kernel", "Kernel2", "kernel", "device_kernel"}  # CUTLASS: what the kernel is stands in its template's argument
KINDS = (  # the first that matches
    ("attention", re.compile("sdpa|fmha|flash|attention|attend|mha", re.IGNORECASE)),
    ("products", re.compile("nvjet|gemm|cutlass|xmma|cublas|splitK", re.IGNORECASE)),
)


class Launch(NamedTuple):
    name: str
    seconds: float
    idle_seconds: float = 0.0  # of the GPU, just before it


class Span(NamedTuple):
    """Of the GPU's time, in nanoseconds."""

    begin: int
    end: int
    kind: str
    name: str

    def launch(self):
        return Launch(self.name, (self.end - self.begin) * 1e-9)


class Steps(NamedTuple):
    """`count` whole steps: their launches, and the share of their time in which nothing ran on the GPU."""

    launches: list
    count: int
    seconds: float  # all together
    idle_seconds: float
    between_seconds: float = 0.0  # of these, from a step's last kernel to the next one's first


def cupti_folders():
    """The folders of cupti.h and libcupti, near nvcc or below CUDA_HOME; None if they are missing."""
    nvcc = shutil.which("nvcc")
    roots = [os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parent.parent, "/usr/local/cuda"]
    places = [Path(root) / part for root in roots if root for part in ("", "extras/CUPTI", "targets/x86_64-linux")]
    header = next((place / "include" for place in places if (place / "include/cupti.h").exists()), None)
    libraries = (place / lib for place in places for lib in ("lib64", "lib") if any((place / lib).glob("libcupti.so*")))
    library = next(libraries, None)
    return (header, library) if header and library else None


def build_tracer(source, target):
    """The library that CUDA loads into a program to write its timeline."""
    header, library = cupti_folders()
    of_cuda = header.parents[2] / "include"  # where CUPTI has a folder of its own, below extras/
    includes = [f"-I{folder}" for folder in (header, of_cuda) if folder == header or (folder / "cuda.h").exists()]
    name = min(library.glob("libcupti.so*"))
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", *includes, str(source), "-o", str(target), str(name),
               f"-Wl,-rpath,{library}"]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True)


def read_timeline(text):
    """Spans in the order of their beginnings; a last line that was cut off is passed."""
    whole = text.rpartition("\n")[0].splitlines()
    spans = [Span(int(begin), int(end), kind, short_name(name) if kind == "kernel" else name)
             for begin, end, kind, name in (line.split("\t", 3) for line in whole)]  # fmt: skip
    return sorted(spans)


def launches_of(spans):
    """In their order, each with the time before it in which nothing ran."""
    launches, until = [], spans[0].begin
    for span in spans:
        launches.append(Launch(span.name, (span.end - span.begin) * 1e-9, max(0, span.begin - until) * 1e-9))
        until = max(until, span.end)
    return launches


def busy_nanoseconds(spans, begin, end):
    """Of [begin, end): how long at least one of the spans, which are in order, ran."""
    busy, until = 0, begin
    for span in spans:
        first, last = max(span.begin, until), min(span.end, end)
        if last > first:
            busy, until = busy + last - first, last
    return busy


def idle_nanoseconds(spans, begin, end):
    return max(0, end - begin - busy_nanoseconds(spans, begin, end))


def steps_of(spans, most=5):
    """The last whole steps of a timeline, as many as repeat and at most so many; None where nothing repeats."""
    kernels = [span for span in spans if span.kind == "kernel"]
    step = last_step([span.launch() for span in kernels])
    if step is None:
        return None
    length, names = len(step), [span.name for span in kernels]
    pattern = names[-length:]
    count = 1
    while count < most and names[-(count + 2) * length : -(count + 1) * length] == pattern:
        count += 1
    begin, end = kernels[-(count + 1) * length].begin, kernels[-length].begin
    launches = launches_of([span for span in spans if begin <= span.begin < end])
    firsts = [len(kernels) - steps * length for steps in range(1, count + 1)]
    between = sum(idle_nanoseconds(spans, kernels[first - 1].end, kernels[first].begin) for first in firsts)
    return Steps(launches, count, (end - begin) * 1e-9, idle_nanoseconds(spans, begin, end) * 1e-9, between * 1e-9)


def ncu_command(log, program):
    """A launch of a graph counts as its kernels; clocks and caches stay as the program finds them."""
    return ["ncu", "--metrics", METRIC, "--clock-control", "none", "--cache-control", "none", "--graph-profiling", "node",
            "--target-processes", "application-only", "--print-units", "base", "--print-kernel-base", "demangled", "--csv",
            "--log-file", str(log), *map(str, program)]  # fmt: skip


def short_name(demangled):
    """The function alone: no return type, namespaces, template arguments and parameters."""
    text = demangled.replace("(anonymous namespace)::", "").replace("<unnamed>::", "")
    text = re.sub(r"^(void|static) ", "", text)
    function = re.match(r"[\w:~]*", text).group() or text
    name = function.rpartition("::")[2]
    if name in NAMELESS:
        argument = re.search(r"<\s*([\w:]+)", text)
        name = argument.group(1).rpartition("::")[2] if argument else name
    return name[:72]


def read_launches(text):
    """All launches that ncu wrote as CSV, in their order. Other lines (==PROF== and what the program printed) are passed."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    begin = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if begin is None:
        return []
    rows = csv.DictReader(lines[begin:])
    return [
        Launch(short_name(row["Kernel Name"]), float(row["Metric Value"].replace(",", "")) * UNITS[row["Metric Unit"]])
        for row in rows
        if row["Metric Name"] == METRIC
    ]


def last_step(launches):
    """The launches of one step: the shortest stretch that stands twice at the end and holds every kernel of the later half
    of the run (a block repeats, too, but without head and optimizer). None where nothing repeats so."""
    names = [launch.name for launch in launches]
    wanted = set(names[len(names) // 2 :])
    for length in range(1, len(names) // 2 + 1):
        if names[-length:] == names[-2 * length : -length] and set(names[-length:]) == wanted:
            return launches[-length:]
    return None


def kind_of(name):
    return next((kind for kind, pattern in KINDS if pattern.search(name)), "all others")


def kernels_text(steps):
    """A step's launches, time and share by kernel, most first, as Markdown; small ones together."""
    groups, kinds = {}, {}
    for launch in steps.launches:
        for sums, key in ((groups, launch.name), (kinds, kind_of(launch.name))):
            count, seconds, idle = sums.get(key, (0, 0.0, 0.0))
            sums[key] = (count + 1, seconds + launch.seconds, idle + launch.idle_seconds)
    sum_seconds = sum(launch.seconds for launch in steps.launches)
    small = {name: group for name, group in groups.items() if group[1] < 1e-3 * sum_seconds}
    rows = {name: group for name, group in groups.items() if name not in small}
    lines = ["| kernel | launches a step | ms | of the step | nothing before it, ms |", "|---|---|---|---|---|"]

    def add(name, launches, seconds, idle=0.0):
        count = f"{launches / steps.count:g}" if launches else ""
        before = f"{idle / steps.count * 1e3:.3f}" if idle else ""
        lines.append(f"| {name} | {count} | {seconds / steps.count * 1e3:.3f} | {seconds / steps.seconds:.1%} | {before} |")

    for name, group in sorted(rows.items(), key=lambda row: -row[1][1]):
        add(f"`{name}`", *group)
    if small:
        add(f"{len(small)} kernels below 0.1 % each", *map(sum, zip(*small.values())))
    for kind in sorted(kinds):
        add(f"sum: {kind}", *kinds[kind])
    add("sum: all", len(steps.launches), sum_seconds)
    add("nothing runs", 0, steps.idle_seconds)
    add("of which between two steps", 0, steps.between_seconds)
    return "\n".join(lines)
