"""The same program on a GPU: the layout never changes the result, a restart is a load, and errors say what to do.

Ranks share the GPU where there are fewer of them (device.share). PENSTOCK_CPU names the program of the CPU build, which
GPU and CPU are compared with; by default build/cpu/penstock, and without one those comparisons are skipped.
PENSTOCK_GPU=1 runs the tests where nvidia-smi sees no GPU.
"""
import itertools
import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

import penstock
from penstock import DROPOUT, ONE, SOURCE, ContractTest, Mesh, capture, checkpoint, curve, main, rows

LOSS, NORM = 1e-5, 1e-4  # as on the CPU: sums in another order
BFLOAT16 = 5e-3          # see parity_test.py
CAPTURES = 1e-5          # relative norm of a tap, float32
MESHES = [Mesh(2, 1, 1), Mesh(1, 2, 1), Mesh(1, 1, 2), Mesh(2, 2, 1), Mesh(1, 2, 2), Mesh(2, 1, 2), Mesh(1, 4, 1),
          Mesh(1, 1, 4)]
CPU = Path(os.environ.get("PENSTOCK_CPU", SOURCE / "build/cpu/penstock"))


def has_gpu():
    if os.environ.get("PENSTOCK_GPU"):
        return True
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False
    return "GPU " in listed


@unittest.skipUnless(has_gpu(), "no GPU here")
class GpuTest(ContractTest):
    """Few steps, each of a few microbatches: ranks that share a GPU talk over sockets, and take turns on it."""

    common = {**DROPOUT, "device.share": True, "batch.micro": 4, "run.steps": 8, "watchdog.seconds": 120}


class GpuMeshTest(GpuTest):
    """tiny.toml on the meshes of two and four ranks; both schedules where there is a pipeline, sharded or not where
    there are replicas."""

    def check(self, bound_loss, bound_norm, settings):
        settings = {**self.common, **settings}
        reference = self.folder / "reference"
        self.train(settings=settings, run=reference)
        for mesh in MESHES:
            schedules = ("fifo", "1f1b") if mesh.pipeline > 1 else ("1f1b",)
            shards = (True, False) if mesh.data > 1 else (True,)
            for schedule, shard in itertools.product(schedules, shards):
                with self.subTest(mesh=str(mesh), schedule=schedule, shard=shard):
                    run = self.folder / f"{mesh}-{schedule}-{shard}"
                    begin = time.monotonic()
                    chosen = {**settings, "schedule.name": schedule, "optimizer.shard": shard}
                    self.train(mesh=mesh, settings=chosen, run=run)
                    worst = self.assert_same_curve(reference, run, bound_loss, bound_norm)
                    print(f"{mesh} {schedule} shard={shard}: loss {worst['loss']:.1e} norm {worst['gradient_norm']:.1e}"
                          f" ({time.monotonic() - begin:.0f} s)", flush=True)

    # Each mesh would measure for itself; GpuRestartTest has that on a mesh.
    def test_float32(self):
        self.check(LOSS, NORM, {"device.measure": False})

    # Without dropout in attention, where cuDNN computes it.
    def test_bfloat16(self):
        self.check(BFLOAT16, BFLOAT16,
                   {"device.measure": False, "precision.compute": "bfloat16", "model.dropout_attention": 0.0})


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

    def test_schedules(self):
        settings = {**self.common, "device.measure": False}
        self.train(settings=settings, run=self.folder / "reference")
        for mesh in (Mesh(1, 2, 1), Mesh(1, 4, 1)):
            for schedule in ("ring", "breadth-first", "zb-h1", "zb-h2", "zb-v"):
                with self.subTest(mesh=str(mesh), schedule=schedule):
                    run = self.folder / f"{mesh}-{schedule}"
                    chunks = 2 if schedule in ("ring", "breadth-first", "zb-v") else 1
                    self.train(mesh=mesh, run=run,
                               settings={**settings, "schedule.name": schedule, "schedule.chunks": chunks})
                    self.assert_same_curve(self.folder / "reference", run, LOSS, NORM)

    def test_recomputation(self):
        for compute in ("float32", "bfloat16"):
            settings = {**self.common, "device.measure": False, "precision.compute": compute}
            reference = self.folder / f"reference-{compute}"
            self.train(settings=settings, run=reference)
            for policy in ("elementwise", "attention", "block", "block-local"):
                with self.subTest(compute=compute, policy=policy):
                    run = self.folder / f"{compute}-{policy}"
                    self.train(settings={**settings, "recompute.policy": policy}, run=run)
                    self.assertEqual(curve(run), curve(reference))  # the same operations on the same values


class GpuRunAheadTest(GpuTest):
    """From the eleventh step of a life on the next one is launched before the last was read. A run that captures every
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
    """Stop at 4, go on to 8: the bits of the straight run."""

    def test_stop_and_go_on(self):
        for mesh, compute in itertools.product((ONE, Mesh(1, 2, 2)), ("float32", "bfloat16")):
            for measure in (True, False) if mesh == ONE else (True,):
                with self.subTest(mesh=str(mesh), compute=compute, measure=measure):
                    name = f"{mesh}-{compute}-{measure}"
                    straight, broken = self.folder / f"straight-{name}", self.folder / f"broken-{name}"
                    settings = {**self.common, "precision.compute": compute, "device.measure": measure}
                    self.train(mesh=mesh, settings=settings, run=straight)
                    broken.mkdir()
                    self.assertEqual((straight / "products.tsv").exists(), measure)
                    if measure:  # else two runs measure, each for itself
                        shutil.copy(straight / "products.tsv", broken)
                    self.train(mesh=mesh, settings={**settings, "run.stop": 4}, run=broken, expect=75)
                    self.train(mesh=mesh, settings=settings, run=broken, restart="latest")
                    self.assertEqual(curve(straight), curve(broken))
                    self.assert_same_bits(checkpoint(straight, 8), checkpoint(broken, 8))

    def test_a_restart_elsewhere_takes_the_choices_along(self):
        settings = {**self.common, "precision.compute": "bfloat16"}
        straight, elsewhere = self.folder / "straight", self.folder / "elsewhere"
        self.train(settings={**settings, "checkpoint.every": 4}, run=straight)
        self.train(settings=settings, run=elsewhere, restart=checkpoint(straight, 4))
        self.assertEqual((straight / "products.tsv").read_text(), (elsewhere / "products.tsv").read_text())
        self.assertEqual(curve(straight)[4:], curve(elsewhere))
        self.assert_same_bits(checkpoint(straight, 8), checkpoint(elsewhere, 8))


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
        self.on_cpu(to_gpu, {"run.stop": 4}, expect=75)
        self.train(settings=self.common, run=to_gpu, restart="latest")
        self.train(settings={**self.common, "run.stop": 4}, run=to_cpu, expect=75)
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
        ranks = len(subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout.splitlines()) + 1
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
