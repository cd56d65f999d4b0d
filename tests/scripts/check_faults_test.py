# SPDX-License-Identifier: Apache-2.0
"""scripts/check_faults with a made-up ctest, and the table of faults against the sources and the program."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
TABLE = SOURCE / "src" / "base" / "faults.def"
NAMES = re.findall(r"^PENSTOCK_FAULT\((\w+),", TABLE.read_text(), re.MULTILINE)

# Three tests: `shaky` fails with whatever fault; made_up_a fails in b.two; nothing fails for made_up_c.
CTEST = """#!{python}
import json, os, re, sys
words = sys.argv[1:]
assert ("GTEST_FAIL_FAST" in os.environ) == ("PENSTOCK_FAULT" in os.environ)
open("calls", "a").write(os.environ.get("PENSTOCK_FAULT", "-") + os.environ.get("PENSTOCK_TEST_DEPTH", "") + "\\n")
names = ["a.one", "b.two", "b+two"]
if "-R" in words:
    names = [name for name in names if re.search(words[words.index("-R") + 1], name)]
if "--show-only=json-v1" in words:
    print(json.dumps({{"tests": [{{"name": name}} for name in names]}}))
    sys.exit()
failing = {{"made_up_a": ["b.two"], None: {sound}}}.get(os.environ.get("PENSTOCK_FAULT"), [])
cases = "".join(f'<testcase name="{{n}}" status="{{"fail" if n in failing else "run"}}"/>' for n in names)
open(words[words.index("--output-junit") + 1], "w").write(f"<testsuite>{{cases}}</testsuite>")
sys.exit(any(name in failing for name in names))
"""
FAULTS = """// A comment.
PENSTOCK_FAULT(made_up_a, "this goes wrong", "^a")
PENSTOCK_FAULT(made_up_c, "that goes wrong", "^b")
"""


class CheckFaults(unittest.TestCase):
    """In a folder that has a copy of the script and a table of its own."""

    def check(self, *words, sound=(), environment=None):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name in ("bin", "scripts", "src/base", "build/faults"):
                (root / name).mkdir(parents=True)
            shutil.copy(SOURCE / "scripts" / "check_faults", root / "scripts")
            (root / "src/base/faults.def").write_text(FAULTS)
            (root / "bin/ctest").write_text(CTEST.format(python=sys.executable, sound=list(sound)))
            (root / "bin/cmake").write_text("#!/bin/sh\n")
            for tool in ("ctest", "cmake"):
                (root / "bin" / tool).chmod(0o755)
            done = subprocess.run([sys.executable, root / "scripts/check_faults", *words], capture_output=True, text=True,
                                  env={**os.environ, "PATH": f"{root}/bin:{os.environ['PATH']}", **(environment or {})})
            calls = (root / "calls").read_text().split() if (root / "calls").exists() else []
            return done, calls

    def test_a_caught_fault_is_named_with_its_test(self):
        done, calls = self.check("made_up_a")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"made_up_a +this goes wrong +b\.two +\d+\.\d\n")
        self.assertIn("1 of 1 faults were caught", done.stdout)
        # Listed, all without a fault, the likely one, the others, and the failed one without the fault.
        self.assertEqual(calls, ["-", "-", "made_up_a", "made_up_a", "-"])

    def test_one_that_no_test_catches_fails(self):
        done, _ = self.check()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"made_up_c +that goes wrong +NO TEST +\d+\.\d\n")
        self.assertIn("1 of 2 faults were caught", done.stdout)

    def test_a_test_outside_the_choice_catches_nothing(self):
        done, _ = self.check("-R", "^a", "made_up_a")
        self.assertEqual(done.returncode, 1)
        self.assertIn("0 of 1 faults were caught", done.stdout)

    def test_a_test_that_fails_without_a_fault_ends_it(self):
        done, calls = self.check(sound=["a.one"])
        self.assertEqual((done.returncode, calls), (1, ["-", "-"]))
        self.assertIn("a.one", done.stdout)

    def test_trust_spares_the_run_without_a_fault_and_not_the_one_that_confirms(self):
        done, calls = self.check("--trust", "made_up_a")
        self.assertEqual((done.returncode, calls), (0, ["-", "made_up_a", "made_up_a", "-"]), done.stderr)
        done, calls = self.check("--trust", "made_up_a", sound=["b.two"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("b.two also fails without made_up_a", done.stdout)
        self.assertIn("0 of 1 faults were caught", done.stdout)

    def test_the_depth_is_the_one_that_was_asked_for(self):
        surroundings = {"PENSTOCK_TEST_DEPTH": "all", "PENSTOCK_FAULT": "made_up_c", "GTEST_FAIL_FAST": "1"}
        _, calls = self.check("made_up_a", environment=surroundings)
        self.assertEqual(calls[1:], ["-", "made_up_a", "made_up_a", "-"])
        _, calls = self.check("--depth", "all", "made_up_a")
        self.assertEqual(calls[1:], ["-all", "made_up_aall", "made_up_aall", "-all"])

    def test_an_unknown_fault_is_refused(self):
        done, calls = self.check("made_up_b")
        self.assertEqual((done.returncode, calls), (2, []))
        self.assertIn("there is no fault made_up_b; use some of made_up_a, made_up_c", done.stderr)


class Table(unittest.TestCase):
    def test_the_script_reads_every_line(self):
        listed = subprocess.run([sys.executable, SOURCE / "scripts" / "check_faults", "--list"], capture_output=True,
                                text=True, check=True).stdout
        self.assertEqual([line.split()[0] for line in listed.splitlines()], NAMES)
        self.assertEqual(len(NAMES), len(set(NAMES)))

    def test_each_fault_is_planted_at_one_place(self):
        sources = "".join(path.read_text() for path in sorted((SOURCE / "src").rglob("*.cpp")))
        planted = re.findall(r"planted\(Fault::(\w+)\)", sources)
        self.assertEqual(sorted(planted), sorted(NAMES))


@unittest.skipUnless("PENSTOCK" in os.environ, "for a built program: run by ctest")
class Program(unittest.TestCase):
    def version(self, fault):
        return subprocess.run([os.environ["PENSTOCK"], "--version"], capture_output=True, text=True,
                              env={**os.environ, "PENSTOCK_FAULT": fault})

    @unittest.skipIf(os.environ.get("PENSTOCK_FAULTS") == "ON", "this build has faults")
    def test_what_is_shipped_has_no_fault(self):
        program = Path(os.environ["PENSTOCK"]).read_bytes()
        for word in ("PENSTOCK_FAULT", "plantedENS_5Fault", *(f"\0{name}\0" for name in NAMES)):
            if b".debug_str" not in program or word[0] != "\0":  # the names of constants belong to debugging
                self.assertNotIn(word.encode(), program)
        self.assertEqual(self.version("made_up").returncode, 0)

    @unittest.skipUnless(os.environ.get("PENSTOCK_FAULTS") == "ON", "this build has none")
    def test_a_mistyped_fault_is_refused(self):
        done = self.version("made_up")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn(f"PENSTOCK_FAULT = made_up: there is no such fault; use one of {', '.join(NAMES)}", done.stderr)
        self.assertEqual(self.version("").returncode, 0)


if __name__ == "__main__":
    unittest.main()
