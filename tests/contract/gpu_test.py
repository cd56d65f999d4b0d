# SPDX-License-Identifier: Apache-2.0
"""The same program on a GPU: the layout never changes the result, a restart is a load, and errors say what to do.

Ranks share the GPU where there are fewer of them (device.share): they talk over sockets and take turns on it, so that a
message of theirs takes milliseconds. GpuPairTest needs two GPUs, which talk as they do in use. PENSTOCK_CPU names the
program of the CPU build, which GPU and CPU are compared with; by default build/cpu/penstock, and without one those
comparisons are skipped. PENSTOCK_GPU=1 runs the tests where nvidia-smi sees no GPU. scripts/test_gpu runs all of them
within minutes, several at once.
"""
import functools
import itertools
import os
import shutil
import signal
import subprocess
import time
import unittest
from collections import namedtuple
from pathlib import Path

import penstock
from penstock import DROPOUT, ONE, SOURCE, ContractTest, Mesh, capture, checkpoint, curve, main, rows, write_tokens

LOSS, NORM = 1e-5, 1e-4  # as on the CPU: sums in another order
BFLOAT16 = 5e-3          # see parity_test.py
CAPTURES = 1e-5          # relative norm of a tap, float32
CPU = Path(os.environ.get("PENSTOCK_CPU", SOURCE / "build/cpu/penstock"))

Run = namedtuple("Run", "mesh schedule shard compute")
IN_CHUNKS = ("ring", "breadth-first", "zb-v")  # schedules that give each rank two stages

# Every mesh with both types; with replicas sharded and not; with stages both plain schedules. Not every product of these:
# test_every_pair_is_there says which pairs there have to be.
MESH_RUNS = [
    Run(Mesh(2, 1, 1), "1f1b", True, "float32"), Run(Mesh(2, 1, 1), "1f1b", False, "bfloat16"),
    Run(Mesh(1, 1, 2), "1f1b", True, "float32"), Run(Mesh(1, 1, 2), "1f1b", True, "bfloat16"),
    Run(Mesh(2, 2, 1), "fifo", True, "float32"), Run(Mesh(2, 2, 1), "fifo", False, "bfloat16"),
    Run(Mesh(2, 2, 1), "1f1b", True, "bfloat16"),
    Run(Mesh(1, 2, 2), "fifo", True, "bfloat16"), Run(Mesh(1, 2, 2), "1f1b", True, "float32"),
    Run(Mesh(2, 1, 2), "1f1b", False, "float32"), Run(Mesh(2, 1, 2), "1f1b", True, "bfloat16"),
    Run(Mesh(1, 1, 4), "1f1b", True, "float32"), Run(Mesh(1, 1, 4), "1f1b", True, "bfloat16"),
    Run(Mesh(4, 1, 1), "1f1b", False, "float32"), Run(Mesh(4, 1, 1), "1f1b", True, "bfloat16"),
]
# Every schedule with two and with four stages, once in each type.
SCHEDULE_RUNS = [
    Run(Mesh(1, stages, 1), schedule, True, compute)
    for number, schedule in enumerate(("fifo", "1f1b", "ring", "breadth-first", "zb-h1", "zb-h2", "zb-v"))
    for stages, compute in zip((2, 4), ("float32", "bfloat16") if number % 2 else ("bfloat16", "float32"))
]


@functools.lru_cache(maxsize=None)
def visible_gpus():
    """How many GPUs a program that is started here sees."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return min(count, sum(bool(name.strip()) for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")))
    return count


def has_gpu():
    return bool(os.environ.get("PENSTOCK_GPU")) or visible_gpus() > 0


class GpuCoverTest(ContractTest):
    """Of the tables alone."""

    GPU = True

    def setUp(self):
        """Without a program."""

    def test_every_pair_is_there(self):
        runs = MESH_RUNS + SCHEDULE_RUNS
        self.assertEqual(len(set(runs)), len(runs))
        meshes = {run.mesh for run in runs}
        self.assertEqual(meshes, {mesh for mesh in map(Mesh._make, itertools.product((1, 2, 4), repeat=3))
                                  if 1 < mesh.ranks <= 4})
        schedules = {run.schedule for run in runs}
        self.assertEqual(len(schedules), 7)

        def held(*fields):
            return {tuple(getattr(run, field) for field in fields) for run in runs}

        types, both, plain = ("float32", "bfloat16"), (True, False), ("fifo", "1f1b")
        stages, replicas = ([m for m in meshes if getattr(m, axis) > 1] for axis in ("pipeline", "data"))
        self.assertLessEqual(set(itertools.product(meshes, types)), held("mesh", "compute"))
        self.assertLessEqual(set(itertools.product(replicas, both)), held("mesh", "shard"))
        self.assertLessEqual(set(itertools.product(both, types)), held("shard", "compute"))
        self.assertLessEqual(set(itertools.product(stages, plain)), held("mesh", "schedule"))
        self.assertLessEqual(set(itertools.product(schedules, types)), held("schedule", "compute"))
        self.assertLessEqual(set(itertools.product(plain, both)), held("schedule", "shard"))
        self.assertLessEqual(set(itertools.product((Mesh(1, 2, 1), Mesh(1, 4, 1)), schedules)), held("mesh", "schedule"))


@unittest.skipUnless(has_gpu(), "no GPU here")
class GpuTest(ContractTest):
    """Few steps, each of a few microbatches. What a step enqueues is recorded in the second one, and launched as a graph
    from the third on: five steps have all of it."""

    CORES = 8
    TIMEOUT = 1200
    GPU = True

    common = {**DROPOUT, "device.share": True, "batch.micro": 4, "run.steps": 5, "watchdog.seconds": 120}

    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"  # of this test alone: nothing is found in the user's, and nothing left there

    def start(self, words, environment=None, **options):
        return super().start(words, {"PENSTOCK_CACHE": str(self.cache), **(environment or {})}, **options)

    def check(self, runs, compute, common):
        """Those of the runs that compute in this type, each against one rank."""
        # Without dropout in attention, where cuDNN computes it. Each mesh would measure its products for itself:
        # test_measured_products has that.
        settings = {**common, "device.measure": False, "precision.compute": compute}
        bounds = (LOSS, NORM)
        if compute == "bfloat16":
            settings["model.dropout_attention"] = 0.0
            bounds = (BFLOAT16, BFLOAT16)
        reference = self.folder / "reference"
        self.train(settings=settings, run=reference)
        for run in (run for run in runs if run.compute == compute):
            with self.subTest(**{name: str(value) for name, value in run._asdict().items()}):
                folder = self.folder / f"{run.mesh}-{run.schedule}-{run.shard}"
                chosen = {**settings, "schedule.name": run.schedule, "optimizer.shard": run.shard,
                          "schedule.chunks": 2 if run.schedule in IN_CHUNKS else 1}
                if run.mesh.tensor > 1:  # whose every layer waits for messages: two microbatches, or one a replica
                    chosen["batch.micro"] = 8
                begin = time.monotonic()
                self.train(mesh=run.mesh, settings=chosen, run=folder)
                worst = self.assert_same_curve(reference, folder, *bounds)
                print(f"{run.mesh} {run.schedule} shard={run.shard} {compute}: loss {worst['loss']:.1e} "
                      f"norm {worst['gradient_norm']:.1e} ({time.monotonic() - begin:.1f} s)", flush=True)

    def check_two_runs(self, name, settings, **options):
        """Two runs of one deck, each in a folder of its own: equal bits. The second finds in the cache what the first measured."""
        runs = [self.folder / f"{name}-{number}" for number in ("first", "second")]
        said = [self.train(settings=settings, run=run, **options).err for run in runs]
        self.assertRegex(said[0], r"products: (\d+ from the cache, )?\d+ measured\n")
        self.assertRegex(said[1], r"products: \d+ from the cache\n")
        self.assertEqual(*map(curve, runs))
        files = [checkpoint(run, settings["run.steps"]) for run in runs]
        self.penstock("checkpoint", "diff", *files)  # exit code 0: equal bits
        self.assertEqual(*((run / "products.tsv").read_text() for run in runs))
        print(f"{name}: {curve(runs[1])[-1]}")
        for file in files:  # 1.5 GB each of 124M
            file.unlink()

    def check_two_runs_of_124M(self, **options):
        """A few steps of the deck as it is, and of its faster form: bfloat16 with cuDNN's attention."""
        tokens = write_tokens(self.folder / "124M.tok", 60000)
        settings = {"run.steps": 4, "batch.global": 16, "batch.micro": 8, "watchdog.seconds": 120}
        for name, more in (("float32", {}), ("bfloat16", {"precision.compute": "bfloat16", "model.dropout_attention": 0.0})):
            with self.subTest(name=name):
                self.check_two_runs(f"124M-{name}", {**settings, **more}, deck=SOURCE / "input/gpt2-124m.toml", tokens=tokens,
                                    **options)

    def check_restart(self, mesh, settings):
        """Stop at 3, go on to 6: the bits of the straight run."""
        settings = {**settings, "run.steps": 6}
        name = "-".join((str(mesh), settings["precision.compute"], str(settings["device.measure"])))
        straight, broken = self.folder / f"straight-{name}", self.folder / f"broken-{name}"
        self.train(mesh=mesh, settings=settings, run=straight)
        broken.mkdir()
        self.assertEqual((straight / "products.tsv").exists(), settings["device.measure"])
        if settings["device.measure"]:  # else two runs measure, each for itself
            shutil.copy(straight / "products.tsv", broken)
        self.train(mesh=mesh, settings={**settings, "run.stop": 3}, run=broken, expect=75)
        self.train(mesh=mesh, settings=settings, run=broken, restart="latest")
        self.assertEqual(curve(straight), curve(broken))
        self.assert_same_bits(checkpoint(straight, 6), checkpoint(broken, 6))


class GpuMeshTest(GpuTest):
    """tiny.toml on the meshes of two and four ranks."""

    def test_float32(self):
        self.check(MESH_RUNS, "float32", self.common)

    def test_bfloat16(self):
        self.check(MESH_RUNS, "bfloat16", self.common)

    def test_measured_products(self):
        settings = {**self.common, "precision.compute": "bfloat16", "model.dropout_attention": 0.0}
        for run, mesh in (("one", ONE), ("four", Mesh(2, 2, 1))):
            self.train(mesh=mesh, settings=settings, run=self.folder / run)
        print(self.assert_same_curve(self.folder / "one", self.folder / "four", BFLOAT16, BFLOAT16))

    def test_captures(self):
        settings = {**self.common, "capture.steps": [2], "run.stop": 2, "device.measure": False,
                    "capture.taps": ["blocks.*", "blocks.*.gradient", "logits", "loss"]}
        for run, mesh in (("one", ONE), ("four", Mesh(1, 2, 2))):
            self.train(mesh=mesh, settings=settings, run=self.folder / run, expect=75)
        self.assert_close_datasets(capture(self.folder / "one", 2), capture(self.folder / "four", 2), CAPTURES)


class GpuScheduleTest(GpuTest):
    """Every schedule (ring: transfers in groups) and every recomputation gives the plain run's numbers."""

    def test_float32(self):
        self.check(SCHEDULE_RUNS, "float32", self.common)

    def test_bfloat16(self):
        self.check(SCHEDULE_RUNS, "bfloat16", self.common)

    def check_recomputation(self, compute):
        settings = {**self.common, "device.measure": False, "precision.compute": compute}
        reference = self.folder / "reference"
        self.train(settings=settings, run=reference)
        for policy in ("elementwise", "attention", "block", "block-local"):
            with self.subTest(policy=policy):
                run = self.folder / policy
                self.train(settings={**settings, "recompute.policy": policy}, run=run)
                self.assertEqual(curve(run), curve(reference))  # the same operations on the same values

    def test_recomputation_in_float32(self):
        self.check_recomputation("float32")

    def test_recomputation_in_bfloat16(self):
        self.check_recomputation("bfloat16")


@unittest.skipUnless(visible_gpus() > 1, "fewer than two GPUs here")
class GpuPairTest(GpuTest):
    """Two ranks with a GPU each, which NCCL takes its usual ways between."""

    common = {name: value for name, value in GpuTest.common.items() if name != "device.share"}
    runs = [Run(mesh, "1f1b", mesh.tensor == 1, compute) for mesh in (Mesh(2, 1, 1), Mesh(1, 2, 1), Mesh(1, 1, 2))
            for compute in ("float32", "bfloat16")]

    def test_float32(self):
        self.check(self.runs, "float32", self.common)

    def test_bfloat16(self):
        self.check(self.runs, "bfloat16", self.common)

    def test_two_runs_of_tensor_2(self):
        """As GpuBitsTest; what the two ranks add comes from NCCL."""
        for compute in ("float32", "bfloat16"):
            with self.subTest(compute=compute):
                self.check_two_runs(f"tiny-{compute}", {**DROPOUT, "run.steps": 30, "precision.compute": compute},
                                    mesh=Mesh(1, 1, 2))
        self.check_two_runs_of_124M(mesh=Mesh(1, 1, 2))

    def test_stop_and_go_on(self):
        """As GpuRestartTest, between real neighbours."""
        for mesh in (Mesh(2, 1, 1), Mesh(1, 2, 1), Mesh(1, 1, 2)):
            with self.subTest(mesh=str(mesh)):
                self.check_restart(mesh, {**self.common, "precision.compute": "bfloat16", "device.measure": False})


class GpuBitsTest(GpuTest):
    """Two runs of one deck on one GPU have the same bits, although each decides how its products are made."""

    def test_tiny(self):
        for compute in ("float32", "bfloat16"):
            with self.subTest(compute=compute):
                self.check_two_runs(f"tiny-{compute}", {**DROPOUT, "run.steps": 30, "precision.compute": compute})

    def test_124M(self):
        self.check_two_runs_of_124M()

    def test_runs_that_start_together_agree(self):
        """Each of them measures, and the first to keep a choice decides for all."""
        settings = {**self.common, "precision.compute": "bfloat16", "model.dropout_attention": 0.0}
        runs = [self.folder / str(number) for number in range(3)]
        results = self.train_all(({"settings": settings, "run": run} for run in runs), at_once=3)
        print(*(line for result in results for line in result.err.splitlines() if "products: " in line), sep="\n")
        self.assertEqual(len({(run / "products.tsv").read_text() for run in runs}), 1)
        for run in runs[1:]:
            self.assertEqual(curve(runs[0]), curve(run))
            self.assert_same_bits(checkpoint(runs[0], 5), checkpoint(run, 5))

    def test_a_damaged_cache_is_left_out_and_replaced(self):
        settings = {**self.common, "run.steps": 1}
        self.train(settings=settings, run=self.folder / "first")
        for file in self.cache.rglob("*.tsv"):
            file.write_text("damaged")
        said = self.train(settings=settings, run=self.folder / "second").err
        self.assertIn(": damaged; it is left out", said)
        self.assertRegex(said, r"products: \d+ measured\n")
        self.assertRegex(self.train(settings=settings, run=self.folder / "third").err, r"products: \d+ from the cache\n")
        self.assertEqual((self.folder / "second/products.tsv").read_text(), (self.folder / "third/products.tsv").read_text())

    def test_a_cache_that_cannot_be_written_is_no_error(self):
        self.cache = self.tokens / "cache"  # below a file
        said = self.train(settings={**self.common, "run.steps": 1}, run=self.folder / "run").err
        self.assertEqual(said.count("measured products are not kept for other runs"), 1, said)


class GpuRunAheadTest(GpuTest):
    """From the eleventh step of a run attempt on the next one is launched before the last was read. A run that captures every
    step never does that, and has the same bits."""

    settings = {**GpuTest.common, "run.steps": 30, "device.measure": False}
    one_by_one = {"capture.steps": list(range(1, 31)), "capture.taps": ["loss"]}

    def test_bits(self):
        for mesh in (ONE, Mesh(2, 2, 1)):
            with self.subTest(mesh=str(mesh)):
                ahead, single = self.folder / f"ahead-{mesh}", self.folder / f"single-{mesh}"
                settings = {**self.settings, "checkpoint.every": 13}
                self.train(mesh=mesh, settings=settings, run=ahead)
                self.train(mesh=mesh, settings={**settings, **self.one_by_one}, run=single)
                self.assertEqual(curve(ahead), curve(single))
                for step in (13, 26, 30):
                    self.assert_same_bits(checkpoint(ahead, step), checkpoint(single, step))

    def test_a_step_that_is_not_finite(self):
        """The rate rises until the gradients overflow, at about step 23."""
        settings = {**self.settings, "optimizer.learning_rate": 1e3, "optimizer.warmup": 1000, "optimizer.clip": 0,
                    "run.steps": 2000, "run.stop": 60, "checkpoint.every": 0}
        for policy in ("stop", "skip"):
            with self.subTest(policy=policy):
                ahead, single = self.folder / f"ahead-{policy}", self.folder / f"single-{policy}"
                chosen = {**settings, "watchdog.nonfinite": policy}
                errors = [self.train(settings={**chosen, **more}, run=run, expect=1).err
                          for run, more in ((ahead, {}), (single, self.one_by_one))]
                done = len(rows(ahead))
                self.assertGreater(done, 11)
                print(f"{policy}: {done} steps, {sum(int(row['skipped']) for row in rows(ahead))} of them skipped")
                self.assertEqual(curve(ahead), curve(single))
                for error in errors:
                    self.assertIn(f"step {done + 1}: the loss is", error)
                self.assert_same_bits(ahead / f"evidence/step-{done:08}.h5", single / f"evidence/step-{done:08}.h5")


class GpuRestartTest(GpuTest):
    """Stop at 3, go on to 6: the bits of the straight run; with measured products and without, alone and with others."""

    def test_one_rank(self):
        for compute, measure in (("float32", True), ("bfloat16", False)):
            with self.subTest(compute=compute, measure=measure):
                self.check_restart(ONE, {**self.common, "precision.compute": compute, "device.measure": measure})

    def test_four_ranks(self):
        for compute, measure in (("float32", False), ("bfloat16", True)):
            with self.subTest(compute=compute, measure=measure):
                self.check_restart(Mesh(1, 2, 2), {**self.common, "batch.micro": 8, "precision.compute": compute,
                                                   "device.measure": measure})

    def test_a_restart_elsewhere_takes_the_choices_along(self):
        """With the checkpoint: the run that wrote it and its cache may be gone."""
        settings = {**self.common, "run.steps": 6, "precision.compute": "bfloat16"}
        straight, elsewhere = self.folder / "straight", self.folder / "elsewhere"
        self.train(settings={**settings, "checkpoint.every": 3}, run=straight)
        choices = (straight / "products.tsv").read_text()
        (straight / "products.tsv").unlink()
        self.cache = self.folder / "another"
        said = self.train(settings=settings, run=elsewhere, restart=checkpoint(straight, 3)).err
        self.assertRegex(said, r"products: \d+ from the checkpoint\n")
        self.assertEqual(choices, (elsewhere / "products.tsv").read_text())
        self.assertEqual(curve(straight)[3:], curve(elsewhere))
        self.assert_same_bits(checkpoint(straight, 6), checkpoint(elsewhere, 6))

    def test_a_restart_here_needs_neither_file_nor_cache(self):
        settings = {**self.common, "run.steps": 6, "precision.compute": "bfloat16"}
        straight, broken = self.folder / "straight", self.folder / "broken"
        self.train(settings=settings, run=straight)
        self.train(settings={**settings, "run.stop": 3}, run=broken, expect=75)
        (broken / "products.tsv").unlink()
        self.cache = self.folder / "another"
        said = self.train(settings=settings, run=broken, restart="latest").err
        self.assertRegex(said, r"products: \d+ from the checkpoint\n")
        self.assertEqual(curve(straight), curve(broken))
        self.assert_same_bits(checkpoint(straight, 6), checkpoint(broken, 6))


@unittest.skipUnless(CPU.exists(), "no program of the CPU build here; PENSTOCK_CPU names one")
class GpuAndCpuTest(GpuTest):
    """The two backends: the same numbers, and the same checkpoints."""

    def on_cpu(self, run, settings=None, restart=None, expect=0):
        words = self.command(settings={**self.common, **(settings or {})}, run=run, restart=restart)
        words[words.index(str(penstock.PROGRAM))] = str(CPU)
        result = self.finish(self.start(words, cwd=self.folder))
        self.assertEqual(result.code, expect, result.err)

    def test_losses_and_checkpoints(self):
        cpu, gpu = self.folder / "cpu", self.folder / "gpu"
        self.on_cpu(cpu)
        self.train(settings=self.common, run=gpu)
        print("straight:", self.assert_same_curve(cpu, gpu, LOSS, NORM))
        to_gpu, to_cpu = self.folder / "to-gpu", self.folder / "to-cpu"
        self.on_cpu(to_gpu, {"run.stop": 3}, expect=75)
        self.train(settings=self.common, run=to_gpu, restart="latest")
        self.train(settings={**self.common, "run.stop": 3}, run=to_cpu, expect=75)
        self.on_cpu(to_cpu, restart="latest")
        print("CPU, then GPU:", self.assert_same_curve(cpu, to_gpu, LOSS, NORM))
        print("GPU, then CPU:", self.assert_same_curve(cpu, to_cpu, LOSS, NORM))

    def test_captures(self):
        taps = ["embedding", "blocks.*", "blocks.*.attention", "blocks.*.mlp", "blocks.*.gradient", "logits", "loss"]
        settings = {"capture.steps": [1], "capture.taps": taps, "run.stop": 1}
        self.on_cpu(self.folder / "cpu", settings, expect=75)
        self.train(settings={**self.common, **settings}, run=self.folder / "gpu", expect=75)
        a, b = (penstock.datasets(capture(self.folder / run, 1)) for run in ("cpu", "gpu"))
        self.assertEqual(sorted(a), sorted(b))
        worst = max((penstock.relative_norm(a[name], b[name]), name) for name in a)
        print(f"{len(a)} arrays, the furthest apart: {worst}")
        self.assertLessEqual(worst[0], CAPTURES, worst[1])


class GpuErrorsTest(GpuTest):
    """One message each, and nobody left behind."""

    def test_more_ranks_than_gpus(self):
        ranks = visible_gpus() + 1
        run = self.folder / "run"
        result = self.train(mesh=Mesh(ranks, 1, 1), settings={"batch.global": 16 * ranks}, run=run, expect=2)
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        self.assertIn(f"{ranks} ranks on this node, but {ranks - 1} GPU", result.err)
        self.assertFalse(run.exists())

    def test_out_of_memory(self):
        settings, run = {**self.common, "model.width": 16384, "model.layers": 20}, self.folder / "run"
        result = self.train(mesh=Mesh(2, 1, 1), settings=settings, run=run, expect=2)
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        self.assertRegex(result.err, r"rank 0 .* plans [\d.]+ GiB, .* of the [\d.]+ GiB there are, [\d.]+ GiB can be had "
                                     r".* on \d+ ranks with as much memory each would need [\d.]+ GiB")
        self.assertFalse(run.exists())

    def test_a_killed_rank_is_named(self):
        run, mesh = self.folder / "run", Mesh(2, 2, 1)
        words = self.command(mesh=mesh, settings={**self.common, "run.steps": 100000}, run=run)
        # The shell between hides the death from mpiexec, which would end the others first, without a word.
        program = words.index(str(penstock.PROGRAM))
        process = self.start(words[:program] + ["sh", "-c", '"$0" "$@" || sleep 20'] + words[program:], cwd=self.folder)
        while not (run / "metrics.csv").exists() or len(rows(run)) < 5:
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.1)
        victim = (run / "ranks.csv").read_text().splitlines()[3].split(",")
        killed = time.monotonic()
        os.kill(int(victim[2]), signal.SIGKILL)
        result = self.finish(process, seconds=time.monotonic() - process.began + 30)
        self.assertLess(time.monotonic() - killed, 10)
        self.assertIn(f"rank {victim[0]} (process {victim[2]})", result.err)
        self.assertNotEqual(result.code, 0)


if __name__ == "__main__":
    main()
