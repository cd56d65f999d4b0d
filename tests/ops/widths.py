# SPDX-License-Identifier: Apache-2.0
"""What is compiled for AVX-512 runs only where it is asked for (cmake/PenstockWidths.cmake).

    widths.py OBJDUMP OBJECT [LIBRARY ...]

OBJECT holds the operations of 16 lanes. It shows other objects no name but those of their namespace, so that the linker
takes none of its inline functions for anybody else, and what of it runs before main is free of AVX-512. Where LIBRARY is
named, the program is for CPUs without AVX-512: no other member of it may have such an instruction.
"""

import re
import subprocess
import sys
from pathlib import Path

NAMESPACE = "_ZN8penstock3ops8lanes_16"
RUNS_BEFORE_MAIN = re.compile(r"^_GLOBAL__|__static_initialization_and_destruction")
# AVX-512 is what is encoded with EVEX (first byte 62), and what works on mask registers.
AVX512 = re.compile(r"^\s*[0-9a-f]+:\t(62 [0-9a-f ]+\t|[0-9a-f ]+\tk[a-z]+ +.*%k[0-7])")


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def shown_names(objdump, path):
    """Symbols that the linker sees: global, weak or unique, and defined."""
    for line in run(objdump, "--syms", "--wide", path).splitlines():
        found = re.match(r"[0-9a-f]{16} ([^l]......) (\S+)\s+[0-9a-f]+\s+(?:\.hidden )?(\S+)$", line)
        if found and found[2] != "*UND*":
            yield found[3]


def functions_with_avx512(objdump, path):
    """Pairs (member of the library, function)."""
    member = function = None
    for line in run(objdump, "--disassemble", "--wide", path).splitlines():
        if found := re.match(r"(\S+):     file format ", line):
            member = Path(found[1]).name
        elif found := re.match(r"[0-9a-f]{16} <(\S+)>:$", line):
            function = found[1]
        elif function and AVX512.match(line):
            yield member, function
            function = None  # one is enough


def main():
    objdump, wide, *libraries = sys.argv[1:]
    names = list(shown_names(objdump, wide))
    if not any(name.startswith(NAMESPACE) for name in names):
        sys.exit(f"{wide} shows no operation of 16 lanes")
    strangers = [f"  {wide} shows {name}" for name in names if not name.startswith(NAMESPACE)]
    inside = [function for _, function in functions_with_avx512(objdump, wide)]
    if not inside:
        sys.exit(f"{wide} has no AVX-512: nothing is tried here")
    early = [f"  {wide}: {name} runs before main" for name in inside if RUNS_BEFORE_MAIN.search(name)]
    others = [f"  {library}: {member}: {function}" for library in libraries
              for member, function in functions_with_avx512(objdump, library) if member != Path(wide).name]
    if strangers or early or others:
        sys.exit("AVX-512 that a CPU without it may meet:\n" + "\n".join([*strangers, *early, *others]))
    print(f"{len(names)} names, {len(inside)} functions with AVX-512, {len(libraries)} libraries without")


main()
