# SPDX-License-Identifier: Apache-2.0
"""scripts/compare_pytorch.py --ddp: what it refuses, and how it compares two curves. Its training needs PyTorch."""

import contextlib
import importlib.util
import io
import math
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
sys.dont_write_bytecode = True

import compare_pytorch  # noqa: E402

HAS_PYTORCH = all(importlib.util.find_spec(name) for name in ("torch", "h5py", "numpy"))


def curve(steps=20):
    return {step: (6 - 0.1 * step, 2.0) for step in range(1, steps + 1)}


def compare(ours, theirs):
    """(good, what was printed)"""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        good = compare_pytorch.compare_curves("2x1x1", ours, theirs, 20)
    return good, out.getvalue()


class Curves(unittest.TestCase):
    def test_equal_ones_agree(self):
        good, out = compare(curve(), curve())
        self.assertTrue(good, out)
        self.assertIn("losses of 20 steps: 0.0e+00", out)

    def test_one_loss_beyond_the_limit_differs(self):
        for factor, agrees in ((1 + 0.9e-5, True), (1 - 0.9e-5, True), (1 + 1.1e-5, False), (1 - 1.1e-5, False)):
            for step in (1, 13, 20):
                with self.subTest(factor=factor, step=step):
                    ours = curve()
                    ours[step] = (ours[step][0] * factor, ours[step][1])
                    good, out = compare(ours, curve())
                    self.assertEqual(good, agrees, out)
                    self.assertEqual("<-- differs" in out, not agrees, out)
                    self.assertRegex(out, r"losses of 20 steps: (9\.0e-06|1\.1e-05)")

    def test_nan_differs(self):
        for ours, theirs in ((math.nan, 5.0), (5.0, math.nan), (math.nan, math.nan)):
            with self.subTest(ours=ours, theirs=theirs):
                good, out = compare(curve() | {7: (ours, 2.0)}, curve() | {7: (theirs, 2.0)})
                self.assertFalse(good, out)
                self.assertIn("losses of 20 steps: nan", out)

    def test_the_first_gradient_norm_counts(self):
        good, out = compare(curve() | {1: (5.9, 2.001)}, curve())
        self.assertFalse(good, out)

    def test_a_short_curve_is_not_compared(self):
        for ours, theirs, side in ((curve(19), curve(), "Penstock"), (curve(), curve(19), "PyTorch")):
            errors = io.StringIO()
            with self.subTest(side=side), contextlib.redirect_stderr(errors):
                with self.assertRaises(SystemExit) as end:
                    compare(ours, theirs)
                self.assertEqual(end.exception.code, 2)
                self.assertIn(f"{side} has no loss of the steps [20]", errors.getvalue())


class Refusals(unittest.TestCase):
    def refuse(self, message, *words, python=(sys.executable, "-B")):
        end = subprocess.run([*python, SCRIPTS / "compare_pytorch.py", *words], capture_output=True, text=True, check=False)
        self.assertEqual(end.returncode, 2, end.stderr)
        self.assertIn(message, end.stderr)
        self.assertNotIn("Traceback", end.stderr)

    def test_arguments(self):
        made = ("--program", "penstock", "--tokens", "a.tok")
        self.refuse("--ranks 4 with --ddp", "run", "--ddp", "--ranks", "4", *made)
        self.refuse("--set mesh... with --ddp", "run", "--ddp", "--set", "mesh.tensor=2", *made)
        self.refuse("--program and --tokens go together", "run", "--ddp", "--program", "penstock")

    def test_no_pytorch(self):
        self.refuse("needs the Python module", "run", "--ddp", python=(sys.executable, "-B", "-S"))

    def test_an_old_python(self):
        errors = io.StringIO()
        text = (SCRIPTS / "compare_pytorch.py").read_text()
        with mock.patch.object(sys, "version_info", (3, 10, 1)), contextlib.redirect_stderr(errors):
            with self.assertRaises(SystemExit) as end:
                exec(compile(text, "compare_pytorch.py", "exec"), {"__name__": "compare_pytorch"})
        self.assertEqual(end.exception.code, 2)
        self.assertIn("needs Python 3.11 or later", errors.getvalue())

    def test_a_pytorch_without_gloo(self):
        for distributed, gloo, message in ((False, False, "needs torch.distributed"), (True, False, "needs the gloo backend")):
            torch, errors = mock.MagicMock(__version__="2.0"), io.StringIO()
            torch.distributed.is_available.return_value = distributed
            torch.distributed.is_gloo_available.return_value = gloo
            with mock.patch.object(compare_pytorch, "torch", torch, create=True), contextlib.redirect_stderr(errors):
                with self.assertRaises(SystemExit) as end:
                    compare_pytorch.check_distributed()
            self.assertEqual(end.exception.code, 2)
            self.assertIn(message, errors.getvalue())

    @unittest.skipUnless(HAS_PYTORCH, "needs torch, h5py and numpy")
    def test_no_run(self):
        with tempfile.TemporaryDirectory() as folder:
            self.refuse("lacks what is to be compared", folder, "--ddp")


if __name__ == "__main__":
    unittest.main()
