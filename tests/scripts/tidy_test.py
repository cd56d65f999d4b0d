# SPDX-License-Identifier: Apache-2.0
"""scripts/tidy with a made-up clang-tidy: what it prints, and its exit code."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "dirname", "grep", "mkdir", "nproc", "sed", "sort", "tail", "wc")


class Tidy(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        self.calls = self.root / "calls"
        self.calls.write_text("")
        for name in ("bin", "scripts", "src/base"):
            (self.root / name).mkdir(parents=True)
        (self.root / "src/base/error.cpp").write_text("")
        shutil.copy(SOURCE / "scripts/tidy", self.root / "scripts/tidy")
        for tool in TOOLS:
            (self.root / "bin" / tool).symlink_to(shutil.which(tool))
        for name in ("cmake", "clang-tidy-16", "run-clang-tidy-16"):
            self.program(name, f"echo {name} $* >> {self.calls}")
        self.program("g++", "echo /usr/include/omp.h")
        self.program("uname", "echo x86_64")

    def program(self, name, body):
        path = self.root / "bin" / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)

    def tidy(self, *words):
        done = subprocess.run([self.root / "bin/bash", self.root / "scripts/tidy", *words], capture_output=True, text=True,
                              env={"PATH": str(self.root / "bin")})
        return done.returncode, done.stdout + done.stderr

    def finds(self, *lines, status=1):
        said = "\n".join(lines)
        self.program("run-clang-tidy-16", f"cat <<'END'\n{said}\nEND\nexit {status}")

    def test_without_clang_tidy_16_it_is_skipped_and_says_so(self):
        (self.root / "bin/clang-tidy-16").unlink()
        self.program("clang-tidy", "echo Debian LLVM version 14.0.6")
        status, said = self.tidy()
        self.assertEqual(status, 0)
        self.assertIn("skipped: needs clang-tidy 16, found 14.0.6", said)
        self.assertEqual(self.calls.read_text(), "")

    def test_nothing_found(self):
        status, said = self.tidy("-j", "3")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"tidy: nothing found in \d+ s")
        self.assertRegex(self.calls.read_text(), r"run-clang-tidy-16 .*-j 3 -p build/tidy ")

    def test_a_finding_is_named_once_though_many_files_include_the_header(self):
        finding = f"{self.root}/src/base/error.hpp:3:7: error: used after it was moved [bugprone-use-after-move]"
        self.finds(finding, "  use(x);", "      ^", finding, f"{self.root}/src/base/error.hpp:2:1: note: moved here")
        status, said = self.tidy()
        self.assertEqual(status, 1)
        lines = said.splitlines()
        self.assertEqual(lines[0], "src/base/error.hpp:3:7: error: used after it was moved [bugprone-use-after-move]")
        self.assertRegex(lines[1], r"tidy: 1 findings in \d+ s; build/tidy/findings.log")
        self.assertEqual(len(lines), 2)

    def test_a_finding_counts_whatever_the_exit_code_is(self):
        self.finds(f"{self.root}/src/base/error.hpp:3:7: warning: something [misc-something]", status=0)
        self.assertEqual(self.tidy()[0], 1)

    def test_a_clang_tidy_that_breaks_is_a_failure(self):
        self.finds("LLVM ERROR: out of memory")
        status, said = self.tidy()
        self.assertEqual(status, 1)
        self.assertIn("LLVM ERROR: out of memory", said)

    def test_named_files_are_read_one_by_one(self):
        status, said = self.tidy("src/base/error.cpp")
        self.assertEqual(status, 0, said)
        calls = self.calls.read_text()
        self.assertIn("-DPENSTOCK_UNITY=OFF", calls)
        self.assertIn(" /src/base/error.cpp$\n", calls)

    def test_words_that_it_does_not_know_are_refused(self):
        for words in (["--all"], ["-j"], ["-j", "many"], ["src/base/nothing.cpp"], ["src/base"]):
            with self.subTest(words=words):
                status, said = self.tidy(*words)
                self.assertEqual(status, 2)
                self.assertIn("scripts/tidy: ", said)
        self.assertEqual(self.calls.read_text(), "")

    def test_its_checks_exist(self):
        if not shutil.which("clang-tidy-16"):
            self.skipTest("needs clang-tidy 16; `scripts/prepare tidy` installs it")
        wanted = set(re.findall(r"^  ([a-z]+-[a-z0-9-]+),?$", (SOURCE / ".clang-tidy").read_text(), re.MULTILINE))
        known = subprocess.run(["clang-tidy-16", "--checks=*", "--list-checks"], capture_output=True, text=True, check=True)
        self.assertGreater(len(wanted), 40)
        self.assertEqual(wanted - set(known.stdout.split()), set())


if __name__ == "__main__":
    unittest.main()
