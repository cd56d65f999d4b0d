# SPDX-License-Identifier: Apache-2.0
"""How scripts/test_gpu runs things: on which machine, with what environment, within what time, and with nothing left."""

import concurrent.futures
import contextlib
import importlib.util
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple, Optional

MARK = "PENSTOCK_TEST_GPU_RUN"  # in the environment of all that is started here, so that it is found again
LONGEST_IN_LOG = 60000  # characters of what one command prints
ASK_VERSIONS = """
import ctypes, json
def version(name, function, *, through_pointer):
    try:
        call = getattr(ctypes.CDLL(name), function)
        if not through_pointer:
            call.restype = ctypes.c_size_t
            return call()
        number = ctypes.c_int()
        call(ctypes.byref(number))
        return number.value
    except (OSError, AttributeError):
        return None
print(json.dumps({
    "driver's CUDA": version("libcuda.so.1", "cuDriverGetVersion", through_pointer=True),
    "runtime": version("libcudart.so.13", "cudaRuntimeGetVersion", through_pointer=True)
               or version("libcudart.so.12", "cudaRuntimeGetVersion", through_pointer=True),
    "cuBLASLt": version("libcublasLt.so.13", "cublasLtGetVersion", through_pointer=False)
                or version("libcublasLt.so.12", "cublasLtGetVersion", through_pointer=False),
    "cuDNN": version("libcudnn.so.9", "cudnnGetVersion", through_pointer=False),
    "NCCL": version("libnccl.so.2", "ncclGetVersion", through_pointer=True),
}))
"""


# Not Exceptions: code that catches every failure of a part must let these through.
class TimeUp(BaseException):
    """What ran had all its time."""


class Stopped(BaseException):
    """A signal asks to come to the end."""


class Outcome(NamedTuple):
    code: Optional[int]  # None: it was ended, because its time was up
    text: str
    seconds: float


class Clock:
    """What is left of the minutes that all may take."""

    def __init__(self, minutes):
        self.begin, self.total = time.monotonic(), 60 * minutes

    def spent(self):
        return time.monotonic() - self.begin

    def left(self):
        return self.total - self.spent()


class Log:
    """A line on stderr as things happen, and a file with all of it where one is asked for. Threads share it."""

    def __init__(self, path, clock):
        self.file, self.clock, self.lock = open(path, "w") if path else None, clock, threading.Lock()

    def tell(self, message):
        with self.lock:
            print(f"({self.clock.spent():.0f} s) {message}", file=sys.stderr, flush=True)
            self._write(f"({self.clock.spent():.1f} s) {message}\n")

    def command(self, name, words, outcome):
        text = outcome.text
        if len(text) > LONGEST_IN_LOG:
            text = f"[...]\n{text[-LONGEST_IN_LOG:]}"
        end = "ended: its time was up" if outcome.code is None else f"exit code {outcome.code}"
        with self.lock:
            words = [str(word) if "\n" not in str(word) else "(code)" for word in words]
            self._write(f"\n===== {name}: {' '.join(words)}\n{text.rstrip()}\n"
                        f"===== {end}, {outcome.seconds:.1f} s\n")  # fmt: skip

    def _write(self, text):
        if self.file:
            self.file.write(text)
            self.file.flush()


@contextlib.contextmanager
def within(seconds):
    """TimeUp in the main thread when so many are over; again every few seconds, so that no clean-up can hang. One may stand
    in another."""
    def ring(*_):
        raise TimeUp

    if seconds <= 0:
        raise TimeUp
    begin, before = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    try:
        yield
    finally:
        left = max(0.01, outer - (time.monotonic() - begin)) if outer else 0
        signal.setitimer(signal.ITIMER_REAL, left, 5 if left else 0)
        signal.signal(signal.SIGALRM, before)


def marked(mark):
    """Processes that were started with this mark: ranks are in sessions of their own."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "environ").read_bytes().split(b"\0")
            if any(word == wanted or word.startswith(wanted + b"/") for word in words):
                yield int(entry.name)


def end_marked(mark, patience=5):
    """Ends them, and waits until they are gone: a GPU's memory is free and a folder is still from then on."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        found = list(marked(mark))
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.05)


class Runner:
    """Starts commands with the marked environment and waits for them."""

    def __init__(self, environment, log):
        self.mark, self.log, self.counter, self.lock = f"{os.getpid()}-{time.time_ns()}", log, 0, threading.Lock()
        self.environment = {**environment, MARK: self.mark}

    def run(self, name, words, seconds, environment=None):
        """Runs a command under a time limit. The outcome holds both output streams together."""
        with self.lock:
            self.counter += 1
            mark = f"{self.mark}/{self.counter}"
        begin = time.monotonic()
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=subprocess.STDOUT, start_new_session=True,
                                           env={**self.environment, **(environment or {}), MARK: mark})  # fmt: skip
                code = self._wait(process, max(0.1, seconds), mark)
                output.seek(0)
                text = output.read().decode(errors="replace")
            except OSError as error:
                code, text = 127, f"{words[0]}: {error.strerror}\n"
        outcome = Outcome(code, text, time.monotonic() - begin)
        self.log.command(name, words, outcome)
        return outcome

    @staticmethod
    def _wait(process, seconds, mark):
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:  # also after a signal
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                end_marked(mark)
                process.wait()

    def end_all(self):
        end_marked(self.mark)


class Unit(NamedTuple):
    """Something that may run next to others: `run` gets the seconds that it has and the GPUs that it sees."""

    name: str
    run: object
    seconds: float
    needs_all_gpus: bool = False


def run_units(units, gpus, jobs_of_a_gpu, clock, until, done, end_all):
    """Runs all units, so many at once on each GPU; `done` gets each unit with what its `run` returned, or with None where
    it was not begun before `until` (seconds of the clock). After a signal `end_all` ends those that run."""
    places = queue.Queue()
    for _ in range(jobs_of_a_gpu):
        for gpu in gpus:
            places.put(gpu)

    def run(unit):
        place = places.get()
        try:
            seconds = until - clock.spent()
            if seconds < 1:
                return None
            return unit.run(min(seconds, unit.seconds), ",".join(gpus) if unit.needs_all_gpus else place)
        finally:
            places.put(place)

    with concurrent.futures.ThreadPoolExecutor(max(1, len(gpus) * jobs_of_a_gpu)) as pool:
        futures = {pool.submit(run, unit): unit for unit in units}
        try:
            for future in concurrent.futures.as_completed(futures):
                done(futures[future], future.result())
        except BaseException:
            for future in futures:
                future.cancel()
            end_all()
            raise


def python_folders():
    """Libraries of NVIDIA's Python packages, of this Python and of the one on the PATH."""
    ask = ("import importlib.util as u; spec = u.find_spec('nvidia'); "
           "print(*(spec.submodule_search_locations if spec else ()), sep='\\n')")  # fmt: skip
    roots = []
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec("nvidia")
        roots += list(spec.submodule_search_locations or ()) if spec else []
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        roots += subprocess.run(["python3", "-c", ask], capture_output=True, text=True, timeout=30).stdout.splitlines()
    return [folder for root in dict.fromkeys(roots) for folder in sorted(Path(root).glob("*/lib"))]


def toolkit_folders():
    nvcc = shutil.which("nvcc")
    named = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), nvcc and Path(nvcc).resolve().parent.parent)
    homes = [Path(home) for home in (*named, "/usr/local/cuda") if home]
    return [home / name for home in homes for name in ("lib64", "targets/x86_64-linux/lib", "lib")]


def folders_with(names):
    """Folders that hold CUDA's libraries of these names, the toolkit's first, and the names that no folder has."""
    candidates = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    candidates += [*toolkit_folders(), *python_folders()]
    cached = ""
    for ldconfig in ("ldconfig", "/sbin/ldconfig"):
        with contextlib.suppress(OSError):
            cached = cached or subprocess.run([ldconfig, "-p"], capture_output=True, text=True).stdout
    chosen, missing = [], []
    for name in names:
        holder = next((folder for folder in candidates if (folder / name).exists()), None)
        if holder:
            chosen.append(str(holder))
        elif not re.search(rf"^\s*{re.escape(name)} ", cached, re.M):
            missing.append(name)
    return list(dict.fromkeys(chosen)), missing


def libraries_of_the_machine(runner, folders):
    """{library: version}, of those in the loader's folders that answer."""
    outcome = runner.run("versions", [sys.executable, "-c", ASK_VERSIONS], 60, {"LD_LIBRARY_PATH": ":".join(folders)})
    try:
        return {name: version_text(name, number) for name, number in json.loads(outcome.text).items() if number}
    except ValueError:
        return {}


def version_text(name, number):
    if name in ("driver's CUDA", "runtime"):
        return f"{number // 1000}.{number % 1000 // 10}"
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"
