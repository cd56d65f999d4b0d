# SPDX-License-Identifier: Apache-2.0
"""A run attempt that continues after the next one has begun (an orphan on a lost node) cannot harm what that one writes.

Two starts of the program on this machine stand for two lives of one Slurm job: the ranks are told the job and how often
it was requeued. What Slurm itself does is not tried here.
"""
import json
import os
import random
import re
import signal
import time
from pathlib import Path

from penstock import DEEP, DROPOUT, ContractTest, Mesh, checkpoint, curve, main, processes_naming

STEPS = 24
MESH = Mesh(1, 2, 1)


def files_below(folder):
    """Every file with its size, time of change and place on the disk."""
    found = {}
    for path in Path(folder).rglob("*"):
        status = path.stat()
        if path.is_file():
            found[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


class LivesTest(ContractTest):
    LABELS = ("exactness", "cluster")

    def setUp(self):
        super().setUp()
        self.deck = self.small_deck(run={"steps": STEPS}, checkpoint={"every": 3, "keep": 2},
                                    model={"layers": 4, "width": 176, "positions": 32})

    def life(self, run, requeues, settings=None, **options):
        words = self.command(deck=self.deck, mesh=MESH, settings={**DROPOUT, **(settings or {})}, run=run, **options)
        told = ["-env", "SLURM_JOB_ID", "4711", "-env", "SLURM_RESTART_COUNT", str(requeues)]
        process = self.start(words[:1] + told + words[1:], cwd=self.folder)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def ranks(self, process):
        """Process numbers of the ranks that this mpiexec started."""
        def parent(number):
            return int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return [rank for rank in processes_naming(str(self.folder)) if parent(parent(rank)) == process.pid]

    def signal_ranks(self, process, number):
        for rank in self.ranks(process):
            os.kill(rank, number)

    def wait_for_log(self, process, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not re.search(pattern, process.log.read_text()):
            self.assertLess(time.monotonic(), end, process.log.read_text())
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.001)

    def end_alone(self, process, seconds=60):
        code = process.wait(timeout=seconds)
        return code, process.log.read_text()


class StoppedLifeTest(LivesTest):
    CORES = 0.5
    TIMEOUT = 600

    def goes_as_the_straight_run(self, run):
        self.assertEqual(curve(run), curve(self.straight))
        self.assert_same_bits(checkpoint(run, STEPS), checkpoint(self.straight, STEPS))
        self.assertEqual(json.loads((run / "end.json").read_text())["ended"], "done")
        names = {path.name for path in run.rglob("*")}
        self.assertEqual({name for name in names if "tmp" in name or "guard" in name}, set())

    def test_first_life_stands_still_while_the_second_one_works(self):
        self.straight = self.folder / "straight"
        self.train(deck=self.deck, mesh=MESH, settings=DROPOUT, run=self.straight)
        source = random.Random(5)
        for round_ in range(10 if DEEP else 2):
            with self.subTest(round=round_):
                run = self.folder / f"still-{round_}"
                first = self.life(run, 0)
                self.wait_for_log(first, f"saving step {3 * source.randrange(1, 5)}")
                time.sleep(source.uniform(0, 0.03))  # in the midst of the save, or soon after
                self.signal_ranks(first, signal.SIGSTOP)
                second = self.life(run, 1, restart="latest")
                code, log = self.end_alone(second)
                self.assertEqual(code, 0, log)
                self.assertIn("is an earlier run attempt of this job and may no longer write", log)
                before = files_below(run)
                self.goes_as_the_straight_run(run)
                self.signal_ranks(first, signal.SIGCONT)
                code, log = self.end_alone(first)
                self.assertEqual(code, 1, log)
                self.assertIn("has lost its folder", log)
                self.assertEqual(files_below(run), before)
                self.goes_as_the_straight_run(run)


class LivingLifeTest(LivesTest):
    CORES = 0.5
    TIMEOUT = 600

    def test_first_life_goes_on_beside_the_second_one(self):
        run = self.folder / "beside"
        endless = {"run.steps": 100000, "run.stop": 99999, "checkpoint.every": 1}
        first = self.life(run, 0, settings=endless)
        self.wait_for_log(first, "saving step 5")
        second = self.life(run, 1, settings=endless, restart="latest")
        code, log = self.end_alone(first)
        self.assertEqual(code, 1, log)
        self.assertIn("has lost its folder", log)
        self.assertEqual(log.count("penstock: "), 1, log)
        self.wait_for_log(second, "saving step [0-9]{2}")
        second.terminate()
        code, log = self.end_alone(second)
        self.assertIn(code, (0, 75), log)  # mpiexec sometimes loses the code of a run stopped so
        self.assertNotIn("was not saved", log)
        self.assertEqual(json.loads((run / "end.json").read_text())["ended"], "stopped")
        steps = [int(row[0]) for row in curve(run)]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))
        self.penstock("checkpoint", "verify", checkpoint(run, steps[-1]))

    def test_another_job_does_not_take_the_folder(self):
        run = self.folder / "held"
        first = self.life(run, 1, settings={"run.steps": 30000})
        self.wait_for_log(first, "saving step 3")
        second = self.life(run, 0, restart="latest")  # an orphan that comes late
        code, log = self.end_alone(second)
        self.assertEqual(code, 2, log)
        self.assertIn("another run writes in this folder", log)
        self.assertIsNone(first.poll())


if __name__ == "__main__":
    main()
