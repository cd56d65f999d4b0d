# SPDX-License-Identifier: Apache-2.0
"""For the scripts that draw: goes on with a Python that has matplotlib."""

import importlib.util
import os
import subprocess
import sys

DEBIAN = "/usr/bin/python3"  # for which scripts/prepare installs


def has_matplotlib(python):
    try:
        return subprocess.run([python, "-c", "import matplotlib"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def go_on_with_matplotlib():
    """Returns where this Python has matplotlib; else begins again with Debian's, where another one comes first in PATH;
    else ends with exit code 2."""
    if importlib.util.find_spec("matplotlib"):
        return
    if has_matplotlib(DEBIAN):
        os.execv(DEBIAN, [DEBIAN, *sys.argv])
    program = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{program}: {sys.executable} has no matplotlib; scripts/prepare plot installs it for {DEBIAN}, "
          "pip install matplotlib for this one", file=sys.stderr)  # fmt: skip
    sys.exit(2)
