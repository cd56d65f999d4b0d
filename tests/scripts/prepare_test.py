# SPDX-License-Identifier: Apache-2.0
"""scripts/prepare with made-up dpkg-query, apt-get, id and sudo: what it installs, what it names."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "prepare"
PACKAGES = """
# what debian spack module need probe
Good_thing  good,libgood-dev  good@2:  good   build  command:made-up-good
Other       libother-dev      -        other  build  header:made-up/other.h
Figure      python3-figure    py-fig   fig    plot   python:made_up_figure
Linter      linter-16         lint@16  lint   tidy   command:made-up-linter
Fetcher     fetcher           -        -      cuda   command:made-up-fetcher
"""
TOOLS = ("bash", "env", "sed", "grep", "awk", "paste", "dirname", "mktemp", "rm", "cat")


class Prepare(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        (self.root / "packages.txt").write_text(PACKAGES)
        self.calls = self.root / "calls"
        self.calls.write_text("")
        self.program("id", "echo 1000")

    def program(self, name, body):
        path = self.bin / name
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def installed(self, *packages):
        known = " " + " ".join(packages) + " "
        self.program("dpkg-query", f'[[ "{known}" == *" ${{@: -1}} "* ]] && echo installed')

    def apt(self, status=0):
        self.program("apt-get", f'echo "apt-get $* $DEBIAN_FRONTEND" >> {self.calls}; exit {status}')

    def prepare(self, *arguments, **environment):
        return subprocess.run(
            [self.bin / "bash", SCRIPT, *arguments],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={"PATH": str(self.bin), "TMPDIR": str(self.root),
                 "PENSTOCK_PACKAGES": str(self.root / "packages.txt"), **environment})

    def test_a_complete_machine_needs_no_apt(self):
        self.installed("good", "libgood-dev", "libother-dev")
        self.apt()
        self.program("id", "echo 0")
        result = self.prepare("build")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.calls.read_text(), "")

    def test_root_installs_what_is_missing_and_only_that(self):
        self.installed("libother-dev")
        self.apt()
        self.program("id", "echo 0")
        result = self.prepare("build")
        self.assertEqual(result.returncode, 0, result.stderr)
        update, install = self.calls.read_text().splitlines()
        self.assertIn("update", update)
        self.assertTrue(install.endswith("install -y --no-install-recommends good libgood-dev noninteractive"), install)

    def test_half_of_a_pair_of_packages_is_not_enough(self):
        self.installed("good", "libother-dev")
        self.apt()
        self.program("id", "echo 0")
        self.prepare("build")
        self.assertIn("libgood-dev", self.calls.read_text())

    def test_others_install_through_sudo(self):
        self.installed("libother-dev")
        self.apt()
        self.program("sudo", f'echo "sudo" >> {self.calls}; [[ "$1" == -n ]] && shift; [[ "$1" == true ]] || exec "$@"')
        result = self.prepare("build")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("install -y --no-install-recommends good libgood-dev noninteractive", self.calls.read_text())

    def assert_names_what_is_missing(self, result):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("missing: Good thing, Other\n", result.stderr)
        self.assertIn("apt-get install good libgood-dev libother-dev\n", result.stderr)
        self.assertIn("spack install good@2:\n", result.stderr)
        self.assertIn("module load good other\n", result.stderr)
        self.assertNotIn("figure", result.stderr)

    def test_without_apt_it_names_what_is_missing(self):
        self.assert_names_what_is_missing(self.prepare("build"))

    def test_without_rights_it_names_what_is_missing(self):
        self.apt()
        self.program("sudo", "exit 1")
        self.assert_names_what_is_missing(self.prepare("build"))
        self.assertEqual(self.calls.read_text(), "")

    def test_where_apt_fails_it_names_what_is_missing(self):
        self.apt(status=100)
        self.program("id", "echo 0")
        self.assert_names_what_is_missing(self.prepare("build"))

    def test_what_came_without_a_package_counts(self):
        self.installed("libother-dev")
        self.program("made-up-good", "exit 0")
        result = self.prepare("build")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_figures_are_wanted_only_when_asked_for(self):
        self.installed("good", "libgood-dev", "libother-dev")
        self.assertEqual(self.prepare().returncode, 0)
        result = self.prepare("plot")
        self.assertEqual(result.returncode, 2)
        self.assertIn("python3-figure", result.stderr)

    def test_linters_are_wanted_only_when_asked_for(self):
        self.installed("good", "libgood-dev", "libother-dev")
        self.assertEqual(self.prepare().returncode, 0)
        result = self.prepare("tidy")
        self.assertEqual(result.returncode, 2)
        self.assertIn("linter-16", result.stderr)
        self.program("made-up-linter", "exit 0")
        self.assertEqual(self.prepare("tidy").returncode, 0)

    def test_what_cuda_needs_is_wanted_where_nvcc_is(self):
        self.installed("good", "libgood-dev", "libother-dev")
        self.assertEqual(self.prepare().returncode, 0)
        self.program("nvcc", "exit 0")
        result = self.prepare()
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("missing: Fetcher\n", result.stderr)
        self.assertEqual(self.prepare("build", "test").returncode, 0)
        self.assertEqual(self.prepare("cuda").returncode, 2)

    def test_nothing_is_looked_for_where_the_user_says_so(self):
        result = self.prepare("build", PENSTOCK_NO_INSTALL="1")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_an_unknown_need_is_refused(self):
        refused = self.prepare("everything")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("there is no need called everything", refused.stderr)

    def test_the_real_list_is_well_formed(self):
        for line in (SCRIPT.parent / "packages.txt").read_text().splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            words = line.split()
            self.assertEqual(len(words), 6, line)
            self.assertIn(words[4], ("build", "test", "tidy", "fuzz", "cluster", "cache", "plot", "cuda"), line)
            self.assertRegex(words[5], r"^(command|cmake|header|clang|python):", line)


if __name__ == "__main__":
    unittest.main()
