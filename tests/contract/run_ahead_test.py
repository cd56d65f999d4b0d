# SPDX-License-Identifier: Apache-2.0
"""Steps that are launched before the previous one was read, as on a GPU: the program under test is the CPU's, linked
with tests/support/runs_behind_host.cpp; PENSTOCK_PLAIN names the one that users have, which takes one step after the other.
From the eleventh step of a run attempt on the two differ in order, and must give the same results."""
import json
import os
import signal
import time

import penstock
from penstock import DROPOUT, ONE, ContractTest, Mesh, capture, checkpoint, curve, main, rows, write_tokens


class RunAheadTest(ContractTest):
    LABELS = ("exactness",)
    TIMEOUT = 400
    PROGRAM = "test.penstock_ahead"

    def setUp(self):
        super().setUp()
        self.deck = self.small_deck(run={"steps": 40}, model={key.removeprefix("model."): value for key, value in DROPOUT.items()})

    def ahead(self, run, expect=0, **options):
        return self.train(deck=self.deck, run=self.folder / run, expect=expect, **options)

    def plain(self, run, expect=0, **options):
        words = self.command(deck=self.deck, run=self.folder / run, **options)
        words[words.index(str(penstock.PROGRAM))] = str(penstock.PLAIN)
        result = self.finish(self.start(words, cwd=self.folder))
        self.assertEqual(result.code, expect, result.err)
        return result

    def columns(self, run):
        """All that metrics.csv says but the time."""
        return [{name: text for name, text in row.items() if "second" not in name} for row in rows(self.folder / run)]

    def test_saves_evaluations_captures_and_traces_fall_where_they_should(self):
        validation = write_tokens(self.folder / "validation.tok", 4000, seed=2)
        settings = {"checkpoint.every": 13, "checkpoint.keep": 0, "data.validation": str(validation), "validation.every": 7,
                    "validation.samples": 8, "capture.steps": [17, 18, 30], "capture.taps": ["blocks.*", "loss"],
                    "trace.steps": [15, 16]}
        for mesh in (ONE, Mesh(1, 2, 1), Mesh(2, 2, 1)):
            with self.subTest(mesh=str(mesh)):
                ahead, plain = f"ahead-{mesh}", f"plain-{mesh}"
                self.ahead(ahead, mesh=mesh, settings=settings)
                self.plain(plain, mesh=mesh, settings=settings)
                self.assertEqual(self.columns(ahead), self.columns(plain))
                for path, steps in ((checkpoint, (13, 26, 39, 40)), (capture, (17, 18, 30))):
                    for step in steps:
                        self.assert_same_bits(path(self.folder / ahead, step), path(self.folder / plain, step))
                self.assertTrue((self.folder / ahead / "trace.json").exists())

    def test_a_stop_counts_the_step_under_way(self):
        for how in ("signal", "file"):
            with self.subTest(how=how):
                run = self.folder / how
                long = {"run.steps": 100000}
                process = self.start(self.command(deck=self.deck, mesh=Mesh(1, 2, 1), settings=long, run=run))
                while not (run / "metrics.csv").exists() or len(rows(run)) < 20:
                    self.assertIsNone(process.poll(), process.log.read_text())
                    time.sleep(0.005)
                if how == "signal":
                    process.send_signal(signal.SIGUSR1)
                else:
                    (run / "stop").touch()
                self.finish(process)
                end = json.loads((run / "end.json").read_text())  # mpiexec may lose the code of a run that it signals
                self.assertEqual((end["ended"], end["exit_code"]), ("stopped", 75), process.log.read_text())
                last = len(rows(run))
                self.assertTrue(checkpoint(run, last).exists())
                more = {**long, "run.stop": last + 15}
                self.ahead(run, mesh=Mesh(1, 2, 1), settings=more, restart="latest", expect=75)
                self.plain(f"{how}-straight", mesh=Mesh(1, 2, 1), settings=more, expect=75)
                self.assertEqual(curve(run), curve(self.folder / f"{how}-straight"))
                self.assert_same_bits(checkpoint(run, last + 15), checkpoint(self.folder / f"{how}-straight", last + 15))

    def test_a_step_that_is_not_finite(self):
        """The rate rises until the gradients overflow."""
        settings = {"optimizer.learning_rate": 1e3, "optimizer.warmup": 1000, "optimizer.clip": 0, "run.steps": 2000}
        for policy in ("stop", "skip"):
            with self.subTest(policy=policy):
                chosen = {**settings, "watchdog.nonfinite": policy}
                errors = [life(f"{name}-{policy}", mesh=Mesh(1, 2, 1), settings=chosen, expect=1).err
                          for name, life in (("ahead", self.ahead), ("plain", self.plain))]
                done = self.columns(f"ahead-{policy}")
                print(f"{policy}: {len(done)} steps, {sum(int(row['skipped']) for row in done)} of them skipped")
                self.assertGreater(len(done), 11)
                self.assertEqual(done, self.columns(f"plain-{policy}"))
                for error in errors:
                    self.assertIn(f"step {len(done) + 1}: the loss is", error)
                evidence = f"evidence/step-{len(done):08}.h5"
                self.assert_same_bits(self.folder / f"ahead-{policy}" / evidence, self.folder / f"plain-{policy}" / evidence)

    def test_a_rank_that_stands_still_is_named(self):
        """The others wait for it inside a launch, which is a wait of its own for the watchdog."""
        run = self.folder / "stopped"
        settings = {"run.steps": 100000, "watchdog.seconds": 3}
        process = self.start(self.command(deck=self.deck, mesh=Mesh(1, 2, 1), settings=settings, run=run))
        while not (run / "metrics.csv").exists() or len(rows(run)) < 20:
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.005)
        stopped = next(line.split(",")[2] for line in (run / "ranks.csv").read_text().splitlines() if line.startswith("1,"))
        os.kill(int(stopped), signal.SIGSTOP)
        self.assertNotEqual(self.finish(process).code, 0)
        report = (run / "report.txt").read_text()
        self.assertRegex(report, r"^rank 0 on .*: waited \d s \(watchdog.seconds = 3\) for ")
        self.assertRegex(report, r"\nsilent: rank 1 on .*, process " + stopped)

    def test_tokens_that_cannot_be_read_end_the_run_behind_the_step_under_way(self):
        run, whole = self.folder / "cut", self.tokens.read_bytes()
        long = {"run.steps": 100000}
        process = self.start(self.command(deck=self.deck, mesh=Mesh(2, 1, 1), settings=long, run=run))
        while not (run / "metrics.csv").exists() or len(rows(run)) < 20:
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.005)
        os.truncate(self.tokens, 1000)
        self.assertNotEqual(self.finish(process).code, 0)
        last = len(rows(run))
        self.assertTrue(checkpoint(run, last).exists(), process.log.read_text())
        self.tokens.write_bytes(whole)
        more = {**long, "run.stop": last + 5}
        self.ahead(run, mesh=Mesh(2, 1, 1), settings=more, restart="latest", expect=75)
        self.plain("straight", mesh=Mesh(2, 1, 1), settings=more, expect=75)
        self.assertEqual(curve(run), curve(self.folder / "straight"))


if __name__ == "__main__":
    main()
