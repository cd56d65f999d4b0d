# SPDX-License-Identifier: Apache-2.0
"""A NaN, or a product that overflows, planted in a checkpoint at a random layer and rank: named exactly, and the run stopped
with its evidence or its updates skipped. No run ends well with weights that are not finite."""
import json
import os
import random
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contract"))

import h5py  # noqa: E402
import numpy  # noqa: E402
from penstock import TINY, ContractTest, Mesh, checkpoint, main, rows  # noqa: E402

MESH = Mesh(2, 2, 2)
LAYERS, WIDTH, SAMPLES = 8, 64, 16  # of input/tiny.toml
STEPS = 2  # before the restart
SEED = int(os.environ.get("PENSTOCK_SEED", "11"))


def rank_of(data, pipeline, tensor):
    return (pipeline * MESH.data + data) * MESH.tensor + tensor


def tensor_ranks(name, index):
    """Which tensor ranks hold an element: q, k and v are cut each for itself, other matrices along one side."""
    if name.endswith("attention.qkv.weight"):
        return [index[0] % WIDTH // (WIDTH // MESH.tensor)]
    if name.endswith("mlp.up.weight"):
        return [index[0] // (4 * WIDTH // MESH.tensor)]
    if name.endswith("attention.output.weight"):
        return [index[1] // (WIDTH // MESH.tensor)]
    if name.endswith("mlp.down.weight"):
        return [index[1] // (4 * WIDTH // MESH.tensor)]
    return list(range(MESH.tensor))


class NonfiniteTest(ContractTest):
    TIMEOUT = 400

    def setUp(self):
        super().setUp()
        self.source = random.Random(SEED)
        run = self.shared_run("first", deck=TINY, mesh=MESH, settings={"run.stop": STEPS}, expect=75)
        self.whole = checkpoint(run, STEPS)

    def planted(self, name):
        """A copy of the checkpoint, to be changed."""
        path = self.folder / name
        shutil.copy(self.whole, path)
        return path

    def plant_nan(self, path):
        block = self.source.randrange(LAYERS)
        part = self.source.choice(["attention.qkv.weight", "attention.output.weight", "mlp.up.weight", "mlp.down.weight",
                                   "mlp_norm.weight"])
        name = f"blocks.{block}.{part}"
        with h5py.File(path, "r+") as file:
            values = file[f"parameters/{name}"]
            index = tuple(self.source.randrange(extent) for extent in values.shape)
            values[index] = numpy.nan
        pipeline = block // (LAYERS // MESH.pipeline)
        ranks = sorted(rank_of(d, pipeline, t) for d in range(MESH.data) for t in tensor_ranks(name, index))
        return f"{name}[{', '.join(map(str, index))}]", ranks

    def go_on(self, path, run, **settings):
        return self.train(deck=TINY, mesh=MESH, settings=settings, run=run, restart=path, expect=1)

    def test_a_nan_is_named_and_the_evidence_kept(self):
        for attempt in range(4):
            path, run = self.planted(f"nan-{attempt}.h5"), self.folder / f"nan-{attempt}"
            element, ranks = self.plant_nan(path)
            result = self.go_on(path, run)
            named = f"the first value that is not finite: {element} on rank {ranks[0]} ("
            also = f"(also on ranks {', '.join(map(str, ranks[1:]))})"
            report = (run / "report.txt").read_text()
            for text in (result.err, report):
                self.assertIn(named, text)
                self.assertIn(also, text)
            self.assertIn(f"samples {STEPS * SAMPLES} to {(STEPS + 1) * SAMPLES - 1} of seed", report)
            print(named + "...) " + also)
            evidence = run / f"evidence/step-{STEPS:08d}.h5"
            self.assertIn(str(evidence), report)
            self.assert_same_bits(evidence, path)
            self.assertEqual(list((run / "checkpoints").iterdir()), [])

    def plant_overflow(self, path):
        """Finite weights whose products are not: the block, and the rank that meets it first."""
        block, row, column = (self.source.randrange(n) for n in (LAYERS, WIDTH, 4 * WIDTH))
        with h5py.File(path, "r+") as file:
            file[f"parameters/blocks.{block}.mlp.up.bias"][column] = 1e3  # what GELU passes on
            file[f"parameters/blocks.{block}.mlp.down.weight"][row, column] = 3e38
        return block, rank_of(0, block // (LAYERS // MESH.pipeline), tensor_ranks("mlp.down.weight", (row, column))[0])

    def test_a_product_that_overflows_is_named(self):
        for attempt in range(2):
            path, run = self.planted(f"overflow-{attempt}.h5"), self.folder / f"overflow-{attempt}"
            block, rank = self.plant_overflow(path)
            result = self.go_on(path, run)
            named = (f"the first value that is not finite: this rank's part of the sum before blocks.{block}.mlp, forward "
                     f"pass, microbatch 0 (samples {STEPS * SAMPLES} to {STEPS * SAMPLES + 1}), on rank {rank} (")
            self.assertIn(named, result.err)
            print(named)

    def test_skipped_updates_leave_all_ranks_alike(self):
        path, run = self.planted("skip.h5"), self.folder / "skip"
        block, rank = self.plant_overflow(path)
        result = self.go_on(path, run, **{"watchdog.nonfinite": "skip", "checkpoint.every": 1})
        self.assertEqual(list((run / "checkpoints").iterdir()), [], "no step has changed what the restart began with")
        self.assertIn("no older checkpoint than the state that fails", result.err)
        # The first is shown at once, the others with the last of them.
        self.assertEqual(result.err.count("the update is skipped"), 2, result.err)
        self.assertRegex(result.err, r"the update is skipped.* \(the last of 9 of these in the last \d+ min\)")
        self.assertEqual(result.err.count(f"before blocks.{block}.mlp, forward"), 1, "one search for all in a row")
        self.assertIn(f"on rank {rank} (", result.err)
        self.assertIn("10 updates in a row were skipped before", result.err)
        self.assertEqual([row["skipped"] for row in rows(run)], ["1"] * 10)
        self.assert_same_bits(run / f"evidence/step-{STEPS + 10:08d}.h5", path)

    def test_no_update_is_skipped_behind_a_weight_that_is_nan(self):
        """Not even where fewer steps are left than may be skipped: such a run is not done."""
        path, run = self.planted("hopeless.h5"), self.folder / "hopeless"
        element, ranks = self.plant_nan(path)
        result = self.go_on(path, run, **{"watchdog.nonfinite": "skip", "run.steps": STEPS + 3})
        self.assertIn(f"{element} on rank {ranks[0]}", result.err)
        self.assertIn("no later step would be finite", result.err)
        self.assertNotIn("the update is skipped", result.err)
        self.assert_failed_without_checkpoint(run)
        self.assert_same_bits(run / f"evidence/step-{STEPS:08d}.h5", path)

    def test_a_last_update_that_makes_a_weight_nan_is_no_good_end(self):
        """Loss and gradients of the last step are finite, and no later one tells what has become of the weights."""
        path, run = self.planted("moment.h5"), self.folder / "moment"
        with h5py.File(path, "r+") as file:
            file["optimizer/first_moment/blocks.5.mlp.up.weight"][200, 30] = numpy.nan
        result = self.go_on(path, run, **{"run.steps": STEPS + 1})
        rank = rank_of(0, 1, tensor_ranks("mlp.up.weight", (200, 30))[0])
        self.assertIn("blocks.5.mlp.up.weight[200, 30] is nan on rank", result.err)
        self.assertRegex(result.err, f"the last step, {STEPS + 1}, could not be saved: .* on rank ({rank}|{rank + MESH.tensor}):")
        self.assert_failed_without_checkpoint(run)

    def assert_failed_without_checkpoint(self, run):
        status = json.loads(self.penstock("status", run, "--json").out)
        self.assertEqual((status["state"], list((run / "checkpoints").iterdir())), ("failed", []))


if __name__ == "__main__":
    main()
