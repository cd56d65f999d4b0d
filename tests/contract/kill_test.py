# SPDX-License-Identifier: Apache-2.0
"""kill -9 of one rank, or of mpiexec, at any moment, many times, a third of them inside a save; then --restart latest.

Always a whole checkpoint, never a wrong loss. The issue asks for 200 kills: scripts/test --all has them. PENSTOCK_KILLS
says how many KillTest makes, PENSTOCK_KILLS_SEED which ones.
"""
import os
import random
import re
import shutil
import signal
import time

from penstock import DROPOUT, ContractTest, Mesh, Result, checkpoint, curve, main, processes_naming

STEPS = 24
MESH = Mesh(1, 2, 2)


def is_saving(log):
    """Whether the log's last save has begun and not ended."""
    begun = [int(step) for step in re.findall(r"saving step (\d+)", log)]
    ended = [int(step) for step in re.findall(r"(?<!not )saved step (\d+)", log)]
    return bool(begun) and begun[-1] not in ended


class KillTest(ContractTest):
    LABELS = ("exactness", "cluster")
    TIMEOUT = 400

    kills, seed = int(os.environ.get("PENSTOCK_KILLS", "6")), int(os.environ.get("PENSTOCK_KILLS_SEED", "17"))

    def setUp(self):
        super().setUp()
        # 1.6 million parameters: a save of 19 MB takes long enough to be struck.
        self.deck = self.small_deck(run={"steps": STEPS}, checkpoint={"every": 3, "keep": 2},
                                    model={"layers": 4, "width": 176, "positions": 32})
        self.source = random.Random(self.seed)

    def test_kills(self):
        straight = self.folder / "straight"
        began = time.monotonic()
        self.train(deck=self.deck, mesh=MESH, settings=DROPOUT, run=straight)
        life = time.monotonic() - began
        inside = attempts = kills = 0
        self.launchers = 0
        while kills < self.kills or inside * 3 < self.kills:
            attempts += 1
            self.assertLess(attempts, 5 * self.kills, f"{kills} kills, only {inside} inside a save")
            run = self.folder / f"run-{attempts}"
            struck = self.strike(run, during_a_save=attempts % 2 == 0, life=life)
            if struck is None:
                continue  # it was done before the blow
            kills += 1
            inside += struck
            self.go_on(run, straight)
            shutil.rmtree(run)
        print(f"{kills} kills, {inside} of them inside a save, {self.launchers} of mpiexec")

    def strike(self, run, during_a_save, life):
        """Kills one rank, or mpiexec. Whether it happened inside a save; None when the run was done before."""
        process = self.start(self.command(deck=self.deck, mesh=MESH, settings=DROPOUT, run=run), cwd=self.folder)
        if during_a_save:
            wanted = self.source.randrange(1, STEPS // 3 + 1)
            while process.poll() is None and process.log.read_text().count("saving step") < wanted:
                time.sleep(0.001)
            time.sleep(self.source.uniform(0, 0.04))
        else:
            time.sleep(self.source.uniform(0, life))
        ranks = sorted(processes_naming(str(run)))
        if not ranks:
            self.finish(process)
            return None
        launcher = self.source.random() < 0.25
        os.kill(process.pid if launcher else self.source.choice(ranks), signal.SIGKILL)
        log = process.log.read_text()
        if launcher and self.source.random() < 0.5:
            process.wait()  # its ranks run for some more seconds: the next run attempt begins meanwhile
            result = Result(process.returncode, "", process.log.read_text(), 0, 0)
        else:
            result = self.finish(process)
        if "done: " in result.err:
            return None
        self.assertNotIn(result.code, (0, 75))
        self.launchers += launcher
        return is_saving(log) and is_saving(result.err)

    def go_on(self, run, straight):
        """The newest file under its final name is whole, and the next run attempt ends as the straight run did."""
        options = {"deck": self.deck, "mesh": MESH, "settings": DROPOUT, "run": run, "restart": "latest"}
        result = self.finish(self.start(self.command(**options), cwd=self.folder))
        if result.code == 2 and "another run writes in this folder" in result.err:
            result = self.train(**options)  # the last attempt's ranks took longer to leave than the guard waits
        self.assertEqual(result.code, 0, result.err)
        self.assertNotIn("passed over", result.err)  # a file that has its name is whole
        self.assertEqual(curve(run), curve(straight), result.err)
        self.assert_same_bits(checkpoint(run, STEPS), checkpoint(straight, STEPS))
        left = {path.name for path in run.rglob("*") if path.is_file()}
        self.assertEqual({name for name in left if "tmp" in name or "guard" in name}, set())


class FirstHundredTest(KillTest):
    TIMEOUT = 7200
    DEPTH = "all"

    kills, seed = 100, 1


class SecondHundredTest(KillTest):
    TIMEOUT = 7200
    DEPTH = "all"

    kills, seed = 100, 2


if __name__ == "__main__":
    main()
