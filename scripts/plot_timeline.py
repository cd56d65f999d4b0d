#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the traced steps of a run to a PNG: predicted times above measured ones.

    scripts/plot_timeline.py RUN [-o FILE] [--step N]    RUN: a run folder, or its trace.json; FILE: by default
                                                         timeline.png beside it; N: by default the last traced step

A row a rank, a box an action: F forward, I and W the halves of the backward pass, B both, U the update and the other
work of the whole step; white is waiting. Needs matplotlib; exit code 2 where the trace cannot be read.
"""

import argparse
import json
import sys
from pathlib import Path

from with_matplotlib import go_on_with_matplotlib

COLOURS = {
    "forward": "#4c78a8",
    "input gradient": "#f58518",
    "weight gradient": "#54a24b",
    "backward": "#e45756",
}
WHOLE_STEP = "#b0b0b0"
FEWEST_SHOWN = 0.004  # of the step: narrower boxes get no letters


class Unreadable(Exception):
    pass


def read_events(path):
    try:
        events = json.loads(path.read_text())["traceEvents"]
        events = [event for event in events if event.get("ph") in ("X", "M")]
        for event in events:
            check_event(event)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}; trace a step with --set 'trace.steps=[12]'") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{path}: is no trace of Penstock's; trace a step with --set 'trace.steps=[12]'") from error
    return events


def check_event(event):
    """Raises where something is missing that is drawn, or is of another type."""
    if event["ph"] == "X":
        texts, numbers = [event["name"], event["cat"]], [event[key] for key in ("pid", "tid", "ts", "dur")]
        numbers.append(event["args"]["step"])
    else:
        texts, numbers = [event["name"], event["args"]["name"]], [event["pid"]]
        if event["name"] == "thread_name":
            numbers.append(event["tid"])
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, (int, float)) for n in numbers):
        raise TypeError(event)


EARLIER_NAMES = {"predicted": "foretold"}  # in traces of version 0.1.0


def lanes_of(events, process):
    """{thread: name} of the process with that name, and its number; none if there is no prediction."""
    names = (process, EARLIER_NAMES.get(process))
    numbers = [e["pid"] for e in events if e["name"] == "process_name" and e["args"]["name"] in names]
    if not numbers:
        return {}, None
    named = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == numbers[0]}
    return named, numbers[0]


def draw(axes, events, process, step, title):
    """Boxes of one process and step; the seconds that the step took."""
    lanes, number = lanes_of(events, process)
    boxes = [e for e in events if e["ph"] == "X" and e["pid"] == number and e["args"]["step"] == step]
    if not boxes:
        axes.set_title(f"{title}: nothing", loc="left", fontsize=9)
        axes.set_yticks([])
        return 0.0
    first = min(e["ts"] for e in boxes)
    last = max(e["ts"] + e["dur"] for e in boxes)
    for event in boxes:
        if event["name"].count("<") or event["name"].count(">"):
            continue  # transfers go beside the computing
        left, width = (event["ts"] - first) / 1e3, event["dur"] / 1e3
        colour = COLOURS.get(event["cat"], WHOLE_STEP)
        axes.barh(event["tid"], width, left=left, height=0.9, color=colour, edgecolor="white", linewidth=0.4)
        if event["dur"] > FEWEST_SHOWN * (last - first) * len(event["name"]):
            axes.text(left + width / 2, event["tid"], event["name"], ha="center", va="center", fontsize=6, color="white")
    axes.set_yticks(sorted(lanes), [lanes[lane] for lane in sorted(lanes)], fontsize=7)
    axes.invert_yaxis()
    axes.set_title(f"{title}: {(last - first) / 1e3:.3f} ms", loc="left", fontsize=9)
    return (last - first) / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--step", type=int)
    arguments = parser.parse_args()
    path = arguments.run / "trace.json" if arguments.run.is_dir() else arguments.run
    try:
        events = read_events(path)
        steps = sorted({e["args"]["step"] for e in events if e["ph"] == "X"})
        step = arguments.step if arguments.step is not None else (steps[-1] if steps else None)
        if step not in steps:
            raise Unreadable(f"{path}: holds the steps {steps}, not {step}")
    except Unreadable as error:
        print(f"plot_timeline: {error}", file=sys.stderr)
        sys.exit(2)
    go_on_with_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    predicted_lanes, measured_lanes = lanes_of(events, "predicted")[0], lanes_of(events, "measured")[0]
    heights = [max(1, len(predicted_lanes)), max(1, len(measured_lanes))]
    figure, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(12, 1.5 + 0.35 * sum(heights)), gridspec_kw={"height_ratios": heights}
    )
    draw(above, events, "predicted", step, f"step {step}, predicted")
    draw(below, events, "measured", step, f"step {step}, measured")
    below.set_xlabel("milliseconds since the step began")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in [*COLOURS.values(), WHOLE_STEP]]
    figure.legend(handles, [*COLOURS, "of the whole step"], loc="upper right", ncols=5, fontsize=7)
    figure.tight_layout()
    output = arguments.output or path.parent / "timeline.png"
    try:
        figure.savefig(output, dpi=150)
    except (OSError, ValueError) as error:  # ValueError: a picture of a kind that matplotlib does not draw
        print(f"plot_timeline: {output}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        sys.exit(2)
    print(output)


if __name__ == "__main__":
    main()
