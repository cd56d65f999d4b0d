#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws loss, validation loss and speed of one run or several to a PNG.

    scripts/plot_run.py RUN... [-o FILE]       RUN: a run folder, or its metrics.csv; FILE: by default run.png in
                                               the first run's folder

The thin line is the loss of each step, the thick one its running mean, points are the held-back text. Small triangles
below mark the steps that are saved as checkpoints. Needs matplotlib; exit code 2 where a run cannot be read.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

from with_matplotlib import go_on_with_matplotlib

RUNNING_MEAN_STEPS = 20


class Run:
    """One metrics.csv, read as columns."""

    def __init__(self, name):
        given = Path(name)
        self.metrics = given / "metrics.csv" if given.is_dir() else given
        self.folder = self.metrics.parent
        self.label = self.folder.resolve().name
        try:
            self.take(self.read_rows())
        except (ValueError, KeyError, TypeError, csv.Error) as error:  # ValueError: also text that is no UTF-8
            raise SystemExit(f"plot_run: {self.metrics}: is no metrics.csv of a run ({error}); name a run folder")

    def take(self, rows):
        self.steps = [int(row["step"]) for row in rows]
        self.loss = [float(row["loss"]) for row in rows]
        self.speed = [float(row["tokens_per_second"]) for row in rows]
        judged = [row for row in rows if row.get("validation_loss")]
        self.validation_steps = [int(row["step"]) for row in judged]
        self.validation_loss = [float(row["validation_loss"]) for row in judged]

    def read_rows(self):
        try:
            with open(self.metrics, newline="") as file:
                text = file.read()
        except OSError as error:
            raise SystemExit(f"plot_run: {self.metrics}: {error.strerror}; name a run folder, such as runs/tiny")
        # A run that goes on may be in the middle of its last line.
        whole_lines = text[: text.rfind("\n") + 1].splitlines()
        rows = list(csv.DictReader(whole_lines))
        if not rows or "loss" not in rows[0]:
            raise SystemExit(f"plot_run: {self.metrics}: holds no step yet")
        return rows

    def checkpoint_steps(self):
        names = (path.name for path in (self.folder / "checkpoints").glob("step-*.h5"))
        found = (re.fullmatch(r"step-(\d+)\.h5", name) for name in names)
        return sorted(int(match.group(1)) for match in found if match)


def running_mean(values, steps):
    """The mean of the last `steps` values at each place (of fewer at the beginning)."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value
        if i >= steps:
            total -= values[i - steps]
        means.append(total / min(i + 1, steps))
    return means


def draw_loss(axes, run, colour):
    mean = running_mean(run.loss, RUNNING_MEAN_STEPS)
    axes.plot(run.steps, run.loss, color=colour, alpha=0.25, linewidth=0.6)
    axes.plot(run.steps, mean, color=colour, linewidth=1.6, label=f"{run.label}: training")
    if run.validation_steps:
        last = run.validation_loss[-1]
        axes.plot(run.validation_steps, run.validation_loss, color=colour, linestyle="--", linewidth=0.8, marker="o",
                  markersize=4, markeredgecolor="black", markeredgewidth=0.5,
                  label=f"{run.label}: held-back text, {last:.3f} at its end")
    saved = run.checkpoint_steps()
    if saved:
        axes.plot(saved, [0.02] * len(saved), color=colour, linestyle="", marker="^", markersize=6,
                  transform=axes.get_xaxis_transform(), label=f"{run.label}: checkpoints")


def draw_speed(axes, run, colour):
    axes.plot(run.steps, run.speed, color=colour, alpha=0.25, linewidth=0.6)
    axes.plot(run.steps, running_mean(run.speed, RUNNING_MEAN_STEPS), color=colour, linewidth=1.6)


def draw(runs, output):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (loss_axes, speed_axes) = pyplot.subplots(
        2, 1, sharex=True, figsize=(9, 7), gridspec_kw={"height_ratios": [2.2, 1]}, layout="constrained")
    colours = pyplot.rcParams["axes.prop_cycle"].by_key()["color"]
    for number, run in enumerate(runs):
        colour = colours[number % len(colours)]
        draw_loss(loss_axes, run, colour)
        draw_speed(speed_axes, run, colour)
    loss_axes.set_ylabel("loss (nats a token)")
    loss_axes.legend(fontsize="small")
    speed_axes.set_ylabel("tokens a second")
    speed_axes.set_xlabel("step")
    speed_axes.set_ylim(bottom=0)
    for axes in (loss_axes, speed_axes):
        axes.grid(alpha=0.3)
    figure.savefig(output, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder or metrics.csv")
    parser.add_argument("-o", "--output", metavar="FILE", help="the PNG (default: run.png in the first run's folder)")
    arguments = parser.parse_args()
    runs = [Run(name) for name in arguments.runs]
    output = arguments.output or runs[0].folder / "run.png"
    go_on_with_matplotlib()
    try:
        draw(runs, output)
    except (OSError, ValueError) as error:  # ValueError: a picture of a kind that matplotlib does not draw
        raise SystemExit(f"plot_run: {output}: {getattr(error, 'strerror', None) or error}")
    print(output)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise
