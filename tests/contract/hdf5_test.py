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


# Of the models whose heads are looked at. With 4 tensor ranks each head of keys is on two of them.
HEADS, KEY_HEADS, STEP, THETA, EPSILON = 4, 2, 3, 500.0, 1e-5
MESHES = (ONE, Mesh(1, 2, 2), Mesh(1, 1, 4), Mesh(2, 1, 2))


class RotatedHeadsTest(ContractTest):
    """The taps of q and k as attention reads them, against the same from the checkpoint's weights in float64."""

    LABELS = ("parity",)

    def deck(self, family, channels, **model):
        taps = ["embedding", "blocks.*", "blocks.*.attention.query", "blocks.*.attention.key"]
        return self.small_deck(
            model={"family": family, "vocabulary": VOCABULARY, "kv_heads": KEY_HEADS, "head_channels": channels,
                   "hidden": 40, "rope_theta": THETA, "norm_epsilon": EPSILON, **model},
            run={"steps": STEP}, optimizer={"learning_rate": 0.01, "warmup": 1}, checkpoint={"every": 1, "keep": 0},
            capture={"steps": [STEP], "taps": taps})

    def normalized(self, x, weight):
        return x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON) * weight

    def rotated(self, x, factor):
        """[sample, position, head, channel], halves turned by position / factor * theta^(-2 c / channels)."""
        channels = x.shape[-1]
        angles = numpy.arange(x.shape[1])[:, None] / factor * THETA ** (-2 * numpy.arange(channels // 2) / channels)
        cos, sin = numpy.cos(angles)[:, None, :], numpy.sin(angles)[:, None, :]
        first, second = x[..., : channels // 2], x[..., channels // 2:]
        return numpy.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def expected(self, state, captured, channels, factor):
        """By tap, from each block's captured input and the weights that the step began with."""
        found = {}
        for i in range(LAYERS):
            block = f"blocks.{i}."
            weight = {name: values.astype(float) for name, values in state.items()}
            x = captured["taps/embedding" if i == 0 else f"taps/blocks.{i - 1}"].astype(float)
            qkv = self.normalized(x, weight[block + "attention_norm.weight"]) @ weight[block + "attention.qkv.weight"].T
            qkv = qkv + weight.get(block + "attention.qkv.bias", 0)
            ends = HEADS * channels, (HEADS + KEY_HEADS) * channels
            for name, part in (("query", qkv[..., :ends[0]]), ("key", qkv[..., ends[0]:ends[1]])):
                heads = part.reshape(*part.shape[:2], -1, channels)
                if f"{block}attention.{name}_norm.weight" in weight:
                    heads = self.normalized(heads, weight[f"{block}attention.{name}_norm.weight"])
                found[f"taps/{block}attention.{name}"] = self.rotated(heads, factor)
        return found

    def look_at(self, family, channels, factor, **model):
        deck = self.deck(family, channels, **model)
        self.train_all({"deck": deck, "mesh": mesh, "run": f"{family}-{mesh}"} for mesh in MESHES)
        for mesh in MESHES:
            run = self.folder / f"{family}-{mesh}"
            state = {name.removeprefix("parameters/"): values for name, values in datasets(checkpoint(run, STEP - 1)).items()
                     if name.startswith("parameters/")}
            with h5py.File(capture(run, STEP), "r") as file:
                dimensions = file[f"taps/blocks.{LAYERS - 1}.attention.key"].attrs["dimensions"]
            self.assertEqual(dimensions.decode() if isinstance(dimensions, bytes) else dimensions, "sample,position,head,channel")
            captured = datasets(capture(run, STEP))
            expected = self.expected(state, captured, channels, factor)
            self.assertEqual(set(captured), set(expected) | {"tokens", "targets", "taps/embedding"} |
                             {f"taps/blocks.{i}" for i in range(LAYERS)})
            for name, values in expected.items():
                with self.subTest(mesh=str(mesh), tap=name):
                    self.assertEqual(captured[name].shape, values.shape)
                    self.assertLess(relative_norm(captured[name], values), 1e-6)

    def test_with_biases_and_stretched_positions(self):
        self.look_at("llama", 8, 4, attention_bias=True, rope_scaling="linear", rope_factor=4.0)

    def test_after_norms_of_heads(self):
        self.look_at("qwen3", 12, 1)

    def test_learned_positions_have_none(self):
        deck = self.small_deck(capture={"steps": [1], "taps": ["blocks.*.attention.query"]})
        result = self.train(deck=deck, run="none", expect=2)
        self.assertIn('capture.taps names "blocks.*.attention.query", which the model does not have', result.err)


if __name__ == "__main__":
    main()
