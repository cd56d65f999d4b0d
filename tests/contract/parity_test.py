"""The layout never changes the result: one deck on all meshes, with all schedules, and other cuts of the same work."""
import itertools
import os

from penstock import DROPOUT, MESHES, ONE, ContractTest, Mesh, curve, main, rows, write_tokens

# Sums in another order: over 20 steps of such a model the loss moves by up to 3e-7 and the norm by 3.3e-5, measured;
# the issue asks for 1e-5 and 1e-4.
LOSS, NORM = 1e-5, 1e-4
# bfloat16 keeps 8 bits (relative rounding 4e-3) in matrices and activations; what is summed in another order there is
# rounded in other places, and means over 1024 tokens bring it well below one such rounding.
BFLOAT16 = 5e-3


class MeshParityTest(ContractTest):
    """tiny.toml on all meshes, both schedules, optimizer sharded or not: 36 runs."""

    LABELS = ("parity",)
    CORES = 2
    TIMEOUT = 1800

    def test_all_meshes_and_schedules(self):
        self.train(settings=DROPOUT, run="reference")
        reference = self.folder / "reference"
        self.assertEqual(len(curve(reference)), 20)
        for mesh, schedule, shard in itertools.product(MESHES, ("fifo", "1f1b"), (True, False)):
            with self.subTest(mesh=str(mesh), schedule=schedule, shard=shard):
                run = self.folder / f"{mesh}-{schedule}-{shard}"
                settings = {**DROPOUT, "schedule.name": schedule, "optimizer.shard": shard}
                self.train(mesh=mesh, settings=settings, run=run)
                worst = self.assert_same_curve(reference, run, LOSS, NORM)
                print(f"{mesh} {schedule} shard={shard}: loss {worst['loss']:.1e} norm {worst['gradient_norm']:.1e}")
                if mesh.data == mesh.tensor == 1:  # stages add nothing up that one rank would add in another order
                    self.assertEqual(curve(run), curve(reference))


class ScheduleParityTest(ContractTest):
    """Every schedule with every recomputation; PENSTOCK_ALL_MESHES=1: on all of (pipeline 1, 2, 4) x (tensor 1, 2)."""

    LABELS = ("parity",)
    CORES = 2
    TIMEOUT = 1200

    def test_schedules_and_recomputation(self):
        common = {**DROPOUT, "run.steps": 4}
        meshes = [Mesh(1, 4, 1), Mesh(1, 2, 2)]
        if os.environ.get("PENSTOCK_ALL_MESHES"):
            meshes = [Mesh(1, pipeline, tensor) for pipeline in (1, 2, 4) for tensor in (1, 2)]
        reference = self.folder / "reference"
        self.train(settings=common, run=reference)
        schedules = ("fifo", "1f1b", "ring", "breadth-first", "zb-h1", "zb-h2", "zb-v")
        policies = ("none", "elementwise", "attention", "block", "block-local")
        for mesh, schedule, policy in itertools.product(meshes, schedules, policies):
            with self.subTest(mesh=str(mesh), schedule=schedule, policy=policy):
                run = self.folder / f"{mesh}-{schedule}-{policy}"
                chunks = 2 if schedule in ("ring", "breadth-first", "zb-v") else 1
                self.train(mesh=mesh, run=run, settings={**common, "schedule.name": schedule, "schedule.chunks": chunks,
                                                         "recompute.policy": policy})
                worst = self.assert_same_curve(reference, run, LOSS, NORM)
                print(f"{mesh} {schedule} {policy}: loss {worst['loss']:.1e} norm {worst['gradient_norm']:.1e}")
                if mesh.tensor == 1:
                    self.assertEqual(curve(run), curve(reference))


class ChoiceParityTest(ContractTest):
    """Other knobs that may not change the result, on a smaller model and over 10 steps."""

    LABELS = ("parity",)
    CORES = 2
    TIMEOUT = 1200

    def check(self, knobs, meshes, loss=LOSS, norm=NORM, common=None, deck=None):
        """Every mesh with `knobs` against one rank without them; `common` is set in both."""
        deck = deck or self.small_deck()
        common = {**DROPOUT, "run.steps": 10, **(common or {})}
        reference = self.folder / f"reference-{len(list(self.folder.iterdir()))}"
        self.train(deck=deck, settings=common, run=reference)
        for mesh in meshes:
            with self.subTest(mesh=str(mesh), knobs=knobs):
                run = self.folder / f"{mesh}-{len(list(self.folder.iterdir()))}"
                self.train(deck=deck, mesh=mesh, settings={**common, **knobs}, run=run)
                self.assert_same_curve(reference, run, loss, norm)
        return reference

    def test_without_sequence_parallel(self):
        self.check({"mesh.sequence_parallel": False}, [Mesh(1, 1, 2), Mesh(1, 2, 2), Mesh(2, 1, 4)])

    def test_fused_backward(self):
        self.check({"schedule.backward": "fused"}, [ONE, Mesh(1, 2, 1), Mesh(1, 4, 1), Mesh(2, 2, 2)])
        self.check({"schedule.backward": "fused", "schedule.name": "fifo"}, [Mesh(1, 4, 1), Mesh(1, 2, 2)])

    def test_given_partition(self):
        self.check({"schedule.partition": [1, 3]}, [Mesh(1, 2, 1), Mesh(2, 2, 2)])
        self.check({"schedule.partition": [2, 1, 1]}, [Mesh(1, 3, 1), Mesh(1, 3, 2)])

    def test_layers_that_stages_do_not_divide(self):
        deck = self.small_deck(model={"layers": 5})
        self.check({}, [Mesh(1, 2, 1), Mesh(1, 3, 1), Mesh(1, 4, 2), Mesh(1, 5, 1)], deck=deck)

    def test_vocabulary_that_tensor_ranks_do_not_divide(self):
        # 128 columns a block of padding: with 100 one tensor rank holds all, with 300 one holds 44 of its 128 or 256.
        for vocabulary in (100, 131, 300):
            self.check({}, [Mesh(1, 1, 2), Mesh(1, 2, 4), Mesh(2, 1, 2)], common={"model.vocabulary": vocabulary})

    def test_tensor_with_unsharded_optimizer(self):
        self.check({"optimizer.shard": False}, [Mesh(2, 1, 2), Mesh(4, 1, 1)])

    def test_microbatch_size(self):
        # Another microbatch cuts the sums over samples in other places; the samples are the same.
        for micro, meshes in ((2, [ONE, Mesh(2, 2, 1)]), (4, [ONE, Mesh(2, 1, 2)]), (8, [ONE, Mesh(1, 2, 2)])):
            self.check({"batch.micro": micro}, meshes)

    def test_fewer_microbatches_than_stages(self):
        self.check({"batch.micro": 4}, [Mesh(1, 4, 1), Mesh(2, 4, 1)])

    def test_bfloat16(self):
        bfloat16 = {"precision.compute": "bfloat16"}
        meshes = [Mesh(2, 1, 1), Mesh(1, 2, 1), Mesh(1, 1, 2), Mesh(2, 2, 2)]
        reference = self.check({}, meshes, loss=BFLOAT16, norm=BFLOAT16, common=bfloat16)
        single = self.folder / "float32"
        self.train(deck=self.small_deck(), settings={**DROPOUT, "run.steps": 10}, run=single)
        self.assert_same_curve(single, reference, loss=BFLOAT16, norm=5 * BFLOAT16)
        self.assertNotEqual(curve(single), curve(reference))  # it did compute with another type

    def test_validation_loss(self):
        held_back = write_tokens(self.folder / "validation.tok", 4000, seed=2)
        common = {"data.validation": str(held_back), "validation.every": 5, "validation.samples": 16}
        reference = self.check({}, [], common=common)
        texts = [row["validation_loss"] for row in rows(reference)]
        self.assertEqual([i + 1 for i, text in enumerate(texts) if text], [5, 10])
        for mesh in (Mesh(2, 1, 1), Mesh(1, 2, 2), Mesh(2, 4, 1)):
            with self.subTest(mesh=str(mesh)):
                run = self.folder / f"validation-{mesh}"
                self.train(deck=self.small_deck(), mesh=mesh, settings={**DROPOUT, **common, "run.steps": 10}, run=run)
                for text, row in zip(texts, rows(run)):
                    self.assertEqual(bool(text), bool(row["validation_loss"]))
                    if text:
                        self.assertLessEqual(abs(float(text) / float(row["validation_loss"]) - 1), LOSS)

    def test_ranks_in_two_threads(self):
        # A rank's threads cut the work, not the sums that a mesh must agree on to 1e-5.
        self.check({"device.threads": 2}, [ONE, Mesh(1, 2, 1)])


if __name__ == "__main__":
    main()
