# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/test_gpu that have the GPU to themselves: the digits of some steps, and what is measured."""

import argparse
import csv
import json
import re
import tempfile
from pathlib import Path

from bench_gpu_step import Model, models_called
from test_gpu_pack import Refused
from test_gpu_session import LONGEST_PART, bench_gpu, why_of
from test_gpu_table import FAILED, LESS, MEASURED, MORE, PASSED, SAME, Row

STEPS = 20  # timed, after bench_gpu's warm-up
NUMBER_STEPS = 10
KERNELS = ("^(layer_norm|layer_norm_gradient|residual_layer_norm|whole_softmax_loss)/124M.*/bfloat16"
           "|^adamw/parameters/bfloat16")  # fmt: skip


class Numbers:
    """Loss and norm of the last of some steps, digit by digit."""

    def __init__(self, session):
        self.session = session

    def tiny(self):
        with tempfile.TemporaryDirectory(prefix="penstock-numbers-") as name:
            folder = Path(name)
            bench_gpu.write_token_file(folder / "tokens.tok", Model("tiny", 8, 64, 8, 64, 64, vocabulary=256))
            settings = {f"model.dropout_{place}": 0.1 for place in ("embedding", "residual", "attention")}
            return self._of("tiny, float32, dropout", self.session.tree.decks / "tiny.toml",
                            {"data.train": folder / "tokens.tok", **settings}, folder)  # fmt: skip

    def of_124M(self):
        model = models_called("124M")[0]
        with tempfile.TemporaryDirectory(prefix="penstock-numbers-") as name:
            folder, deck = Path(name), Path(name) / "deck.toml"
            bench_gpu.write_token_file(folder / "tokens.tok", model)
            deck.write_text(bench_gpu.deck_text(model, folder / "tokens.tok", initial=False))
            return self._of("124M, bfloat16", deck, {}, folder)

    def _of(self, name, deck, settings, folder):
        log, run = folder / "numbers.log", folder / "run"
        settings = {"device.measure": "false", "checkpoint.every": 0, **settings}
        words = [self.session.tree.build / "penstock", "train", deck, "--run", run]
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        with open(log, "w") as file, bench_gpu.started([str(word) for word in words], file) as process:
            for _ in bench_gpu.steps_as_they_come(process, run / "metrics.csv", NUMBER_STEPS, LONGEST_PART, log):
                pass  # until they are there
        with open(run / "metrics.csv", newline="") as file:
            row = list(csv.DictReader(file))[NUMBER_STEPS - 1]
        return [Row(f"{name}: loss of step {NUMBER_STEPS}", MEASURED, row["loss"], "", SAME),
                Row(f"{name}: gradient norm of step {NUMBER_STEPS}", MEASURED, row["gradient_norm"], "", SAME)]  # fmt: skip


class Speeds:
    """Time and memory of a training step, and of kernels."""

    def __init__(self, session):
        self.session = session

    def step(self):
        model = models_called("124M")[0]
        step, predicted = self._measured(model, bench_gpu.Penstock, [])
        settled, at_end = step.settled
        rows = [Row("124M, bfloat16: step", MEASURED, step.median() * 1e3, "ms", LESS),
                Row("124M, bfloat16: speed", MEASURED, model.tokens() / step.median(), "tokens/s", MORE),
                Row("124M, bfloat16: memory shown by nvidia-smi", MEASURED, step.megabytes, "MiB", LESS),
                Row("124M, bfloat16: memory predicted by check", MEASURED, predicted, "MiB", LESS),
                Row("124M, bfloat16: memory after step 2 and at the end", PASSED if at_end <= settled else FAILED,
                    at_end - settled, "MiB more", why="" if at_end <= settled else f"{settled}, then {at_end} MiB")]
        rows += [Row(f"124M, bfloat16: {what}", MEASURED, bench_gpu.leading_number(text), unit) for what, text, unit in
                 zip(("clock meanwhile", "power meanwhile"), step.card.split(", "), ("MHz", "W"))]  # fmt: skip
        return rows

    def kernels(self):
        program = next(iter(sorted(self.session.tree.build.rglob("bench.memory"))), None)
        if program is None:
            raise Refused("there is no bench.memory in the build: Google Benchmark was not found when it was made")
        with tempfile.TemporaryDirectory(prefix="penstock-kernels-") as name:
            listing = Path(name) / "kernels.json"
            words = [program, f"--benchmark_filter={KERNELS}", "--benchmark_min_time=0.05", f"--benchmark_out={listing}",
                     "--benchmark_out_format=json"]  # fmt: skip
            outcome = self.session.runner.run("bench.memory", words, max(1, min(LONGEST_PART, self.session.left())))
            if outcome.code != 0:
                raise Refused(why_of(outcome))
            return kernel_rows(listing.read_text())

    def two_gpus(self):
        """The step of 124M on each axis of the mesh; replicas each have a whole batch."""
        model = models_called("124M")[0]
        one = next((row.number for row in self.session.rows if row.check == "124M, bfloat16: speed"), None)
        ranks_of = ranks_under(self.session.tree.mpiexec)
        for axis, batch, micro in (("data", 64, 32), ("tensor", 32, 32), ("pipeline", 32, 4)):
            def measure(axis=axis, batch=batch, micro=micro):
                step, _ = self._measured(model._replace(batch=batch), ranks_of, [f"mesh.{axis}=2", f"batch.micro={micro}"])
                rate = batch * model.sequence / step.median()
                name = f"124M, bfloat16, two GPUs, {axis} 2"
                rows = [Row(f"{name}: step", MEASURED, step.median() * 1e3, "ms", LESS),
                        Row(f"{name}: speed", MEASURED, rate, "tokens/s", MORE)]  # fmt: skip
                return rows + ([Row(f"{name}: of twice one GPU's", MEASURED, 50 * rate / one, "%", MORE)] if one else [])

            self.session.part(f"two GPUs: {axis} 2", measure, 60)

    def _measured(self, model, penstock_of, settings):
        """A step of the model: (Measured, predicted MiB of rank 0)."""
        with tempfile.TemporaryDirectory(prefix="penstock-speed-") as name:
            arguments = argparse.Namespace(program=self.session.tree.build / "penstock", penstock_only=True, steps=STEPS,
                                           patience=LONGEST_PART, set=settings)  # fmt: skip
            penstock = penstock_of(arguments, model, Path(name))
            try:
                return penstock.measure(bench_gpu.used_megabytes()), penstock.predicted_megabytes()
            finally:
                self.session.runner.end_all()  # before the folder goes


def kernel_rows(listing):
    rows = []
    for run in json.loads(listing)["benchmarks"]:
        name, _, rest = run["name"].partition("/")
        shape = re.search(r"\d+x\d+", rest)
        rows.append(Row(f"kernel {name}, {shape.group() if shape else 'parameters of 124M'}", MEASURED, run["of_copy_%"],
                        "% of a copy", MORE))  # fmt: skip
    if not rows:
        raise Refused(f"bench.memory measured nothing that matches {KERNELS}")
    return rows


def ranks_under(mpiexec):
    """bench_gpu's Penstock with two ranks, each with a GPU of its own."""
    class TwoRanks(bench_gpu.Penstock):
        def _command(self, name, run, initial):
            return [mpiexec, "-n", "2", *super()._command(name, run, initial)]

    return TwoRanks

