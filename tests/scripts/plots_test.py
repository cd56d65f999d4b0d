# SPDX-License-Identifier: Apache-2.0
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

    def refuse(self, script, *words):
        """One message, and exit code 2."""
        end = subprocess.run([sys.executable, SCRIPTS / script, *map(str, words)], capture_output=True, text=True,
                             check=False)
        self.assertEqual(end.returncode, 2, end.stderr)
        self.assertEqual(len(end.stderr.splitlines()), 1, end.stderr)
        self.assertTrue(end.stderr.startswith(script.removesuffix(".py") + ": "), end.stderr)

    def test_a_trace_that_is_none(self):
        event = TRACE["traceEvents"][-1]
        for trace in ("", "no JSON", "[]", "3", "{}", '{"traceEvents": 3}', '{"traceEvents": [3]}', "[" * 100000,
                      '{"traceEvents": [{"ph": "X"}]}', json.dumps({"traceEvents": [{**event, "args": {}}]}),
                      json.dumps({"traceEvents": [{**event, "dur": "long"}]})):
            with self.subTest(trace=trace[:60]):
                (self.run_folder / "trace.json").write_text(trace)
                self.refuse("plot_timeline.py", self.run_folder)
        (self.run_folder / "trace.json").write_bytes(b"\xff\xfe")
        self.refuse("plot_timeline.py", self.run_folder)

    def test_metrics_that_are_none(self):
        header = "step,loss,tokens_per_second,validation_loss\n"
        for rows in ("", "garbage\n", header, header + "1,x,10,\n", header + "1\n", "step,loss\n1,5.5\n",
                     header + "1,5.5,10,\0\n"):
            with self.subTest(rows=rows):
                (self.run_folder / "metrics.csv").write_text(rows)
                self.refuse("plot_run.py", self.run_folder)
        (self.run_folder / "metrics.csv").write_bytes(header.encode() + b"1,\xff,3,\n")
        self.refuse("plot_run.py", self.run_folder)

    def test_a_picture_that_cannot_be_written(self):
        for script in ("plot_run.py", "plot_timeline.py"):
            for output in (self.run_folder / "nowhere/a.png", self.run_folder / "a.unknown"):
                with self.subTest(script=script, output=output.name):
                    self.refuse(script, self.run_folder, "-o", output)

    def test_no_python_that_is_not_there(self):
        self.assertFalse(with_matplotlib.has_matplotlib("/nowhere/python3"))

    def test_help_needs_no_package(self):
        for script in ("plot_run.py", "plot_timeline.py", "compare_pytorch.py", "compare_transformers.py"):
            with self.subTest(script=script):
                end = subprocess.run([sys.executable, "-S", SCRIPTS / script, "--help"], capture_output=True, text=True,
                                     check=False)
                self.assertEqual(end.returncode, 0, end.stderr)
                self.assertIn("usage:", end.stdout)


if __name__ == "__main__":
    unittest.main()
