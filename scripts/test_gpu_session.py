# SPDX-License-Identifier: Apache-2.0
"""One run of scripts/test_gpu: the table so far, the time that is left, and how an outcome becomes a row."""

import importlib.machinery
import importlib.util
import os
import re
import sys
import time
import traceback
from pathlib import Path

import test_gpu_pack as packing
import test_gpu_table as tables
from test_gpu_run import Runner, TimeUp, run_units, within
from test_gpu_table import FAILED, LEFT_OUT, PASSED, SKIPPED, Row

ROOT = Path(__file__).resolve().parent.parent
FOR_THE_END = 10  # seconds of the budget in which nothing begins any more; of a small one a tenth
# Seconds that are kept for what comes after the tests, and the most that one such part may take.
KEPT_FOR_SPEEDS, KEPT_FOR_TWO, LONGEST_PART = 80, 75, 100
TAIL = 2500  # characters of what failed that are printed


def load_bench_gpu():
    """scripts/bench_gpu, whose name has no ending."""
    loader = importlib.machinery.SourceFileLoader("bench_gpu", str(ROOT / "scripts/bench_gpu"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_gpu", loader))
    sys.modules["bench_gpu"] = module
    loader.exec_module(module)
    return module


bench_gpu = load_bench_gpu()


def tail(text):
    return text[-TAIL:].strip()


def matches(patterns, text):
    return any(re.search(pattern, text) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def judge(rules, outcome):
    """What CTest would say: passed, failed or skipped."""
    if outcome.code is None:
        return FAILED
    if outcome.code == rules.get("SKIP_RETURN_CODE", "none"):
        return SKIPPED
    if matches(rules.get("SKIP_REGULAR_EXPRESSION", ()), outcome.text):
        return SKIPPED
    if "PASS_REGULAR_EXPRESSION" in rules:
        good = matches(rules["PASS_REGULAR_EXPRESSION"], outcome.text)
    else:
        good = outcome.code == 0
    good = good and not matches(rules.get("FAIL_REGULAR_EXPRESSION", ()), outcome.text)
    return PASSED if good != bool(rules.get("WILL_FAIL")) else FAILED


def why_of(outcome):
    end = f"ended after {outcome.seconds:.0f} s" if outcome.code is None else f"exit code {outcome.code}"
    return f"{end}:\n{tail(outcome.text)}"


def for_the_end(clock):
    return min(FOR_THE_END, clock.total / 10)


class Session:
    """One run of the whole: the table so far, and what every part needs."""

    def __init__(self, arguments, tree, clock, log, gpus, cache):
        self.arguments, self.tree, self.clock, self.log = arguments, tree, clock, log
        self.gpus, self.has_gpu = gpus or ["0"], bool(gpus)
        # Products are measured anew, and nothing is left in the user's cache.
        self.runner = Runner({**tree.environment(), "PENSTOCK_CACHE": str(cache)}, log)
        self.for_python = {"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}  # the machine's, as it is now
        self.rows, self.about = [], {}

    # What is found out is in the table at once, and in the file: a run that is cut off has said it.
    def add(self, *rows):
        for row in rows:
            self.rows.append(row)
            self.log.tell(f"{row.check}: {row.result} {row.number_text()} {row.unit}"
                          + (f": {row.why.strip().splitlines()[-1][:300]}" if row.why.strip() else ""))  # fmt: skip
        if self.arguments.json:
            tables.write_json(self.arguments.json, self.about, self.rows)

    def is_wanted(self, name):
        return not self.arguments.only or re.search(self.arguments.only, name) is not None

    def left(self):
        return self.clock.left() - for_the_end(self.clock)

    def end_of_tests(self):
        """Seconds of the clock at which the tests have to be done."""
        kept = KEPT_FOR_SPEEDS + (KEPT_FOR_TWO if len(self.gpus) > 1 else 0)
        return self.clock.total - for_the_end(self.clock) - min(kept, self.clock.total / 3)

    def left_out(self, name, begun=""):
        return Row(name, LEFT_OUT, why=f"{begun}the budget of {self.arguments.minutes:g} minutes was spent")

    def judged(self, name, result, outcome, seconds, limit):
        """The row of a test that had so many seconds: its own limit, or what the budget left of it."""
        if outcome.code is None and seconds < limit:
            return self.left_out(name, f"begun, and ended after {outcome.seconds:.0f} s: ")
        why = "" if result == PASSED else why_of(outcome)
        if result == SKIPPED and self.has_gpu and name in {test.name for test in self.tree.tests}:
            result, why = FAILED, f"it did nothing, though there is a GPU; {why}"
        return Row(name, result, outcome.seconds, "s", why=why)

    def run_units(self, units, jobs, done):
        """So many at once on each GPU, unless the user says otherwise, while tests may begin."""
        run_units(units, self.gpus, self.arguments.jobs or jobs, self.clock, self.end_of_tests(), done, self.runner.end_all)

    def part(self, name, measure, seconds=LONGEST_PART):
        """What has the GPU to itself. Adds the rows of `measure`; one that fails is a row, too, and stops nothing else."""
        if not self.is_wanted(name):
            return
        seconds = min(seconds, self.left())
        begin = time.monotonic()
        try:
            with within(seconds):
                self.add(*measure())
        except TimeUp:
            self.add(self.left_out(name) if self.left() < 1 else
                     Row(name, FAILED, why=f"not done after {time.monotonic() - begin:.0f} s"))  # fmt: skip
        except (bench_gpu.NoSteps, packing.Refused) as failure:
            self.add(Row(name, FAILED, why=tail(str(failure))))
        except Exception:  # of any kind: the other parts go on
            self.add(Row(name, FAILED, why=tail(traceback.format_exc())))
        finally:
            self.runner.end_all()
        self.log.tell(f"{name} took {time.monotonic() - begin:.1f} s")

    def guarded(self, name, run):
        """What goes wrong in a part of many rows is one more row."""
        begin = time.monotonic()
        try:
            run()
        except Exception:  # of any kind: the other parts go on
            self.add(Row(name, FAILED, why=tail(traceback.format_exc())))
        self.log.tell(f"{name} took {time.monotonic() - begin:.1f} s")
