# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and captures as h5py finds them: names, shapes, types, checksums, attributes; the same on every mesh."""
import tomllib

import h5py
import numpy

from penstock import DROPOUT, ONE, ContractTest, Mesh, capture, checkpoint, curve, datasets, main, relative_norm, rows

# Captured values pass through two steps on another mesh: sums in another order move them by some 1e-6.
TAPS = 1e-5
GROUPS = ("parameters", "optimizer/first_moment", "optimizer/second_moment")
# The model whose values are captured.
LAYERS, WIDTH, VOCABULARY, SAMPLES, POSITIONS = 4, 32, 131, 8, 16


def gpt2_shapes(layers, width, vocabulary, positions):
    """Names and shapes of the contract; a weight is [out, in]."""
    shapes = {"embedding.token.weight": (vocabulary, width), "embedding.position.weight": (positions, width),
              "final_norm.weight": (width,), "final_norm.bias": (width,)}
    for i in range(layers):
        for part, (rows_out, columns_in) in {"attention.qkv": (3 * width, width), "attention.output": (width, width),
                                             "mlp.up": (4 * width, width), "mlp.down": (width, 4 * width)}.items():
            shapes[f"blocks.{i}.{part}.weight"] = (rows_out, columns_in)
            shapes[f"blocks.{i}.{part}.bias"] = (rows_out,)
        for norm in ("attention_norm", "mlp_norm"):
            shapes[f"blocks.{i}.{norm}.weight"] = shapes[f"blocks.{i}.{norm}.bias"] = (width,)
    return shapes


class CheckpointFileTest(ContractTest):
    LABELS = ("parity",)

    def look_at(self, path, layers, width, vocabulary, positions, step, samples, seed):
        shapes = gpt2_shapes(layers, width, vocabulary, positions)
        with h5py.File(path, "r") as file:
            self.assertEqual(set(file), {"parameters", "optimizer"})
            self.assertEqual(set(file["optimizer"]), {"first_moment", "second_moment"})
            for group in GROUPS:
                self.assertEqual({name: item.shape for name, item in file[group].items()}, shapes)
                for name, item in file[group].items():
                    self.assertEqual(item.dtype, numpy.float32, name)
                    self.assertTrue(item.fletcher32, name)
                    self.assertIsNotNone(item.chunks, name)
                    self.assertTrue(numpy.isfinite(item[...]).all(), name)
            self.assertLessEqual({"format", "format_version", "deck"}, set(file.attrs))
            numbers = {name: int(file.attrs[name]) for name in ("step", "samples", "seed", "complete")}
            self.assertEqual(numbers, {"step": step, "samples": samples, "seed": seed, "complete": 1})
            deck = file.attrs["deck"]
            return tomllib.loads(deck.decode() if isinstance(deck, bytes) else deck)

    def test_names_shapes_and_attributes(self):
        for mesh in (ONE, Mesh(2, 2, 2)):
            run = f"run-{mesh}"
            self.train(mesh=mesh, settings={"run.stop": 2}, run=run, expect=75)
            deck = self.look_at(checkpoint(self.folder / run, 2), 8, 64, 256, 64, step=2, samples=32, seed=7)
            self.assertEqual(deck["mesh"]["data"], mesh.data)
            self.assertEqual(deck, tomllib.loads((self.folder / run / "deck.toml").read_text()))

    def test_no_padding_is_stored(self):
        deck = self.small_deck(model={"vocabulary": 131}, run={"steps": 1})
        self.train(deck=deck, mesh=Mesh(2, 1, 4), run="run")
        self.look_at(checkpoint(self.folder / "run", 1), 4, 32, 131, 16, step=1, samples=8, seed=3)

    def test_initial_weights_are_gpt2s(self):
        self.train(settings={"run.stop": 1, "checkpoint.initial": True}, run="run", expect=75)
        with h5py.File(checkpoint(self.folder / "run", 0)) as file:
            for name, item in file["parameters"].items():
                values = item[...]
                if "norm" in name or name.endswith("bias"):
                    self.assertTrue((values == (1 if name.endswith("norm.weight") else 0)).all(), name)
                    continue
                residual = name.endswith(("attention.output.weight", "mlp.down.weight"))
                deviation = 0.02 / (2 * 8) ** 0.5 if residual else 0.02
                # The spread of n normal numbers is known to 1/sqrt(2n): 8 times that never happens by chance.
                self.assertLess(abs(values.std() / deviation - 1), 8 / (2 * values.size) ** 0.5, name)
                self.assertLess(abs(values.mean()), 8 * deviation / values.size ** 0.5, name)

    def test_several_writers_write_the_same_file(self):
        for writers in (1, 2, 4):
            run = self.folder / f"writers-{writers}"
            self.train(deck=self.small_deck(), mesh=Mesh(2, 2, 1), run=run,
                       settings={"run.stop": 2, "checkpoint.writers": writers}, expect=75)
            self.assert_same_bits(checkpoint(self.folder / "writers-1", 2), checkpoint(run, 2))

    def test_only_finished_files_are_left(self):
        run = self.folder / "run"
        self.train(deck=self.small_deck(checkpoint={"every": 2}), mesh=Mesh(1, 2, 1), run=run)
        names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        self.assertEqual(names, {"deck.toml", "metrics.csv", "end.json", "ranks.csv", "costs.json"} |
                         {f"checkpoints/step-000000{step}.h5" for step in (16, 18, 20)})


class CaptureFileTest(ContractTest):
    LABELS = ("parity",)

    def deck(self):
        taps = ["embedding", "blocks.*", "blocks.*.attention", "blocks.*.mlp", "logits", "loss"]
        taps += [tap + ".gradient" for tap in taps if tap != "loss"]
        return self.small_deck(model={"vocabulary": VOCABULARY}, run={"steps": 3},
                               capture={"steps": [1, 3], "taps": taps})

    def expected(self):
        """Dataset: (shape, dimension names)."""
        tokens = (SAMPLES, POSITIONS)
        hidden = (*tokens, WIDTH), ("sample", "position", "channel")
        logits = (*tokens, VOCABULARY), ("sample", "position", "vocabulary")
        found = {"tokens": (tokens, ("sample", "position")), "targets": (tokens, ("sample", "position")),
                 "taps/loss": (tokens, ("sample", "position")), "taps/logits": logits, "taps/embedding": hidden}
        for i in range(LAYERS):
            for part in ("", ".attention", ".mlp"):
                found[f"taps/blocks.{i}{part}"] = hidden
        found.update({f"{name}.gradient": what for name, what in list(found.items())
                      if name.startswith("taps/") and name != "taps/loss"})
        return found

    def read(self, path, step):
        found = datasets(path)
        with h5py.File(path, "r") as file:
            self.assertEqual(int(file.attrs["step"]), step)
            names = {name: self.dimension_names(file[name]) for name in found}
        for name, what in self.expected().items():
            self.assertEqual((found[name].shape, names[name]), what, name)
        self.assertEqual(set(found), set(self.expected()))
        return found

    @staticmethod
    def dimension_names(dataset):
        text = dataset.attrs["dimensions"]
        return tuple((text.decode() if isinstance(text, bytes) else text).split(","))

    def test_captures_are_the_same_on_every_mesh(self):
        deck = self.deck()
        self.train(deck=deck, settings=DROPOUT, run="reference")
        # Without sequence parallelism tensor ranks hold equal copies, and one of them brings the values.
        others = [(Mesh(1, 2, 2), {}), (Mesh(2, 1, 1), {}), (Mesh(2, 2, 2), {}), (Mesh(1, 4, 1), {}),
                  (Mesh(1, 2, 4), {}), (Mesh(1, 1, 2), {"mesh.sequence_parallel": False}), (ONE, {"batch.micro": 4}),
                  (Mesh(2, 1, 2), {"schedule.name": "fifo", "checkpoint.writers": 2})]
        self.train_all({"deck": deck, "mesh": mesh, "settings": {**DROPOUT, **settings}, "run": f"run-{i}"}
                       for i, (mesh, settings) in enumerate(others))
        for i, (mesh, settings) in enumerate(others):
            for step in (1, 3):
                with self.subTest(mesh=str(mesh), settings=settings, step=step):
                    reference = self.read(capture(self.folder / "reference", step), step)
                    values = self.read(capture(self.folder / f"run-{i}", step), step)
                    far = {name: distance for name in reference
                           if (distance := relative_norm(reference[name], values[name])) > TAPS}
                    self.assertEqual(far, {})
                    for name in ("tokens", "targets"):
                        self.assertTrue((reference[name] == values[name]).all(), name)

    def test_values_hang_together(self):
        self.train(deck=self.deck(), mesh=Mesh(1, 2, 2), run="run")
        captured = self.read(capture(self.folder / "run", 3), 3)
        logits, targets, loss = captured["taps/logits"].astype(float), captured["targets"], captured["taps/loss"]
        largest = logits.max(axis=-1, keepdims=True)
        probabilities = numpy.exp(logits - largest)
        probabilities /= probabilities.sum(axis=-1, keepdims=True)
        of_target = numpy.take_along_axis(probabilities, targets[..., None].astype(int), axis=-1)[..., 0]
        # float32 logits of about 1: some 1e-7 a token.
        self.assertLess(numpy.abs(loss + numpy.log(of_target)).max(), 1e-5)
        self.assertLess(abs(loss.mean() - float(rows(self.folder / "run")[2]["loss"])), 1e-6)
        # The gradient of the step's mean loss: (p - one) / tokens.
        gradient = probabilities.copy()
        numpy.put_along_axis(gradient, targets[..., None].astype(int), of_target[..., None] - 1, axis=-1)
        gradient = (gradient / targets.size).astype(numpy.float32)
        self.assertLess(relative_norm(captured["taps/logits.gradient"], gradient), TAPS)
        # Without dropout a block's output is its input plus what attention and MLP add.
        for i in range(LAYERS):
            before = captured["taps/embedding"] if i == 0 else captured[f"taps/blocks.{i - 1}"]
            added = before + captured[f"taps/blocks.{i}.attention"] + captured[f"taps/blocks.{i}.mlp"]
            self.assertLess(relative_norm(captured[f"taps/blocks.{i}"], added), 1e-6, i)

    def test_bfloat16_is_captured_as_float32(self):
        self.train(deck=self.deck(), mesh=Mesh(1, 2, 2), settings={"precision.compute": "bfloat16"}, run="run")
        for name, values in self.read(capture(self.folder / "run", 1), 1).items():
            self.assertEqual(values.dtype, numpy.int32 if name in ("tokens", "targets") else numpy.float32, name)
            self.assertTrue(numpy.isfinite(values).all() and values.any(), name)

    def test_capturing_changes_nothing(self):
        self.train(deck=self.deck(), run="with")
        self.train(deck=self.small_deck(model={"vocabulary": VOCABULARY}, run={"steps": 3}), run="without")
        self.assertEqual(curve(self.folder / "with"), curve(self.folder / "without"))
        self.assert_same_bits(checkpoint(self.folder / "with", 3), checkpoint(self.folder / "without", 3))


if __name__ == "__main__":
    main()
