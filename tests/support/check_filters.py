# SPDX-License-Identifier: Apache-2.0
"""Every test of every program is named by the filter of a file that CTest runs.

    check_filters.py FILE      a line for each test file: its program and the filter that CTest starts it with
"""
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def main():
    filters = defaultdict(list)
    for line in Path(sys.argv[1]).read_text().splitlines():
        program, pattern = line.rsplit(" ", 1)
        filters[program].append(pattern)
    forgotten = []
    for program, patterns in filters.items():
        words = [program, "--gtest_list_tests", "--gtest_filter=-" + ":".join(patterns)]
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        forgotten += [f"{Path(program).name}: {line.strip()}" for line in listed.splitlines()
                      if line.strip() and not line.startswith("Running main()")]
    if forgotten:
        sys.exit("tests that no filter of tests/CMakeLists.txt names, so that CTest does not run them:\n  " +
                 "\n  ".join(forgotten))
    print(f"{len(filters)} programs, {sum(map(len, filters.values()))} test files")


main()
