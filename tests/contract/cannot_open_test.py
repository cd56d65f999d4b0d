# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that cannot be opened is not damaged: nothing passes it over, and nothing is moved. What others have added to
a checkpoint does not count."""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy

from penstock import ONE, PLAIN, SOURCE, ContractTest, Mesh, checkpoint, files_below, main, rows

NO_LOCKS = PLAIN.parent / "tests/test.no_locks.so"
HOLD = "import h5py, sys, time; file = h5py.File(sys.argv[1], 'a'); print('open', flush=True); time.sleep(600)"


class CannotOpenTest(ContractTest):
    def setUp(self):
        super().setUp()
        self.deck = self.small_deck(checkpoint={"every": 1, "keep": 0})
        self.run_folder = self.shared_run("run", deck=self.deck, settings={"run.stop": 3}, expect=75)
        self.newest = checkpoint(self.run_folder, 3)

    def refused(self, *parts):
        """Every way to this file ends with exit code 2 and these words, and changes nothing."""
        before = files_below(self.run_folder)
        for restart, mesh in (("latest", Mesh(1, 2, 1)), (self.newest, ONE)):
            result = self.train(deck=self.deck, mesh=mesh, run=self.run_folder, restart=restart, expect=2)
            self.assertEqual(result.err.count("penstock: "), 1, result.err)
            self.told(result, parts)
        for words in (("list", self.run_folder), ("verify", self.newest), ("show", self.newest),
                      ("diff", self.newest, checkpoint(self.run_folder, 2))):
            result = self.penstock("checkpoint", *words, expect=2)
            self.assertEqual(result.err.count("penstock: "), 1, result.err)
            self.told(result, parts)
        listed = json.loads(self.penstock("checkpoint", "list", self.run_folder, "--json", expect=2).out)
        self.assertEqual([(line["step"], line["whole"], line.get("opened")) for line in listed],
                         [(3, False, False), (2, True, None), (1, True, None)])
        status = json.loads(self.penstock("status", self.run_folder, "--json").out)
        self.assertIsNone(status["checkpoint_step"])
        self.told(status["checkpoint_problem"], parts)
        self.assertEqual(files_below(self.run_folder), before)

    def told(self, result, parts):
        text = result if isinstance(result, str) else result.err
        for part in (str(self.newest), *parts):
            self.assertIn(part, text)

    def goes_on(self, stop=4):
        result = self.train(deck=self.deck, settings={"run.stop": stop}, run=self.run_folder, restart="latest", expect=75)
        self.assertIn(f"restarting from {self.newest}: step 3", result.err)
        self.assertEqual(len(rows(self.run_folder)), stop)

    def test_open_for_writing_elsewhere_and_left_so(self):
        words = "open for writing elsewhere; close it, or run h5clear -s"
        writer = subprocess.Popen([sys.executable, "-c", HOLD, str(self.newest)], stdout=subprocess.PIPE)
        self.addCleanup(writer.wait)
        self.addCleanup(writer.kill)
        self.assertEqual(writer.stdout.readline(), b"open\n")
        self.refused(words)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        before = files_below(self.run_folder)
        self.told(self.train(deck=self.deck, run=self.run_folder, restart="latest", expect=2), [words])
        self.assertEqual(files_below(self.run_folder), before)
        if shutil.which("h5clear"):
            subprocess.run(["h5clear", "-s", self.newest], check=True)
            self.goes_on()

    def test_a_file_system_that_does_not_answer(self):
        aside = self.folder / "aside.h5"
        self.newest.rename(aside)
        self.newest.symlink_to("/proc/self/mem")  # gives EIO at its beginning, to root, too
        before = sorted(path.name for path in self.run_folder.rglob("*"))
        result = self.train(deck=self.deck, mesh=Mesh(1, 2, 1), run=self.run_folder, restart="latest", expect=2)
        self.told(result, ["cannot be read: Input/output error", "says nothing about what it holds"])
        self.penstock("checkpoint", "list", self.run_folder, expect=2)
        self.assertEqual(sorted(path.name for path in self.run_folder.rglob("*")), before)
        self.newest.unlink()
        self.newest.symlink_to(self.folder / "purged.h5")  # somebody keeps checkpoints elsewhere
        self.told(self.train(deck=self.deck, run=self.run_folder, restart="latest", expect=2), ["No such file"])
        self.assertTrue(self.newest.is_symlink())
        self.newest.unlink()
        aside.rename(self.newest)
        self.goes_on()

    def test_what_others_add_does_not_count(self):
        with h5py.File(self.newest, "r+") as file:
            file.attrs["note"] = "the good one"  # a text of variable length
            file.attrs["rates"] = numpy.arange(3.0)
            file.attrs["pair"] = numpy.array((1, 2.0), dtype=[("a", int), ("b", float)])
            weight = file["parameters/final_norm.weight"]
            weight.attrs["units"] = "none"
            file.create_dataset("scales/channel", data=numpy.arange(32)).make_scale("channel")
            weight.dims[0].attach_scale(file["scales/channel"])
            file["parameters"].create_dataset("mean", data=1.5)
            file["elsewhere"] = h5py.ExternalLink("nowhere.h5", "/x")
        self.penstock("checkpoint", "verify", self.newest)
        self.assertIn("step = 3", self.penstock("checkpoint", "show", self.newest).out)
        self.penstock("checkpoint", "diff", self.newest, self.newest)
        self.assertTrue(json.loads(self.penstock("checkpoint", "list", self.run_folder, "--json").out)[0]["whole"])
        self.goes_on()

    def test_a_changed_attribute_is_damage(self):
        with h5py.File(self.newest, "r+") as file:
            file.attrs.modify("samples", numpy.int64(25))
        self.assertIn("damaged", self.penstock("checkpoint", "verify", self.newest, expect=2).err)
        result = self.train(deck=self.deck, settings={"run.stop": 4}, run=self.run_folder, restart="latest", expect=75)
        self.assertIn(f"passed over {self.newest}", result.err)
        self.assertTrue((self.run_folder / "checkpoints/left-at-2" / self.newest.name).exists())

    def test_the_format_names_what_its_digest_covers(self):
        with h5py.File(self.newest) as file:
            lines = file.attrs["digest_names"].decode().split("\n")
            self.assertLessEqual({"deck", "digest_names", "format_version", "step"}, set(lines))
            self.assertIn("/optimizer/second_moment/blocks.{0..3}.mlp.up.bias", lines)
            self.assertEqual(int(file.attrs["format_version"]), 2)

    def test_files_of_version_1_are_loaded(self):
        """tests/checkpoint/version-1.h5 was written by the program before version 2."""
        old = Path(shutil.copy(SOURCE / "tests/checkpoint/version-1.h5", self.folder / "old.h5"))
        self.penstock("checkpoint", "verify", old)
        with h5py.File(old, "r+") as file:
            file.attrs["note"] = "the good one"
            file["parameters/final_norm.weight"].attrs["units"] = "none"
            file["scale"] = numpy.arange(8)
            deck = file.attrs["deck"].decode()
        self.penstock("checkpoint", "verify", old)
        path = self.folder / "old.toml"
        path.write_text(deck)
        result = self.train(deck=path, settings={"run.stop": 3}, run=self.folder / "new", restart=old, expect=75)
        self.assertIn(f"restarting from {old}: step 2", result.err)
        with h5py.File(checkpoint(self.folder / "new", 3)) as file:
            self.assertEqual(int(file.attrs["format_version"]), 2)
        with h5py.File(old, "r+") as file:
            file.attrs.modify("step", numpy.int64(1))
        self.assertIn("damaged", self.penstock("checkpoint", "verify", old, expect=2).err)


class RunFolderGoneTest(ContractTest):
    CORES = 0.5

    def test_no_checkpoint_is_called_whole_that_is_gone(self):
        run = self.folder / "run"
        process = self.start(self.command(deck=self.small_deck(), run=run, settings={
            "run.steps": 1000000, "checkpoint.every": 50, "checkpoint.retries": 0}), cwd=self.folder)
        self.addCleanup(process.kill)
        while not checkpoint(run, 50).exists():
            self.assertIsNone(process.poll(), process.log.read_text())
        run.rename(self.folder / "away")
        result = self.finish(process)
        self.assertEqual(result.code, 1, result.err)
        self.assertNotIn("the earlier checkpoints are whole", result.err)


class NoLocksTest(ContractTest):
    """ROMIO ends the process if it needs a lock and the file system has none: several writers must not need one."""

    LABELS = ("cluster",)

    def save(self, *hints):
        settings = {"run.stop": 2, "checkpoint.writers": 2, "checkpoint.mpi_io_hints": list(hints)}
        words = self.command(deck=self.small_deck(), mesh=Mesh(2, 1, 1), run="run", settings=settings)
        return self.finish(self.start(words, {"LD_PRELOAD": str(NO_LOCKS)}, cwd=self.folder))

    def test_two_writers_need_no_locks(self):
        result = self.save()
        self.assertEqual(result.code, 75, result.err)
        self.penstock("checkpoint", "verify", checkpoint(self.folder / "run", 2))

    def test_the_hint_of_the_deck_wins(self):
        """With ROMIO's own choice, which sieves, the job ends: without this the test above would show nothing."""
        result = self.save("romio_ds_write=automatic")
        self.assertNotEqual(result.code, 75, result.err)
        self.assertIn("File locking failed", result.err + result.out)


if __name__ == "__main__":
    main()
