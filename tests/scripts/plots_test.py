"""The scripts that draw, and a Python without matplotlib."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import with_matplotlib  # noqa: E402

TRACE = {"traceEvents": [
    {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "measured"}},
    {"ph": "M", "name": "thread_name", "pid": 1, "tid": 0, "args": {"name": "rank 0"}},
    {"ph": "X", "name": "0F0", "cat": "forward", "pid": 1, "tid": 0, "ts": 0, "dur": 9, "args": {"step": 2}}]}


class Plots(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.run_folder = Path(folder.name) / "run"
        self.run_folder.mkdir()
        (self.run_folder / "metrics.csv").write_text("step,loss,tokens_per_second,validation_loss\n1,5.5,10,\n2,5.4,11,5.3\n")
        (self.run_folder / "trace.json").write_text(json.dumps(TRACE))

    def draw(self, script):
        """With -S a Python sees no packages."""
        return subprocess.run([sys.executable, "-S", SCRIPTS / script, self.run_folder], capture_output=True, text=True,
                              check=False)

    def test_a_python_without_matplotlib_hands_on_to_debians(self):
        there = with_matplotlib.has_matplotlib(with_matplotlib.DEBIAN)
        for script, picture in (("plot_run.py", "run.png"), ("plot_timeline.py", "timeline.png")):
            with self.subTest(script=script):
                end = self.draw(script)
                if there:
                    self.assertEqual(end.returncode, 0, end.stderr)
                    self.assertEqual(end.stdout, f"{self.run_folder / picture}\n")
                    self.assertTrue((self.run_folder / picture).read_bytes().startswith(b"\x89PNG"))
                else:
                    self.assertEqual(end.returncode, 2, end.stderr)
                    for part in (script.removesuffix(".py"), "matplotlib", "scripts/prepare plot"):
                        self.assertIn(part, end.stderr)

    def test_no_python_that_is_not_there(self):
        self.assertFalse(with_matplotlib.has_matplotlib("/nowhere/python3"))

    def test_help_needs_no_package(self):
        for script in ("plot_run.py", "plot_timeline.py", "compare_pytorch.py"):
            with self.subTest(script=script):
                end = subprocess.run([sys.executable, "-S", SCRIPTS / script, "--help"], capture_output=True, text=True,
                                     check=False)
                self.assertEqual(end.returncode, 0, end.stderr)
                self.assertIn("usage:", end.stdout)


if __name__ == "__main__":
    unittest.main()
