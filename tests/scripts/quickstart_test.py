# SPDX-License-Identifier: Apache-2.0
"""scripts/quickstart --what with made-up nvidia-smi and nvcc: what it would compute on and prepare, and the meshes."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "quickstart"
TOOLS = ("bash", "cat", "dirname", "find", "head", "sed", "wc", "xargs")
ON_THE_CPU = ["packages: build", "program: build/cpu/penstock", "first run attempt: 1x2x2, 4 ranks",
              "second run attempt: 2x1x1, 2 ranks"]


class Quickstart(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def program(self, path, body=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def gpus(self, count, name="NVIDIA H200"):
        lines = "".join(f"GPU {i}: {name} (UUID: GPU-{i}f-22)\n" for i in range(count))
        self.program(self.bin / "nvidia-smi", f"[[ $* == -L ]] && printf '{lines}'")

    def toolkit(self):
        self.program(self.bin / "nvcc")

    # No toolkit of the machine that runs the test: CUDA_HOME points where there is none.
    def what(self, *arguments, **environment):
        return subprocess.run(
            [self.bin / "bash", SCRIPT, *arguments, "--what"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={"PATH": str(self.bin), "CUDA_HOME": str(self.root / "cuda"), **environment})

    def assert_what(self, lines, *arguments, **environment):
        result = self.what(*arguments, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout.splitlines(), lines)

    def assert_refused(self, message, *arguments, **environment):
        result = self.what(*arguments, **environment)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn(message, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_text_that_is_too_little_is_refused_before_anything_is_made(self):
        text = self.root / "text"
        text.write_text("x" * 300000)
        for words, message in (([text], "300000 bytes, but 327680 or more"), ([text, self.root / "none"], "none is not here")):
            end = subprocess.run([self.bin / "bash", SCRIPT, *words], capture_output=True, text=True, check=False,
                                 stdin=subprocess.DEVNULL, env={"PATH": str(self.bin), "CUDA_HOME": str(self.root / "cuda")})
            self.assertEqual(end.returncode, 1, end.stdout)
            self.assertIn(message, end.stderr)
            self.assertNotIn("packages", end.stdout)

    def assert_cuda(self, count, first, second, **environment):
        self.assert_what([f"computing on: {count} x NVIDIA H200 (preset cuda)", "packages: build cuda",
                          "program: build/cuda/penstock", f"first run attempt: {first}",
                           f"second run attempt: {second}"],
                         **environment)

    def test_without_a_gpu_it_takes_the_cpu(self):
        self.toolkit()
        self.assert_what(["computing on: the CPU (no GPU here)", *ON_THE_CPU])

    def test_a_driver_without_a_gpu_is_no_gpu(self):
        self.toolkit()
        self.program(self.bin / "nvidia-smi", "echo 'No devices found.'; exit 6")
        self.assert_what(["computing on: the CPU (no GPU here)", *ON_THE_CPU])

    def test_a_gpu_without_the_toolkit_is_left_and_named(self):
        self.gpus(2)
        self.assert_what(["computing on: the CPU (a GPU is here, but no CUDA toolkit: nvcc)", *ON_THE_CPU])

    def test_four_gpus_and_more_take_the_meshes_of_the_cpu(self):
        self.toolkit()
        for count in (4, 8):
            self.gpus(count)
            self.assert_cuda(count, "1x2x2, 4 ranks", "2x1x1, 2 ranks")

    def test_two_or_three_gpus_take_two_ranks(self):
        self.toolkit()
        for count in (2, 3):
            self.gpus(count)
            self.assert_cuda(count, "1x2x1, 2 ranks", "2x1x1, 2 ranks")

    def test_one_gpu_takes_one_rank(self):
        self.toolkit()
        self.gpus(1)
        self.assert_cuda(1, "1x1x1, 1 rank", "1x1x1, 1 rank")

    def test_the_toolkit_is_found_in_cuda_home(self):
        self.gpus(1)
        self.program(self.root / "cuda" / "bin" / "nvcc")
        self.assert_cuda(1, "1x1x1, 1 rank", "1x1x1, 1 rank")

    def test_only_visible_gpus_count(self):
        self.toolkit()
        self.gpus(4)
        self.assert_cuda(2, "1x2x1, 2 ranks", "2x1x1, 2 ranks", CUDA_VISIBLE_DEVICES="1,3")
        for none in ("", "-1"):
            self.assert_what(["computing on: the CPU (no GPU here)", *ON_THE_CPU], CUDA_VISIBLE_DEVICES=none)

    def test_instances_of_a_cut_gpu_are_not_counted(self):
        self.toolkit()
        self.program(self.bin / "nvidia-smi",
                     "echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n"
                     "echo '  MIG 3g.71gb     Device  0: (UUID: MIG-1)'\n"
                     "echo '  MIG 3g.71gb     Device  1: (UUID: MIG-2)'")
        self.assert_cuda(1, "1x1x1, 1 rank", "1x1x1, 1 rank")

    def test_the_user_may_say_cpu(self):
        self.toolkit()
        self.gpus(4)
        expected = ["computing on: the CPU (as you said)", *ON_THE_CPU]
        self.assert_what(expected, "--backend", "cpu")
        self.assert_what(expected, "--backend=cpu", "some-text.c")
        self.assert_what(expected, QUICKSTART_BACKEND="cpu")

    def test_the_option_is_stronger_than_the_environment(self):
        self.toolkit()
        self.gpus(1)
        self.assert_what(["computing on: the CPU (as you said)", *ON_THE_CPU], "--backend", "cpu",
                         QUICKSTART_BACKEND="cuda")

    def test_cuda_is_refused_where_it_cannot_be(self):
        self.assert_refused("there is no GPU here", "--backend", "cuda")
        self.gpus(1)
        self.assert_refused("no CUDA toolkit", QUICKSTART_BACKEND="cuda")

    def test_other_words_are_refused(self):
        self.assert_refused("not gpu", "--backend", "gpu")
        self.assert_refused("--fast is no option", "--fast")

    def test_help_names_the_options(self):
        result = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
        for option in ("--backend cpu|cuda", "--what", "QUICKSTART_BACKEND"):
            self.assertIn(option, result.stdout)


if __name__ == "__main__":
    unittest.main()
