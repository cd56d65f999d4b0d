"""scripts/bench_gpu --penstock-only with a made-up program and nvidia-smi: rows, the program's end, early deaths."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench_gpu"
HEADER = "step,tokens,loss,gradient_norm,learning_rate,seconds,tokens_per_second,validation_loss"


class BenchGpu(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.build = self.root / "build"
        self.bin = self.root / "bin"
        self.build.mkdir()
        self.bin.mkdir()
        self.script(self.bin / "nvidia-smi",
                    'case "$*" in\n*memory.used*) echo "4 MiB" ;;\n*) echo "Made-up GPU, 580.1, 1 MHz" ;;\nesac')

    def script(self, path, body):
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def penstock(self, train):
        self.script(self.build / "penstock", f"""
if [[ "$1" == tokenize ]]; then : > "$3"; exit; fi
echo $$ > {self.root}/process
cp "$2" {self.root}/deck
mkdir -p "$4"
echo {HEADER} > "$4/metrics.csv"
metrics="$4/metrics.csv"
row() {{ echo "$1,0,0,0,0,$2,0," >> "$metrics"; }}
{train}""")

    def bench(self, *arguments):
        return subprocess.run(
            [sys.executable, SCRIPT, "--penstock-only", "--build", self.build, "--model", "124M", "--steps", "4",
             *arguments],
            capture_output=True, text=True, timeout=50,
            env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"})

    def assert_nothing_is_left(self):
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.root / "process").read_text()), 0)
        self.assertEqual([path.name for path in self.build.iterdir()], ["penstock"])

    def test_the_steps_behind_the_warm_up_count_and_the_process_is_ended(self):
        self.penstock('for i in {1..5}; do row $i 9.0; done\n'
                      'for i in {6..9}; do sleep 0.05; row $i 0.25; done\n'
                      'for i in {10..900}; do sleep 0.05; row $i 7.0; done')
        result = self.bench()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Made-up GPU, driver 580.1, SM clock 1 MHz", result.stdout)
        row = result.stdout.splitlines()[-1].split()
        self.assertEqual(row[:4], ["124M", "Penstock", "250.0", str(32 * 1024 * 4)])
        self.assert_nothing_is_left()

    def test_the_run_ends_by_no_step_of_its_own_and_saves_nothing_on_the_way(self):
        self.penstock('for i in {1..900}; do row $i 1.0; sleep 0.02; done')
        self.assertEqual(self.bench().returncode, 0)
        deck = (self.root / "deck").read_text()
        self.assertIn("steps = 1000000\n", deck)
        self.assertIn("[checkpoint]\nevery = 0\n", deck)

    def test_a_half_row_is_not_read(self):
        self.penstock('for i in {1..8}; do row $i 1.0; done\n'
                      'printf "9,0,0,0,0,1.0" >> "$metrics"; exec sleep 60')
        result = self.bench("--patience", "1")
        self.assertIn("after 8 steps", result.stderr)
        self.assertEqual(result.returncode, 1)
        self.assert_nothing_is_left()

    def test_an_early_death_shows_what_the_program_said(self):
        self.penstock('row 1 1.0; echo "penstock: out of device memory" >&2; exit 3')
        result = self.bench()
        self.assertEqual(result.returncode, 1)
        self.assertIn("exit code 3 after 1 steps:\npenstock: out of device memory", result.stderr)
        self.assert_nothing_is_left()

    def test_a_start_that_hangs_is_ended(self):
        self.penstock('echo "connecting" >&2; exec sleep 60')
        result = self.bench("--patience", "0.5")
        self.assertEqual(result.returncode, 1)
        self.assertIn("after 0 steps:\nconnecting", result.stderr)
        self.assert_nothing_is_left()

    def test_an_unknown_model_is_refused(self):
        self.penstock("exit 0")
        result = self.bench("--model", "175B")
        self.assertEqual(result.returncode, 2)
        self.assertIn("124M, 1.3B, 1.56B", result.stderr)


if __name__ == "__main__":
    unittest.main()
