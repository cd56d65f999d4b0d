# SPDX-License-Identifier: Apache-2.0
"""What every source file must have: the layout of .clang-format, and the tag of its license in the first line."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "cmake", "cuda", "jobs", "scripts", "src", "tests")
COMPILED = {".cpp", ".hpp", ".cu", ".cuh"}
FORMAT_VERSION = "14"  # other versions lay out some constructs differently
TAG = "SPDX-License-Identifier: Apache-2.0"


def files_of(root):
    """All files of the repository that are not data, documents or products of a build."""
    nested = (path for folder in FOLDERS for path in (root / folder).rglob("*"))
    return sorted(path for path in (*root.glob("CMakeLists.txt"), *nested)
                  if path.is_file() and "__pycache__" not in path.parts)


def compiled_files(root):
    return [path for path in files_of(root) if path.suffix in COMPILED]


def comment_of(path):
    """What opens a comment in this file; None where it is no source file."""
    if path.suffix in COMPILED:
        return "//"
    if path.suffix in {".cmake", ".py"} or path.name == "CMakeLists.txt":
        return "#"
    return "#" if path.suffix != ".txt" and path.read_bytes().startswith(b"#!") or path.suffix == ".sh" else None


def has_tag(path):
    lines = path.read_text().splitlines()
    tag_line = lines[1:2] if lines and lines[0].startswith("#!") else lines[:1]
    return tag_line == [f"{comment_of(path)} {TAG}"]


def find_clang_format():
    """(command, its version); (None, what is the matter) where version 14 is not here."""
    found = "none"
    for command in (f"clang-format-{FORMAT_VERSION}", "clang-format"):
        if not shutil.which(command):
            continue
        said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"version (\d+)[\d.]*", said)
        if version and version.group(1) == FORMAT_VERSION:
            return command, version.group(0)
        found = said.strip()
    return None, f"needs clang-format {FORMAT_VERSION}, found {found}; `scripts/prepare tidy` installs it"


def misformatted(command, paths):
    """Those of the files that clang-format would change."""
    done = subprocess.run([command, "--style=file", "--dry-run", "--Werror", "--ferror-limit=1", *paths],
                          capture_output=True, text=True)
    wrong = re.findall(r"^(.+?):\d+:\d+: error: code should be clang-formatted", done.stderr, re.MULTILINE)
    if done.returncode != 0 and not wrong:
        raise RuntimeError(done.stderr)
    return sorted(set(wrong))


class Format(unittest.TestCase):
    def setUp(self):
        self.command, what = find_clang_format()
        if not self.command:
            self.skipTest(what)

    def test_files_are_laid_out_as_clang_format_says(self):
        paths = compiled_files(ROOT)
        self.assertGreater(len(paths), 300, "the sources are not found")
        wrong = [str(Path(path).relative_to(ROOT)) for path in misformatted(self.command, paths)]
        self.assertEqual(wrong, [], f"fix with: {self.command} -i {' '.join(wrong)}")

    def test_each_file_that_differs_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            texts = {"good.cpp": "int one = 1;\n", "bad.cpp": "int one=1;\n", "worse.cu": "int  one=1;\nint *two;\n"}
            shutil.copy(ROOT / ".clang-format", folder)
            for name, text in texts.items():
                Path(folder, name).write_text(text)
            wrong = misformatted(self.command, [Path(folder, name) for name in texts])
        self.assertEqual([Path(path).name for path in wrong], ["bad.cpp", "worse.cu"])


class License(unittest.TestCase):
    def test_every_source_file_names_its_license(self):
        paths = [path for path in files_of(ROOT) if comment_of(path)]
        self.assertGreater(len(paths), 300, "the sources are not found")
        missing = [str(path.relative_to(ROOT)) for path in paths if not has_tag(path)]
        self.assertEqual(missing, [], f"`{TAG}` as a comment has to be the first line, or the second after `#!`")

    def test_a_missing_tag_is_seen(self):
        cases = {"a.cpp": (f"// {TAG}\n#pragma once\n", True), "b.cpp": (f"#pragma once\n// {TAG}\n", False),
                 "c.hpp": ("", False), "d.py": (f"#!/usr/bin/env python3\n# {TAG}\n", True),
                 "e.py": (f"// {TAG}\n", False), "f.cmake": (f"# {TAG}\n", True),
                 "g.sbatch": ("#!/bin/bash\n# Goal: none\n", False)}
        with tempfile.TemporaryDirectory() as folder:
            for name, (text, tagged) in cases.items():
                path = Path(folder, name)
                path.write_text(text)
                with self.subTest(name=name):
                    self.assertEqual(has_tag(path), tagged)

    def test_the_license_is_there(self):
        self.assertIn("Apache License\n                           Version 2.0", (ROOT / "LICENSE").read_text())


if __name__ == "__main__":
    unittest.main()
