# SPDX-License-Identifier: Apache-2.0
"""Every test of every program is named by the filter of a file that CTest runs, and every filter names tests.

    check_filters.py FILE      a line for each test file: its program and the filter that CTest starts it with
"""
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def tests_of(program, pattern):
    words = [program, "--gtest_list_tests", "--gtest_filter=" + pattern]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in listed.splitlines() if line.strip() and not line.startswith("Running main()")]


def main():
    filters = defaultdict(list)
    for line in Path(sys.argv[1]).read_text().splitlines():
        program, pattern = line.rsplit(" ", 1)
        filters[program].append(pattern)
    forgotten, empty = [], []
    for program, patterns in filters.items():
        forgotten += [f"{Path(program).name}: {line}" for line in tests_of(program, "-" + ":".join(patterns))]
        empty += [f"{Path(program).name}: {pattern}" for pattern in patterns if not tests_of(program, pattern)]
    if empty:
        sys.exit("filters of tests/CMakeLists.txt that name no test, so that CTest passes and runs nothing:\n  " +
                 "\n  ".join(empty))
    if forgotten:
        sys.exit("tests that no filter of tests/CMakeLists.txt names, so that CTest does not run them:\n  " +
                 "\n  ".join(forgotten))
    print(f"{len(filters)} programs, {sum(map(len, filters.values()))} test files")


main()
