# SPDX-License-Identifier: Apache-2.0
"""docs/when-it-fails.md against the sources: every message of a run is in it, word for word."""

import re
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
# Where a run begins, waits, saves, stops and is watched. Mistakes in decks, schedules and tensors explain themselves.
FILES = ["src/base/sync_folder.cpp", "src/checkpoint/array_file.cpp", "src/checkpoint/checkpoint_folder.cpp",
         "src/storage/durable_file.cpp", "src/storage/guard_file.cpp", "src/checkpoint/io_thread.cpp",
         "src/storage/run_guard.cpp", "src/base/user_path.cpp", "src/comm/mpi/*.cpp", "src/plan/*.cpp",
         "src/run/*.cpp", "src/observe/*.cpp", "src/transfer/*.cpp", "src/train/*.cpp"]
# These speak of decks and tables alone.
OTHERS = {"make_plan.cpp", "run_config.cpp", "run_config_checks.cpp", "taps.cpp"}
CALL = re.compile(r"\b(?:throw_input_error|InputError|SystemError|CollectiveFailure|abort|fail|refuse|warn|CannotOpen|"
                  r"CollectiveCannotOpen)\s*\(")
LITERAL = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')
LEADING = re.compile(r"\s*(?:\{\s*\d\s*,\s*)?(?:[\w.]+\s*,\s*)?(?:fmt::format\s*\(\s*)?")
SHORTEST = 12  # letters of a fixed part that says something


def messages_in(text):
    """The texts of all calls that end a run or warn, with their places for values."""
    for call in CALL.finditer(text):
        at = LEADING.match(text, call.end()).end()
        words = ""
        while literal := LITERAL.match(text, at):
            words += literal.group(1)
            at = literal.end()
        if words:
            yield words.replace('\\"', '"').replace("\\n", " ")


def fixed_part(message):
    """The longest stretch between two values."""
    return max((part.strip() for part in re.split(r"\{[^}]*\}", message)), key=len)


def plain(text):
    return re.sub(r"\s+", " ", text)


CODE = re.compile(r"``.*?``|`[^`]*`")


class Page(unittest.TestCase):
    """A row outside its table is text to a reader of the rendered page, and to the search for messages it looks right."""

    def test_it_is_tables_under_headings(self):
        lines = (SOURCE / "docs/when-it-fails.md").read_text().splitlines()
        self.assertEqual(lines[0], "# When it fails")
        for number, (before, line) in enumerate(zip(["", *lines], lines), 1):
            with self.subTest(line=number):
                cells = CODE.sub("code", line).replace("\\|", "").split("|")
                if line.startswith("|"):
                    self.assertEqual(len(cells), 5, line)
                    self.assertTrue(before.startswith("|") or line == "| message | cause | cure |", line)
                else:
                    self.assertEqual(len(cells), 1, line)


class Messages(unittest.TestCase):
    def test_every_message_is_explained(self):
        page = plain((SOURCE / "docs/when-it-fails.md").read_text())
        missing = []
        found = 0
        for path in sorted(path for pattern in FILES for path in SOURCE.glob(pattern) if path.name not in OTHERS):
            for message in messages_in(path.read_text()):
                part = plain(fixed_part(message))
                if len(part) < SHORTEST:
                    continue
                found += 1
                if part not in page:
                    missing.append(f"{path.relative_to(SOURCE)}: {part}")
        self.assertEqual(missing, [], "docs/when-it-fails.md lacks:\n" + "\n".join(missing))
        self.assertGreater(found, 40, "the sources are not read as they are written")

    def test_messages_are_found_as_they_are_written(self):
        source = '''throw_input_error("one {} of \\"two\\", "
                                      "joined", a); throw SystemError(fmt::format("{}: cannot be opened", path));
                    throw CollectiveFailure({1, fmt::format("step {} was lost", step)}); fail(path, "has no name", errno);'''
        self.assertEqual(list(messages_in(source)), ['one {} of "two", joined', "{}: cannot be opened",
                                                     "step {} was lost", "has no name"])
        self.assertEqual(fixed_part("step {} was not saved: {:.1f}; end"), "was not saved:")


if __name__ == "__main__":
    unittest.main()
