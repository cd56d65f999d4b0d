# SPDX-License-Identifier: Apache-2.0
"""The tests that scripts/test_gpu runs, several at once: CTest's programs, and the cases of tests/contract/gpu_test.py."""

import re

from test_gpu_run import Unit
from test_gpu_session import judge, tail
from test_gpu_table import FAILED, LEFT_OUT, PASSED, SAME, SKIPPED, Row

LONGEST_CASE = 300.0  # of the contract tests
# Python itself has to start with the machine's own libraries: only what it starts gets the pack's.
WITH_LIBRARIES = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ["LD_LIBRARY_PATH"] = os.environ.get("PENSTOCK_LIBRARIES") or os.environ.get("LD_LIBRARY_PATH", "")
import unittest
import gpu_test
"""
LIST_CASES = WITH_LIBRARIES + """
for suite in unittest.defaultTestLoader.loadTestsFromModule(gpu_test):
    for case in suite:
        print("case", ".".join(case.id().split(".")[-2:]))
"""
RUN_CASE = WITH_LIBRARIES + """
unittest.main(module=gpu_test, argv=["gpu_test", *sys.argv[2:]], verbosity=2)
"""


def limit_of(test):
    """Seconds that CTest would give it."""
    return float(test.rules.get("TIMEOUT", 300))


def cases_in(text):
    """How many cases a GoogleTest program says have passed; 1 for another program."""
    said = re.findall(r"^\[  PASSED  \] (\d+) tests?\.", text, re.M)
    return sum(map(int, said)) if said else 1


class Programs:
    """CTest's programs; a row for each layer, and one for each that did not pass."""

    def __init__(self, session):
        self.session = session

    def run(self):
        tests = [test for test in self.session.tree.tests if self.session.is_wanted(test.name)]
        found = {}

        def done(unit, result):
            found[unit.name] = result

        units = [Unit(test.name, self._program(test), limit_of(test)) for test in tests]
        self.session.run_units(units, 8, done)
        layers = {}
        for test in tests:
            layers.setdefault(test.name.split(".")[0], []).append(found[test.name] or (self.session.left_out(test.name), 0))
        for layer, results in layers.items():
            others = [row for row, _ in results if row.result != PASSED]
            self.session.add(*others)
            passed = sum(cases for row, cases in results if row.result == PASSED)
            of_all = [row.result for row, _ in results]
            result = next(word for word in (FAILED, LEFT_OUT, PASSED, SKIPPED) if word in of_all)
            self.session.add(Row(f"programs: {layer}", result, passed, "cases passed", SAME))

    def _program(self, test):
        def run(seconds, gpu):
            words = [self.session.tree.places.filled(word) for word in test.command]
            environment = dict(self.session.tree.places.filled(line).partition("=")[::2] for line in test.environment)
            outcome = self.session.runner.run(test.name, words, seconds, {"CUDA_VISIBLE_DEVICES": gpu, **environment})
            row = self.session.judged(test.name, judge(test.rules, outcome), outcome, seconds, limit_of(test))
            self.session.log.tell(f"{test.name}: {row.result} ({outcome.seconds:.1f} s)")
            return row, cases_in(outcome.text)

        return run


class ContractCases:
    """The cases of gpu_test.py, each a process of its own."""

    def __init__(self, session):
        self.session = session

    def run(self):
        folder = str(self.session.tree.contract)
        python = self.session.arguments.python
        listed = self.session.runner.run("list of cases", [python, "-B", "-c", LIST_CASES, folder], 60,
                                         self.session.for_python)  # fmt: skip
        cases = re.findall(r"^case (\S+)$", listed.text, re.M)
        if listed.code != 0 or not cases:
            self.session.add(Row("contract tests", FAILED, why=f"{python} cannot list the cases of gpu_test.py "
                                 f"(it needs h5py and NumPy; --python names another):\n{tail(listed.text)}"))  # fmt: skip
            return
        wanted = sorted(filter(self.session.is_wanted, cases), key=lambda case: -self._weight(case))
        units = [Unit(case, self._case(case), LONGEST_CASE, "Pair" in case) for case in wanted]
        done = lambda unit, row: self.session.add(row or self.session.left_out(unit.name))  # noqa: E731
        self.session.run_units(units, 4, done)

    # Those with most runs of several ranks begin first, so that the end does not wait for one of them.
    @staticmethod
    def _weight(case):
        order = ("GpuMeshTest", "GpuBitsTest", "GpuScheduleTest", "GpuRestartTest", "GpuRunAheadTest", "GpuPairTest")
        return next((len(order) - i for i, name in enumerate(order) if case.startswith(name)), 0)

    def _case(self, case):
        def run(seconds, gpu):
            words = [self.session.arguments.python, "-B", "-c", RUN_CASE, str(self.session.tree.contract), case]
            environment = {**self.session.for_python, "CUDA_VISIBLE_DEVICES": gpu}
            outcome = self.session.runner.run(case, words, seconds, environment)
            if outcome.code in (0, 5) and re.search(r"^(OK|NO TESTS RAN) \(skipped=", outcome.text, re.M):
                result = SKIPPED
            else:
                result = PASSED if outcome.code == 0 else FAILED
            return self.session.judged(case, result, outcome, seconds, LONGEST_CASE)

        return run
