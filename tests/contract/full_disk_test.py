# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, read-only or gone: saved files stay whole, the run continues if it can, and says so."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import unittest

from penstock import DROPOUT, ONE, PROGRAM, TINY, ContractTest, Mesh, checkpoint, curve, files_below, main, rows


class FullDiskTest(ContractTest):
    LABELS = ("cluster",)
    TIMEOUT = 400

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()

    def mount(self, mebibytes):
        words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(self.disk)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.disk)], check=False)

    def test_earlier_checkpoint_stays_whole(self):
        # A checkpoint of tiny.toml has 5.2 MB: two fit on 12 MiB, a third does not. Later there is room again.
        self.mount(12)
        run = self.disk / "run"
        mesh = Mesh(1, 2, 1)
        settings = {**DROPOUT, "run.steps": 20, "checkpoint.every": 3, "checkpoint.keep": 0,
                    "checkpoint.retries": 1}
        result = self.train(deck=TINY, mesh=mesh, settings=settings, run=run, expect=1)  # the last step is not saved
        # Steps 9, 12, 15, 18 and 20: the same warning is shown at once, and counted from then on.
        for step in (9, 20):
            self.assertRegex(result.err, rf"warning: step {step} was not saved: .*No space left on device")
            self.assertRegex(result.err, rf"warning: saving step {step}: .*No space left on device; trying again in 1 s")
        self.assertEqual(result.err.count("was not saved"), 2, result.err)
        self.assertEqual(len(re.findall(r"\(the last of 4 of these in the last \d+ min\)", result.err)), 2, result.err)
        self.assertIn("training goes on", result.err)
        self.assertEqual(len(rows(run)), 20)
        self.assertIn("could not be saved", result.err)
        self.assertEqual(self.names(run), ["step-00000003.h5", "step-00000006.h5"])
        # Room is made: the run continues from step 6 and ends as the straight one.
        checkpoint(run, 3).unlink()
        self.train(deck=TINY, mesh=mesh, settings={**settings, "checkpoint.every": 0}, run=run, restart="latest")
        self.train(deck=TINY, mesh=mesh, settings=DROPOUT, run="straight")
        self.assertEqual(curve(run), curve(self.folder / "straight"))
        self.assert_same_bits(checkpoint(run, 20), checkpoint(self.folder / "straight", 20))

    def test_a_run_that_a_full_disk_refuses_leaves_no_empty_folder(self):
        self.mount(1)
        deck = self.small_deck()
        filler = self.disk / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)) == 4096:
                pass
        before = files_below(self.disk)
        result = self.train(deck=deck, run=self.disk / "runs/of/mine", expect=1)
        self.assertIn("No space left on device", result.err)
        self.assertEqual(files_below(self.disk), before)
        os.truncate(filler, filler.stat().st_size - 8192)  # for the guard and the record, and for nothing more
        result = self.train(deck=deck, run=self.disk / "runs/of/mine", expect=1)
        self.assertIn("No space left on device", result.err)
        self.assertEqual([path for path in self.disk.rglob("*") if path.is_dir() and not any(path.iterdir())], [])
        (self.disk / "mine").mkdir()
        self.train(deck=deck, run=self.disk / "mine", expect=1)
        self.assertTrue((self.disk / "mine").is_dir(), "somebody else made it")

    def test_too_few_open_files_take_no_folder_away(self):
        """Whatever the number at which a file cannot be opened: a guard that cannot be is not gone."""
        run = self.folder / "run"
        words = self.command(deck=self.small_deck(checkpoint={"retries": 0}), run=run, settings={"run.steps": 3})
        alone = words[words.index(str(PROGRAM)):]
        told = ""
        for files in range(10, 40):
            shutil.rmtree(run, ignore_errors=True)
            result = self.finish(self.start(["sh", "-c", f"ulimit -n {files}; exec \"$@\"", "sh", *alone], cwd=self.folder))
            self.assertNotIn("the guard is gone", result.err)
            self.assertNotIn("has lost its folder", result.err)
            self.assertFalse((run / "guard").exists(), result.err)
            told += result.err
            if result.code == 0:
                break
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("Too many open files", told)

    def test_several_writers(self):
        self.mount(12)
        run = self.disk / "run"
        settings = {"checkpoint.every": 8, "checkpoint.keep": 0, "checkpoint.writers": 2,
                    "checkpoint.retries": 0}
        result = self.train(deck=TINY, mesh=Mesh(2, 1, 1), settings=settings, run=run, expect=1)
        self.assertEqual(result.err.count("was not saved"), 1, result.err)  # step 20, after 8 and 16
        self.assertEqual(len(rows(run)), 20)
        self.assertEqual(self.names(run), ["step-00000008.h5", "step-00000016.h5"])

    def test_every_file_of_a_run_on_a_full_disk(self):
        """The last byte is taken during a run, and given back: it ends as if nothing had happened."""
        self.mount(64)
        run, mesh = self.disk / "run", Mesh(1, 2, 1)
        settings = {**DROPOUT, "run.steps": 300, "checkpoint.every": 25, "checkpoint.retries": 0, "checkpoint.keep": 1,
                    "trace.steps": [12, 299]}
        process = self.begin(run, settings, mesh)
        filler = self.disk / "filler"
        with open(filler, "wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        self.wait_for_log(process, r"metrics.csv: step \d+ could not be written: No space left on device")
        self.wait_for_log(process, r"step \d+ was not saved: .*No space left on device")
        filler.unlink()
        result = self.finish(process)
        self.assertEqual(result.code, 0, result.err)
        for name in ("costs.json", "trace.json"):
            self.assertRegex(result.err, rf"run/{name}: could not be written: .*No space left on device")
        self.assertEqual(json.loads((run / "end.json").read_text())["ended"], "done")
        self.assertEqual(len(json.loads((run / "trace.json").read_text())["traceEvents"]) > 0, True)
        self.assertEqual([int(row["step"]) for row in rows(run)], list(range(1, 301)))
        self.assertEqual([path.name for path in run.rglob("*") if ".tmp" in path.name or path.name == "guard"], [])
        self.penstock("checkpoint", "verify", checkpoint(run, 300))

    def test_read_only_disk(self):
        self.mount(16)
        run = self.disk / "run"
        deck = self.small_deck()
        self.train(deck=deck, run=run, settings={"run.stop": 3}, expect=75)
        subprocess.run(["mount", "-o", "remount,ro", str(self.disk)], check=True)
        before = files_below(self.disk)
        result = self.train(deck=deck, run=self.disk / "other", expect=2)
        self.assertIn("cannot be written: a read-only file system holds", result.err)
        result = self.train(deck=deck, run=run, restart="latest", expect=2)
        self.assertIn("cannot be written: a read-only file system holds", result.err)
        self.assertEqual(files_below(self.disk), before)

    def test_run_folder_that_vanishes(self):
        run, away = self.folder / "run", self.folder / "away"
        process = self.begin(run, {"run.steps": 100000, "run.stop": 99999, "checkpoint.every": 20})
        self.wait_for_log(process, "saved step 20")
        run.rename(away)
        result = self.finish(process)
        self.assertEqual(result.code, 1, result.err)
        self.assertIn(f"{run}/guard: this run has lost its folder: the guard is gone; it writes nothing more", result.err)
        self.assertFalse(run.exists())
        self.penstock("checkpoint", "verify", checkpoint(away, 20))

    def test_a_folder_of_checkpoints_that_vanishes_is_made_again(self):
        run = self.folder / "run"
        process = self.begin(run, {"run.steps": 100000, "run.stop": 99999, "checkpoint.every": 20})
        self.wait_for_log(process, "saved step 20")
        shutil.rmtree(run / "checkpoints")
        saved = len(re.findall("saved step", process.log.read_text()))
        self.wait_for_log(process, f"(saved step[^\x00]*){{{saved + 2}}}")
        (run / "stop").touch()
        result = self.finish(process)
        self.assertNotIn("was not saved", result.err)
        newest = max((run / "checkpoints").iterdir())
        self.penstock("checkpoint", "verify", newest)

    def begin(self, run, settings, mesh=ONE):
        """A run that has begun to train; its steps take long enough to be met."""
        deck = self.small_deck(model={"layers": 4, "width": 192, "positions": 16})
        process = self.start(self.command(deck=deck, mesh=mesh, settings=settings, run=run), cwd=self.folder)
        self.wait_for_log(process, "step +1/")
        return process

    def wait_for_log(self, process, pattern, seconds=120):
        end = time.monotonic() + seconds
        while not re.search(pattern, process.log.read_text()):
            self.assertLess(time.monotonic(), end, process.log.read_text())
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.005)

    def names(self, run):
        return sorted(path.name for path in (run / "checkpoints").iterdir())


if __name__ == "__main__":
    main()
