# SPDX-License-Identifier: Apache-2.0
"""What a run warns of: lines that say so, once, and only where something is to be told; and numbers that end a run."""
import json
import re
import shutil

import h5py
import numpy

from penstock import ContractTest, Mesh, checkpoint, main, rows


class WarningsTest(ContractTest):
    CORES = 1

    def setUp(self):
        super().setUp()
        self.deck = self.small_deck(optimizer={"learning_rate": 1e-3, "warmup": 1})
        self.run_folder = self.folder / "run"

    def attempt(self, restart="latest", expect=75, **settings):
        """A run attempt; what it warns of."""
        named = {key.replace("__", "."): value for key, value in settings.items()}
        result = self.train(deck=self.deck, settings=named, run=self.run_folder, restart=restart, expect=expect)
        lines = result.err.splitlines()
        warnings = [line for line in lines if "warning" in line]
        for line in warnings:
            self.assertRegex(line, r"^\[\d\d:\d\d:\d\d\] warning: ")
        return [line.split("warning: ", 1)[1] for line in warnings]

    def test_only_changes_of_the_schedule_are_warned_of(self):
        steps = {"run__steps": 8, "capture__taps": ["loss"]}
        self.assertEqual(self.attempt(restart=None, run__stop=2, capture__steps=[1, 2, 4], **steps), [])
        # Captures of steps that the run has come past belong to it: no restart has to say so.
        self.assertEqual(self.attempt(run__stop=3, capture__steps=[1, 2, 4], **steps), [])
        jump, capture = self.attempt(run__stop=4, capture__steps=[1, 3, 4], **{**steps, "run__steps": 80})
        self.assertRegex(jump, r"^the learning rate of step 4 is 0.000\d+, and would be 0.000\d+ with the deck that the "
                               r"checkpoint was made with: run.steps was 8 and is 80; ")
        self.assertRegex(capture, r"^capture.steps: 1 of its 3 steps are not after step 3, .* new in the deck")
        told = float(re.search(r"of step 4 is (\S+),", jump).group(1))
        self.assertAlmostEqual(told, float(rows(self.run_folder)[3]["learning_rate"]), delta=1e-9)
        self.assertEqual(self.attempt(run__stop=5, capture__steps=[1, 3, 4], **{**steps, "run__steps": 80}), [])

    def test_a_warmup_that_is_not_shorter_than_the_run(self):
        settings = ["--set", "optimizer.warmup=40", "--set", "run.steps=20"]
        said = "optimizer.warmup = 40 is not below run.steps = 20: the learning rate only rises, to 0.0005 of the 0.001 "
        warnings = self.attempt(restart=None, run__steps=20, run__stop=1, optimizer__warmup=40)
        self.assertEqual(len(warnings), 1)
        self.assertTrue(warnings[0].startswith(said), warnings)
        self.assertIn(f"\nwarning: {said}", self.penstock("check", self.deck, *settings).out)
        told = json.loads(self.penstock("check", self.deck, *settings, "--json").out)["warnings"]
        self.assertEqual(told, warnings)
        self.assertEqual(json.loads(self.penstock("check", self.deck, "--json").out)["warnings"], [])

    def test_a_state_that_can_never_be_saved_ends_the_run(self):
        # The update of step 1 makes every weight infinite, though the step's own loss is finite.
        result = self.train(deck=self.deck, run=self.run_folder, expect=1,
                            settings={"optimizer.learning_rate": 1e30, "optimizer.weight_decay": 1e30, "checkpoint.every": 1,
                                      "checkpoint.background": False, "checkpoint.initial": True})
        self.assertRegex(result.err, r"penstock: step 1 can never be saved: .*\[.*\] is -?(inf|nan) on rank 0: no step goes on "
                                     r"from there; the run ends here, as no later step could be saved either\n"
                                     r"restart from step 0 ")
        self.assertNotIn("training goes on", result.err)
        self.assertEqual(len(rows(self.run_folder)), 1)
        end = json.loads((self.run_folder / "end.json").read_text())
        self.assertIn("step 1 can never be saved", end["message"])
        self.assertEqual(json.loads(self.penstock("status", self.run_folder, "--json").out)["state"], "failed")

    def test_a_row_that_no_loss_depends_on_ends_the_run_too(self):
        # Losses stay finite, as no sample is so long; the save during training finds the row on one of two ranks.
        mesh, deck = Mesh(2, 1, 1), self.small_deck(model={"positions": 32})
        self.train(deck=deck, mesh=mesh, settings={"run.stop": 1}, run=self.run_folder, expect=75)
        planted, run = self.folder / "planted.h5", self.folder / "planted"
        shutil.copy(checkpoint(self.run_folder, 1), planted)
        with h5py.File(planted, "r+") as file:
            file["optimizer/first_moment/embedding.position.weight"][20, 3] = numpy.nan
        result = self.train(deck=deck, mesh=mesh, settings={"run.steps": 2000, "checkpoint.every": 1}, run=run, restart=planted,
                            expect=1)
        self.assertRegex(result.err, r"penstock: step \d+ can never be saved: embedding.position.weight\[20, 3\] is -?nan on rank ")
        self.assertEqual(result.err.count("penstock: "), 1)
        self.assertLess(len(rows(run)), 1000)
        self.assertEqual(list((run / "checkpoints").iterdir()), [])


if __name__ == "__main__":
    main()
