# SPDX-License-Identifier: Apache-2.0
"""scripts/test with made-up commands: what it installs when it is asked, and what it does not."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]


class Test(unittest.TestCase):
    """In a folder with a copy of the script, and next to it scripts that only say how they were called."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.calls = self.root / "calls"
        self.calls.write_text("")
        for name in ("bin", "scripts", ".ci", "build/cpu", "build/sanitize", "build/cuda"):
            (self.root / name).mkdir(parents=True)
        for name in ("scripts/test", ".ci/run"):
            shutil.copy(SOURCE / name, self.root / name)
        for tool in ("bash", "cksum", "cut", "dirname", "nproc", "rm", "sed", "tee"):
            (self.root / "bin" / tool).symlink_to(shutil.which(tool))
        for name in ("bin/cmake", "bin/ctest", "bin/python3", "scripts/prepare", "scripts/tidy", "scripts/check_faults",
                     "scripts/fuzz"):
            self.make_up(name)

    def make_up(self, name):
        path = self.root / name
        call = f'"{path.name} $*" "${{CMAKE_CXX_COMPILER_LAUNCHER:-}}" "${{PENSTOCK_TEST_DEPTH:-}}"'
        path.write_text(f'#!{shutil.which("bash")}\necho {call} >> {self.calls}\n')
        path.chmod(0o755)

    def run_script(self, name, *words):
        done = subprocess.run([shutil.which("bash"), self.root / name, *words], capture_output=True, text=True,
                              check=True, env={"PATH": str(self.root / "bin"), "HOME": os.environ.get("HOME", "/")})
        return done.stdout, self.calls_of("prepare")

    def calls_of(self, command):
        return [line.strip() for line in self.calls.read_text().splitlines() if line.startswith(command)]

    def test_services_are_installed_only_when_asked_for(self):
        for words, line in ((["-R", "comm"], True), (["--quick", "-R", "comm"], False)):
            with self.subTest(words=words):
                self.calls.write_text("")
                said, prepared = self.run_script("scripts/test", *words)
                self.assertEqual(prepared, ["prepare build test"])
                self.assertEqual("scripts/test --cluster installs both" in said, line)  # unit tests need neither

    def test_with_cluster_they_are(self):
        for words in (["--cluster"], ["--quick", "--cluster", "-L", "unit"], ["--cluster", "--quick"]):
            with self.subTest(words=words):
                self.calls.write_text("")
                _, prepared = self.run_script("scripts/test", *words)
                self.assertEqual(prepared, ["prepare build test", "prepare cluster"])

    def test_continuous_integration_asks_for_them(self):
        _, prepared = self.run_script(".ci/run", "--quick")
        self.assertEqual(prepared, ["prepare tidy", "prepare build test", "prepare cluster"])
        self.assertIn("-DPENSTOCK_WERROR=ON", self.calls_of("cmake --preset cpu")[0])

    def test_words_that_nobody_knows_are_refused_before_anything_is_done(self):
        for words in (["--quck"], ["nonsense"], ["-L", "unit", "--quik"], ["-R"], ["--quick", "--all"]):
            with self.subTest(words=words), self.assertRaises(subprocess.CalledProcessError) as refused:
                self.run_script("scripts/test", *words)
            self.assertEqual(refused.exception.returncode, 2)
            self.assertIn("scripts/test: ", refused.exception.stderr)
            self.assertEqual(self.calls.read_text(), "")

    def test_its_own_words_may_stand_anywhere(self):
        _, prepared = self.run_script("scripts/test", "-L", "unit", "--quick")
        self.assertEqual(prepared, ["prepare build test"])
        self.assertEqual(self.calls_of("ctest")[0].count("-L unit"), 1, self.calls_of("ctest"))

    def presets_tested(self):
        return [line.split()[2] for line in self.calls_of("ctest")]

    def test_three_depths(self):
        self.run_script("scripts/test", "--quick", "-R", "comm")
        self.assertEqual(self.presets_tested(), ["cpu"])
        self.assertTrue(self.calls_of("ctest")[0].endswith("-R comm -L unit -LE ^all$  quick"), self.calls_of("ctest"))
        self.calls.write_text("")
        self.run_script("scripts/test")
        self.assertEqual(self.presets_tested(), ["cpu", "sanitize"])
        self.assertFalse([line for line in self.calls_of("ctest") if line.endswith("quick")])  # all headers are compiled
        self.assertEqual(self.calls_of("tidy") + self.calls_of("check_faults"), [])
        self.calls.write_text("")
        _, prepared = self.run_script("scripts/test", "--all")
        self.assertEqual(prepared, ["prepare build test  all", "prepare tidy  all", "prepare fuzz  all"])
        self.assertEqual(self.presets_tested(), ["cpu", "sanitize"])
        self.assertTrue(all(line.endswith(" all") and "-LE" not in line for line in self.calls_of("ctest")))
        self.assertTrue(self.calls_of("cmake --build --preset debug"))
        self.assertEqual(len(self.calls_of("tidy")), 1)
        self.assertTrue(self.calls_of("check_faults --depth all --trust"))
        self.assertEqual(self.calls_of("fuzz"), [])  # there is no Clang 16
        self.make_up("bin/clang++-16")
        self.run_script("scripts/test", "--all")
        self.assertEqual(self.calls_of("fuzz"), ["fuzz --seconds 120  all"])

    def test_two_presets_of_one_source_share_a_cache(self):
        self.make_up("bin/nvcc")
        for tool, end in ((None, "-G Ninja -DCMAKE_CUDA_ARCHITECTURES=90 -DPENSTOCK_WERROR=OFF"), ("bin/ccache", ";ccache")):
            with self.subTest(tool=tool):
                self.calls.write_text("")
                if tool:
                    self.make_up(tool)
                said, prepared = self.run_script("scripts/test")
                self.assertEqual(prepared, ["prepare build test cuda", "prepare cache"])
                configured = self.calls_of("cmake --preset cuda")[0]
                self.assertTrue(configured.endswith(end), configured)
                self.assertEqual(f"CCACHE_DIR={self.root}/build/ccache" in configured, tool is not None)
                self.assertEqual("no ccache here" in said, tool is None)

    def test_where_there_is_a_gpu_the_program_is_built_for_all_architectures(self):
        for name in ("bin/nvcc", "bin/nvidia-smi"):
            self.make_up(name)
        self.run_script("scripts/test")
        self.assertNotIn("ARCHITECTURES", self.calls_of("cmake --preset cuda")[0])


if __name__ == "__main__":
    unittest.main()
