# SPDX-License-Identifier: Apache-2.0
"""json_lines.py FILE KEY: prints what `penstock status --get KEY` and `penstock check --get KEY` print of that JSON, for
made-up programs."""
import json
import sys
from pathlib import Path


def values_at(value, names):
    if not names:
        return [value]
    if value is None:
        return []
    if names[0] == "*":
        return [found for element in value for found in values_at(element, names[1:])]
    return values_at(value[names[0]], names[1:])


file, key = sys.argv[1:]
for found in values_at(json.loads(Path(file).read_text()), key.split(".")):
    print(found if isinstance(found, str) else json.dumps(found))
