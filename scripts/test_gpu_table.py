# SPDX-License-Identifier: Apache-2.0
"""The table of scripts/test_gpu: its rows as Markdown and as JSON, and two of them next to each other."""

import json
from typing import NamedTuple, Optional

TOLERANCE = 0.03  # a speed or a size that is worse by more is marked
# What a row's number means when it is compared with an older one: more of it is better, less of it is better, it must be
# the same text, or it says something about the run and nothing is asked of it.
MORE, LESS, SAME, NOTE = "more", "less", "same", "note"
PASSED, FAILED, SKIPPED, LEFT_OUT, MEASURED = "passed", "failed", "skipped", "left out", "measured"


class Row(NamedTuple):
    check: str
    result: str
    number: Optional[object] = None  # a text stays as it is: what is compared digit by digit
    unit: str = ""
    better: str = NOTE
    why: str = ""  # of what did not pass: printed above the table

    def number_text(self):
        return text_of(self.number)


def text_of(number):
    if number is None:
        return ""
    if isinstance(number, float):
        return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    return str(number)


def lines_of(head, rows):
    """A Markdown table; columns are padded, so that it reads well as plain text, too."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def table(rows):
    return lines_of(("check", "result", "number", "unit"), [(r.check, r.result, r.number_text(), r.unit) for r in rows])


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ratio_of(old, new):
    if not (is_number(old.number) and is_number(new.number)) or old.number == 0:
        return None
    return new.number / old.number


def mark_of(old, new):
    """What a reader has to know of a row that was there before and is there now; nothing where all is well."""
    if new.result != old.result:
        return f"**{new.result}**, was {old.result}"
    if new.better == SAME:
        return "" if text_of(new.number) == text_of(old.number) else "**differs**"
    ratio = ratio_of(old, new)
    if ratio is None or new.better == NOTE:
        return ""
    gain = ratio - 1 if new.better == MORE else 1 - ratio
    return f"**worse** by {-gain:.1%}" if gain < -TOLERANCE else f"better by {gain:.1%}" if gain > TOLERANCE else ""


def comparison(old_rows, new_rows):
    """Rows of both in the new order, and then those that are gone."""
    old_by_check = {row.check: row for row in old_rows}
    cells = []
    for new in new_rows:
        old = old_by_check.pop(new.check, None)
        if old is None:
            cells.append((new.check, new.result, "", new.number_text(), "", new.unit, "new"))
            continue
        ratio = ratio_of(old, new)
        ratio_text = f"{ratio:.3f}" if ratio is not None and new.better in (MORE, LESS) else ""
        cells.append((new.check, new.result, old.number_text(), new.number_text(), ratio_text, new.unit,
                      mark_of(old, new)))  # fmt: skip
    cells += [(old.check, "", old.number_text(), "", "", old.unit, "**gone**")
              for old in old_by_check.values()]  # fmt: skip
    return lines_of(("check", "result", "old", "new", "ratio", "unit", ""), cells)


def write_json(path, about, rows):
    path.write_text(json.dumps({"about": about, "rows": [row._asdict() for row in rows]}, indent=1) + "\n")


def read_json(path):
    """What write_json wrote: (about, rows)."""
    said = json.loads(path.read_text())
    return said["about"], [Row(**row) for row in said["rows"]]
