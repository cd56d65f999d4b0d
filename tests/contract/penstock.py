# SPDX-License-Identifier: Apache-2.0
"""Drives the built program for the contract tests: runs it under mpiexec, makes its inputs, reads what it wrote.

CTest gives the environment PENSTOCK (the program) and MPIEXEC; a test can be run by hand in the same way, with
PENSTOCK_TEST_DEPTH=all for those that `scripts/test --all` adds:
    PENSTOCK=build/cpu/penstock python3 tests/contract/errors_test.py -v ErrorsTest.test_unknown_key
"""
import csv
import functools
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from collections import namedtuple
from pathlib import Path

import h5py
import numpy

SOURCE = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("PENSTOCK", SOURCE / "build/cpu/penstock")).resolve()
PLAIN = Path(os.environ.get("PENSTOCK_PLAIN", SOURCE / "build/cpu/penstock")).resolve()
PROGRAMS = {str(PROGRAM), str(PLAIN)}
MPIEXEC = os.environ.get("MPIEXEC", "mpiexec")
TINY = SOURCE / "input/tiny.toml"
DEEP = os.environ.get("PENSTOCK_TEST_DEPTH", "") == "all"

# In the environment of all that one command starts.
MARK = "PENSTOCK_TEST_START"

# Threads that wait do not spin: ranks outnumber the cores of a small machine.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
DROPOUT = {f"model.dropout_{place}": 0.1 for place in ("embedding", "residual", "attention")}
# A model small enough that a step takes a few milliseconds; 4 blocks and 4 heads allow 4 stages and tensor 4.
SMALL = {"run": {"steps": 20, "seed": 3}, "data": {"sequence": 16},
         "model": {"layers": 4, "width": 32, "heads": 4, "vocabulary": 256, "positions": 16},
         "batch": {"global": 8, "micro": 1}, "optimizer": {"learning_rate": 1e-3, "warmup": 4}}


class Mesh(namedtuple("Mesh", "data pipeline tensor")):
    """Sizes of the mesh's axes."""

    @property
    def ranks(self):
        return self.data * self.pipeline * self.tensor

    @property
    def settings(self):
        return {f"mesh.{axis}": size for axis, size in self._asdict().items()}

    def __str__(self):
        return f"{self.data}x{self.pipeline}x{self.tensor}"


ONE = Mesh(1, 1, 1)
# Issue: "meshes data x pipeline x tensor = ..."
MESHES = [ONE, Mesh(2, 1, 1), Mesh(1, 2, 1), Mesh(1, 1, 2), Mesh(2, 2, 2), Mesh(1, 4, 2), Mesh(1, 2, 4), Mesh(4, 2, 1),
          Mesh(1, 8, 1)]

Result = namedtuple("Result", "code out err seconds seconds_to_leave")


def toml(value):
    """A value as TOML writes it; json's spelling is TOML's for text, numbers, booleans and flat lists."""
    return json.dumps(value)


def deck_text(sections):
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {toml(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def text_of(words, seed):
    """Text of that many made-up words: capital letters, digits and blanks only, so that every byte is below 91."""
    source = random.Random(seed)
    lexicon = ["".join(source.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(source.randint(2, 7)))
               for _ in range(60)]
    return "".join(source.choice(lexicon) + (" " if source.random() < 0.9 else "\n") for _ in range(words))


@functools.cache
def tokens_of_text(tokens, seed):
    """Text of so many bytes, and the token file that the program makes of it."""
    text = text_of(tokens // 2, seed)[:tokens]
    with tempfile.TemporaryDirectory(prefix="penstock-tokens-") as folder:
        source, made = Path(folder) / "text", Path(folder) / "tokens"
        source.write_text(text)
        run = subprocess.run([PROGRAM, "tokenize", "-o", made, source], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return text, made.read_bytes()


def write_tokens(path, tokens, seed=1):
    """A token file of so many bytes of text, which lies next to it, made by the program itself."""
    text, content = tokens_of_text(tokens, seed)
    Path(str(path) + ".txt").write_text(text)
    Path(path).write_bytes(content)
    return path


def token_header(tokens, largest, vocabulary=256, bytes_per_token=1):
    """The 64 bytes at the beginning of a token file (src/data/token_file_header.hpp)."""
    head = b"\x89PSTOK\r\n" + struct.pack("<IIQQQ16x", 1, bytes_per_token, vocabulary, tokens, largest)
    checksum = 0xCBF29CE484222325
    for byte in head:
        checksum = (checksum ^ byte) * 0x100000001B3 % 2**64
    return head + struct.pack("<Q", checksum)


def living_ranks():
    """Ranks (not their starters) that have not ended: {process id: command line}."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:  # it has ended meanwhile
            continue
        if state not in "ZX" and words[0] in PROGRAMS:
            found[int(entry.name)] = words
    return found


def processes_naming(text):
    """Ranks whose command line names `text`: {process id: command line}."""
    return {process: words for process, words in living_ranks().items() if any(text in word for word in words)}


def has_ranks(mark):
    """Whether ranks of the command are left that was started with this mark; launchers hand their environment on."""
    def carries(process):
        try:
            return f"{MARK}={mark}".encode() in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            return False
    return any(map(carries, living_ranks()))


def rows(run):
    """metrics.csv: one dictionary of texts a step."""
    with open(Path(run) / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def curve(run):
    """Step, tokens, loss, norm and learning rate as the texts of metrics.csv: equal bits are equal texts."""
    return [tuple(row[c] for c in ("step", "tokens", "loss", "gradient_norm", "learning_rate")) for row in rows(run)]


def checkpoint(run, step):
    return Path(run) / f"checkpoints/step-{step:08d}.h5"


def capture(run, step):
    return Path(run) / f"captures/step-{step:08d}.h5"


def files_below(folder):
    """Every path, files with size and time of change: what a run that writes nothing leaves as it is. A folder's own time
    does not count: the guard of a run folder that is restarted from stands in it while its checkpoints are read."""
    found = {}
    for path in Path(folder).rglob("*"):
        if not path.name.startswith("log-"):  # the test's own
            status = path.stat()
            found[path] = (status.st_size, status.st_mtime_ns) if path.is_file() else ()
    return found


def datasets(path):
    """Every dataset of an HDF5 file: {path inside the file: values}."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[...]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def without_key_rows(name, values):
    """The bias of the keys has a gradient that is zero in exact arithmetic; AdamW makes steps of its rounding."""
    if not name.endswith("attention.qkv.bias"):
        return values
    width = values.shape[0] // 3
    return numpy.concatenate([values[:width], values[2 * width:]])


def relative_norm(a, b):
    scale = max(numpy.linalg.norm(a), numpy.linalg.norm(b))
    return float(numpy.linalg.norm(a.astype(numpy.float64) - b) / scale) if scale > 0 else 0.0


class ContractTest(unittest.TestCase):
    """A test in a folder of its own, which is removed when it passed.

    The upper-case attributes are what a class needs of CTest; list_tests.py reads them, and these are the defaults.
    """

    LABELS = ()           # besides the folder's name
    CORES = 1             # that it keeps busy; 0.5 where it mostly waits
    TIMEOUT = 300         # seconds; classes with a longer one are started earlier
    PROGRAM = "penstock"  # the target whose program is tested
    GPU = False           # True: preset cuda registers it, and no other preset
    DEPTH = ""            # "all": only under scripts/test --all

    @classmethod
    def setUpClass(cls):
        if cls.DEPTH == "all" and not DEEP:
            raise unittest.SkipTest("PENSTOCK_TEST_DEPTH=all (scripts/test --all) runs this")

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-contract-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.end_ranks)
        self.tokens = write_tokens(self.folder / "train.tok", 20000)

    def end_ranks(self):
        for process in processes_naming(str(self.folder)):
            os.kill(process, signal.SIGKILL)

    def shared_run(self, name, **options):
        """A copy of a run that several tests of the class begin with: it is trained once, with the class's own tokens."""
        cls = type(self)
        if "shared" not in vars(cls):
            cls.shared = Path(tempfile.mkdtemp(prefix="penstock-contract-"))
            cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        self.tokens = self.shared / "train.tok"
        if not self.tokens.exists():
            write_tokens(self.tokens, 20000)
        if not (self.shared / name).exists():
            self.train(run=self.shared / name, **options)
        return Path(shutil.copytree(self.shared / name, self.folder / name))

    def small_deck(self, **sections):
        """A deck file of the small model; keyword arguments add to its sections."""
        merged = {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {**SMALL, **sections}}
        path, text = self.folder / "small.toml", deck_text(merged)
        if not path.exists() or path.read_text() != text:  # a run may be reading it
            path.write_text(text)
        return path

    def command(self, deck=TINY, mesh=ONE, settings=None, run=None, restart=None, ranks=None, tokens=None):
        words = [MPIEXEC, "-n", str(ranks or mesh.ranks), str(PROGRAM), "train", str(deck)]
        chosen = {**mesh.settings, "data.train": str(tokens or self.tokens), "device.threads": 1, **(settings or {})}
        for key, value in chosen.items():
            words += ["--set", f"{key}={toml(value)}"]
        if run is not None:
            words += ["--run", str(run)]
        if restart is not None:
            words += ["--restart", str(restart)]
        return words

    def start(self, words, environment=None, **options):
        """Starts a command with its output in files; `finish` waits for it."""
        log = tempfile.NamedTemporaryFile(dir=self.folder, prefix="log-", delete=False)  # closed with the process
        out = open(log.name + ".out", "wb")
        process = subprocess.Popen(words, stdout=out, stderr=log, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **ENVIRONMENT, MARK: log.name, **(environment or {})}, **options)
        process.log, process.out_path, process.began = Path(log.name), Path(out.name), time.monotonic()
        log.close()
        out.close()
        return process

    def finish(self, process, seconds=240):
        """Waits until the command and all its ranks are gone."""
        first_word = None
        while time.monotonic() - process.began < seconds:
            if first_word is None and process.log.stat().st_size > 0:
                first_word = time.monotonic()
            if process.poll() is not None and not has_ranks(process.log):
                break
            time.sleep(0.01)
        else:
            process.kill()
            process.wait()
            self.end_ranks()
            self.fail(f"not done after {seconds} s:\n{process.log.read_text(errors='replace')}")
        end = time.monotonic()
        return Result(process.returncode, process.out_path.read_text(errors="replace"),
                      process.log.read_text(errors="replace"), end - process.began, end - (first_word or end))

    def train(self, expect=0, **options):
        """Trains and checks the exit code; the result."""
        return self.end_well(self.start(self.command(**options), cwd=self.folder), expect)

    def train_all(self, runs, at_once=2):
        """Trains with each of these options (an iterable of dictionaries), `at_once` runs at a time; the results."""
        under_way, results = [], []
        for options in runs:
            if len(under_way) == at_once:
                results.append(self.end_well(*under_way.pop(0)))
            options = dict(options)
            expect = options.pop("expect", 0)
            under_way.append((self.start(self.command(**options), cwd=self.folder), expect))
        return results + [self.end_well(process, expect) for process, expect in under_way]

    def end_well(self, process, expect=0):
        """Waits for the command and checks its exit code; the result."""
        result = self.finish(process)
        self.assertEqual(result.code, expect, f"{process.args}\n{result.err}")
        return result

    def penstock(self, *words, expect=0):
        """Runs a subcommand that needs no ranks."""
        result = self.finish(self.start([str(PROGRAM), *map(str, words)], cwd=self.folder))
        self.assertEqual(result.code, expect, result.err + result.out)
        return result

    def assert_same_curve(self, a, b, loss=1e-5, norm=1e-4):
        """The metrics of two runs agree to relative `loss` and `norm`. Returns the largest differences."""
        a, b = rows(a), rows(b)
        self.assertEqual([(r["step"], r["tokens"]) for r in a], [(r["step"], r["tokens"]) for r in b])
        worst = {}
        for column, bound in (("loss", loss), ("gradient_norm", norm)):
            pairs = [(float(x[column]), float(y[column])) for x, y in zip(a, b)]
            worst[column] = max(abs(x - y) / abs(x) for x, y in pairs)
            self.assertLessEqual(worst[column], bound, f"{column}: {pairs}")
        return worst

    def assert_same_bits(self, a, b):
        """Every dataset of two HDF5 files has the same name, shape, type and bits."""
        a, b = datasets(a), datasets(b)
        self.assertEqual(sorted(a), sorted(b))
        different = [name for name in a if a[name].dtype != b[name].dtype or a[name].tobytes() != b[name].tobytes()]
        self.assertEqual(different, [])

    def assert_close_datasets(self, a, b, bound):
        """Every dataset agrees to that relative norm, the key rows of qkv.bias and their moments left out."""
        a, b = datasets(a), datasets(b)
        self.assertEqual(sorted(a), sorted(b))
        distances = {n: relative_norm(without_key_rows(n, a[n]), without_key_rows(n, b[n])) for n in a}
        far = {name: distance for name, distance in distances.items() if distance > bound}
        self.assertEqual(far, {})


def main():
    unittest.main(verbosity=2)
