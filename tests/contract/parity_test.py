# SPDX-License-Identifier: Apache-2.0
"""The layout never changes the result: one model on all meshes, with all schedules, and other cuts of the same work."""
import itertools

from covering import Covering
from penstock import DROPOUT, MESHES, ONE, ContractTest, Mesh, curve, main, rows, write_tokens

# Sums in another order: over 20 steps of such a model the loss moves by up to 3e-7 and the norm by 3.3e-5, measured;
# the issue asks for 1e-5 and 1e-4.
LOSS, NORM = 1e-5, 1e-4
# Over the few steps of PairParityTest 2.3e-8 and 2.6e-6, measured.
PAIR_LOSS, PAIR_NORM = 1e-6, 3e-5
# bfloat16 keeps 8 bits (relative rounding 4e-3) in matrices and activations; what is summed in another order there is
# rounded in other places, and means over 1024 tokens bring it well below one such rounding.
BFLOAT16 = 5e-3

SCHEDULES = ("fifo", "1f1b", "ring", "breadth-first", "zb-h1", "zb-h2", "zb-v")
POLICIES = ("none", "elementwise", "attention", "block", "block-local")
CHUNKS = {"ring": 2, "breadth-first": 2, "zb-v": 2}
# Of sizes that nothing divides: 9 blocks on 2, 4 or 8 stages; with 300 columns in blocks of 128, tensor ranks have unequal
# parts of the vocabulary.
LAYERS, VOCABULARY, SAMPLES, STEPS = 9, 300, 8, 6
# What a run may choose. None: its axis has one rank.
CHOICES = {
    "schedule": SCHEDULES, "policy": POLICIES, "data": (1, 2, 4), "pipeline": (1, 2, 3, 4, 8), "tensor": (1, 2, 4),
    "backward": ("split", "fused"), "shard": (None, True, False), "sequence_parallel": (None, True, False),
    "micro": (1, 2, 4), "dropout": (0.0, 0.1), "threads": (1, 2), "partition": ("balanced", "first is largest"),
    "family": ("gpt2", "qwen3"),
}
# A second family: RMSNorm, rotary positions, norms of heads, SwiGLU, a head of its own, and two heads of keys, of which four
# tensor ranks hold copies.
FAMILIES = {"gpt2": {}, "qwen3": {"model.family": "qwen3", "model.kv_heads": 2, "model.hidden": 52}}


def is_possible(choice):
    """Whether such a run, or one that chooses more, can be."""
    def of(name, absent=1):
        return choice.get(name, absent)
    split_axes = {"shard": "data", "sequence_parallel": "tensor"}
    return (of("data") * of("pipeline") * of("tensor") <= 8
            and of("data") * of("micro") <= SAMPLES
            and of("pipeline") * CHUNKS.get(of("schedule"), 1) <= LAYERS
            and not (str(of("schedule")).startswith("zb") and of("backward") == "fused")
            and all((choice[axis] == 1) == (choice[switch] is None) for switch, axis in split_axes.items()
                    if {switch, axis} <= set(choice)))


# The pairs that cannot be, each side as one of several.
IMPOSSIBLE = [
    ({"schedule": ("ring", "breadth-first", "zb-v")}, {"pipeline": (8,)}),  # 16 stages
    ({"schedule": ("zb-h1", "zb-h2", "zb-v")}, {"backward": ("fused",)}),
    ({"data": (4,)}, {"pipeline": (3, 4), "tensor": (4,), "micro": (4,)}),  # 8 ranks, 8 samples
    ({"pipeline": (8,)}, {"data": (2, 4), "tensor": (2, 4), "shard": (True, False), "sequence_parallel": (True, False)}),
    ({"pipeline": (3, 4)}, {"tensor": (4,)}),
    ({"data": (1,)}, {"shard": (True, False)}), ({"data": (2, 4)}, {"shard": (None,)}),
    ({"tensor": (1,)}, {"sequence_parallel": (True, False)}), ({"tensor": (2, 4)}, {"sequence_parallel": (None,)}),
]


def partition(choice):
    """Blocks of each stage: all that are too many on the first."""
    stages = choice["pipeline"] * CHUNKS.get(choice["schedule"], 1)
    return [LAYERS - stages + 1] + [1] * (stages - 1)


class PairParityTest(ContractTest):
    """Every possible pair of choices, in a run at least."""

    LABELS = ("parity",)
    TIMEOUT = 900

    def setUp(self):
        super().setUp()
        self.validation = write_tokens(self.folder / "validation.tok", 4000, seed=2)
        self.deck = self.small_deck(model={"layers": LAYERS, "vocabulary": VOCABULARY}, run={"steps": STEPS},
                                    validation={"every": STEPS // 2, "samples": 8})

    def test_every_pair(self):
        covering = Covering(CHOICES, is_possible)
        array = covering.array([mesh._asdict() for mesh in MESHES])
        self.assertEqual({frozenset(pair.items()) for pair in covering.uncovered(array)}, self.impossible())
        self.references()
        self.train_all(self.options(i, choice) for i, choice in enumerate(array))
        for i, choice in enumerate(array):
            with self.subTest(**choice):
                self.compare(self.folder / f"run-{i}", choice)
        print(f"{len(array)} runs")

    def impossible(self):
        return {frozenset({(a, x), (b, y)}) for one, other in IMPOSSIBLE
                for (a, its), (b, others) in itertools.product(one.items(), other.items())
                for x, y in itertools.product(its, others)}

    def settings(self, choice):
        dropout = {key: choice["dropout"] for key in DROPOUT}
        return {**dropout, **FAMILIES[choice["family"]], "batch.micro": choice["micro"],
                "data.validation": str(self.validation)}

    def references(self):
        """One rank in one thread, with each dropout and size of microbatches, which agree on the result."""
        choices = [dict(zip(("dropout", "micro", "family"), values))
                   for values in itertools.product(CHOICES["dropout"], CHOICES["micro"], CHOICES["family"])]
        self.train_all({"deck": self.deck, "settings": self.settings(choice), "run": self.reference(choice)}
                       for choice in choices)
        for choice in choices:
            self.assert_same_curve(self.reference({**choice, "micro": 1}), self.reference(choice), PAIR_LOSS, PAIR_NORM)
        evaluated = [step for step, row in enumerate(rows(self.reference(choices[0])), 1) if row["validation_loss"]]
        self.assertEqual(evaluated, [STEPS // 2, STEPS])
        self.assertNotEqual(*(curve(self.reference({"dropout": dropout, "micro": 1, "family": "gpt2"})) for dropout in CHOICES["dropout"]))

    def reference(self, choice):
        return self.folder / f"reference-{choice['dropout']}-{choice['micro']}-{choice['family']}"

    def options(self, i, choice):
        settings = {**self.settings(choice), "device.threads": choice["threads"], "schedule.name": choice["schedule"],
                    "schedule.chunks": CHUNKS.get(choice["schedule"], 1), "schedule.backward": choice["backward"],
                    "recompute.policy": choice["policy"]}
        if choice["partition"] != "balanced":
            settings["schedule.partition"] = partition(choice)
        for key, switch in (("optimizer.shard", "shard"), ("mesh.sequence_parallel", "sequence_parallel")):
            if choice[switch] is not None:
                settings[key] = choice[switch]
        return {"deck": self.deck, "mesh": self.mesh(choice), "settings": settings, "run": self.folder / f"run-{i}"}

    def mesh(self, choice):
        return Mesh(*(choice[axis] for axis in Mesh._fields))

    def compare(self, run, choice):
        reference = self.reference(choice)
        worst = self.assert_same_curve(reference, run, PAIR_LOSS, PAIR_NORM)
        print(f"{choice}: loss {worst['loss']:.1e} norm {worst['gradient_norm']:.1e}")
        for expected, row in zip(rows(reference), rows(run)):
            self.assertEqual(bool(expected["validation_loss"]), bool(row["validation_loss"]))
            if expected["validation_loss"]:
                self.assertLessEqual(abs(float(row["validation_loss"]) / float(expected["validation_loss"]) - 1), PAIR_LOSS)
        if choice["data"] == choice["tensor"] == choice["threads"] == 1:
            self.assertEqual(curve(run), curve(reference))  # stages add nothing up that one rank would add otherwise


class ChoiceParityTest(ContractTest):
    """What PairParityTest does not choose."""

    LABELS = ("parity",)

    def check(self, meshes, loss=LOSS, norm=NORM, common=None):
        """Every mesh (with settings of its own) against one rank; `common` is set in all."""
        deck, common = self.small_deck(), {**DROPOUT, "run.steps": 10, **(common or {})}
        names = [f"{mesh}-{i}" for i, (mesh, _) in enumerate(meshes)]
        runs = [{"run": "reference"}]
        runs += [{"run": name, "mesh": mesh, "settings": settings} for name, (mesh, settings) in zip(names, meshes)]
        self.train_all({**run, "deck": deck, "settings": {**common, **run.get("settings", {})}} for run in runs)
        for name in names:
            with self.subTest(run=name):
                self.assert_same_curve(self.folder / "reference", self.folder / name, loss, norm)

    def test_a_vocabulary_that_one_tensor_rank_holds_alone(self):
        self.check([(Mesh(1, 1, 2), {}), (Mesh(1, 2, 4), {})], common={"model.vocabulary": 100})

    def test_all_samples_in_one_microbatch(self):
        self.check([(ONE, {"batch.micro": 8}), (Mesh(1, 2, 2), {"batch.micro": 8})])

    def test_bfloat16(self):
        """Each schedule and each policy once; the tolerance would hide what float32 shows."""
        bfloat16 = {"precision.compute": "bfloat16"}
        meshes = [Mesh(2, 1, 1), Mesh(1, 2, 1), Mesh(1, 1, 2), Mesh(2, 2, 2), Mesh(2, 2, 1), Mesh(1, 2, 2), Mesh(1, 2, 1)]
        runs = [(mesh, {"schedule.name": schedule, "schedule.chunks": CHUNKS.get(schedule, 1), "recompute.policy": policy,
                        "schedule.backward": "split" if i % 2 or schedule.startswith("zb") else "fused"})
                for i, (mesh, schedule, policy) in enumerate(zip(meshes, SCHEDULES, itertools.cycle(POLICIES)))]
        self.check(runs, loss=BFLOAT16, norm=BFLOAT16, common=bfloat16)
        single = self.folder / "float32"
        self.train(deck=self.small_deck(), settings={**DROPOUT, "run.steps": 10}, run=single)
        self.assert_same_curve(single, self.folder / "reference", loss=BFLOAT16, norm=5 * BFLOAT16)
        self.assertNotEqual(curve(single), curve(self.folder / "reference"))  # it did compute with another type


class ProductTest(ContractTest):
    """Full products; every run against one rank."""

    def check(self, choices, common):
        """`choices` are (mesh, settings)."""
        self.train(settings=common, run="reference")
        choices = list(choices)
        self.train_all({"mesh": mesh, "settings": {**common, **settings}, "run": f"run-{i}"}
                       for i, (mesh, settings) in enumerate(choices))
        for i, (mesh, settings) in enumerate(choices):
            with self.subTest(mesh=str(mesh), **settings):
                run, reference = self.folder / f"run-{i}", self.folder / "reference"
                worst = self.assert_same_curve(reference, run, LOSS, NORM)
                print(f"{mesh} {settings}: loss {worst['loss']:.1e} norm {worst['gradient_norm']:.1e}")
                if mesh.data == mesh.tensor == 1:
                    self.assertEqual(curve(run), curve(reference))


class AllMeshesTest(ProductTest):
    """tiny.toml on all meshes, both schedules, optimizer sharded or not: 36 runs."""

    LABELS = ("parity",)
    TIMEOUT = 1800
    DEPTH = "all"

    def test_all_meshes(self):
        self.check(((mesh, {"schedule.name": schedule, "optimizer.shard": shard})
                    for mesh, schedule, shard in itertools.product(MESHES, ("fifo", "1f1b"), (True, False))), DROPOUT)


class AllSchedulesTest(ProductTest):
    """Every schedule with every recomputation on all of (pipeline 1, 2, 4) x (tensor 1, 2): 210 runs."""

    LABELS = ("parity",)
    TIMEOUT = 3600
    DEPTH = "all"

    def test_all_schedules(self):
        meshes = [Mesh(1, pipeline, tensor) for pipeline in (1, 2, 4) for tensor in (1, 2)]
        self.check(((mesh, {"schedule.name": schedule, "schedule.chunks": CHUNKS.get(schedule, 1),
                            "recompute.policy": policy})
                    for mesh, schedule, policy in itertools.product(meshes, SCHEDULES, POLICIES)),
                   {**DROPOUT, "run.steps": 4})


if __name__ == "__main__":
    main()
