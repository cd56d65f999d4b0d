# SPDX-License-Identifier: Apache-2.0
"""Run attempts that end early: the run folder records them correctly, and the next one continues from it."""
import json
import time

import h5py

from penstock import ContractTest, checkpoint, files_below, main, rows, write_tokens


class LifeEndTest(ContractTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.deck = self.small_deck()

    def life(self, restart="latest", **settings):
        """A run attempt; `settings` has a key's dot as two underscores."""
        expect = settings.pop("expect", 0)
        named = {key.replace("__", "."): value for key, value in settings.items()}
        return self.train(deck=self.deck, settings=named, run=self.run_folder, restart=restart, expect=expect)

    def state(self):
        return json.loads(self.penstock("status", self.run_folder, "--json").out)["state"]

    def steps(self):
        return [int(row["step"]) for row in rows(self.run_folder)]

    def test_a_folder_for_staging_that_is_not_there_leaves_all_as_it_is(self):
        nowhere = str(self.folder / "nowhere")
        result = self.life(restart=None, data__stage=nowhere, expect=2)
        self.assertIn(f'data.stage = "{nowhere}" is not a folder', result.err)
        self.assertFalse(self.run_folder.exists())
        self.life(restart=None, run__stop=3, expect=75)
        before = files_below(self.run_folder)
        self.life(data__stage=nowhere, expect=2)
        self.assertEqual(files_below(self.run_folder), before)
        self.assertEqual(self.state(), "stopped")

    def test_a_life_that_fails_before_its_first_step_is_recorded(self):
        (self.run_folder / "ranks.csv").mkdir(parents=True)
        self.life(restart=None, expect=1)
        self.assertEqual(self.state(), "failed")
        self.assertIn("ranks.csv: could not be written", json.loads((self.run_folder / "end.json").read_text())["message"])

    def test_rows_that_cannot_be_read_are_not_lost(self):
        self.life(restart=None, run__stop=3, expect=75)
        metrics, aside = self.run_folder / "metrics.csv", self.folder / "aside"
        metrics.rename(aside)
        metrics.symlink_to("/proc/self/mem")  # gives EIO at its beginning
        def others():
            return {path: status for path, status in files_below(self.run_folder).items() if path != metrics}
        before = others()
        result = self.life(expect=2)
        self.assertIn("metrics.csv: cannot be read", result.err)
        self.assertEqual(others(), before)
        self.assertTrue(metrics.is_symlink())
        aside.replace(metrics)
        self.life(run__steps=5)
        self.assertEqual(self.steps(), [1, 2, 3, 4, 5])

    def test_a_failed_evaluation_leaves_no_hole(self):
        validation = write_tokens(self.folder / "validation.tok", 4000, seed=2)
        process = self.start(self.command(
            deck=self.deck, run=self.run_folder, settings={"run.steps": 100000, "data.validation": str(validation),
                                                           "validation.every": 50, "validation.samples": 8}))
        while not (self.run_folder / "metrics.csv").exists():
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.005)
        validation.unlink()
        result = self.finish(process)
        self.assertNotEqual(result.code, 0, result.err)
        self.assertEqual(self.state(), "failed")
        last = self.steps()[-1]
        self.assertEqual(last % 50, 0)
        self.assertTrue(checkpoint(self.run_folder, last).exists())
        self.life(run__steps=last + 2)
        self.assertEqual(self.steps(), list(range(1, last + 3)))

    def test_a_damaged_newest_checkpoint_takes_no_whole_ones_place(self):
        self.life(restart=None, run__stop=4, checkpoint__every=2, expect=75)
        damaged = checkpoint(self.run_folder, 4)
        self.flip_a_byte(damaged)
        result = self.life(run__stop=3, checkpoint__keep=1, expect=75)
        self.assertIn(f"passed over {damaged}", result.err)
        self.assertTrue((damaged.parent / "left-at-2" / damaged.name).exists(), result.err)
        result = self.life(run__steps=5)
        self.assertIn(f"restarting from {checkpoint(self.run_folder, 3)}", result.err)
        self.assertEqual(self.steps(), [1, 2, 3, 4, 5])

    def flip_a_byte(self, path):
        with h5py.File(path, "r") as file:
            place = file["parameters/embedding.token.weight"].id.get_chunk_info(0).byte_offset
        with open(path, "r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1]))


if __name__ == "__main__":
    main()
