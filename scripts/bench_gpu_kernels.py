"""Kernel by kernel: what ncu measured of a program, cut to one training step and grouped by readable names."""

import csv
import re
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


def kernels_text(launches, step_seconds):
    """Of one step: launches, time and share by kernel, most first, as Markdown; small ones together."""
    groups, kinds = {}, {}
    for launch in launches:
        for sums, key in ((groups, launch.name), (kinds, kind_of(launch.name))):
            count, seconds = sums.get(key, (0, 0.0))
            sums[key] = (count + 1, seconds + launch.seconds)
    sum_seconds = sum(launch.seconds for launch in launches)
    small = {name: group for name, group in groups.items() if group[1] < 1e-3 * sum_seconds}
    rows = {name: group for name, group in groups.items() if name not in small}
    lines = ["| kernel | launches a step | ms | of the step |", "|---|---|---|---|"]

    def add(name, count, seconds):
        lines.append(f"| {name} | {count} | {seconds * 1e3:.3f} | {seconds / step_seconds:.1%} |")

    for name, (count, seconds) in sorted(rows.items(), key=lambda row: -row[1][1]):
        add(f"`{name}`", count, seconds)
    if small:
        add(f"{len(small)} kernels below 0.1 % each", *map(sum, zip(*small.values())))
    for kind in sorted(kinds):
        add(f"sum: {kind}", *kinds[kind])
    add("sum: all", len(launches), sum_seconds)
    lines.append(f"| no kernel runs: the step's {step_seconds * 1e3:.2f} ms less the sum | "
                 f"| {(step_seconds - sum_seconds) * 1e3:.3f} | {1 - sum_seconds / step_seconds:.1%} |")  # fmt: skip
    return "\n".join(lines)
