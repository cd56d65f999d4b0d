# SPDX-License-Identifier: Apache-2.0
"""jobs/chain.sbatch and the jobs/life.sh below it with made-up Slurm and penstock: what a link submits and says."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PLAN = {"mesh_auto": False, "ranks": [{"data": 0}]}
MESSAGE = 'step 7: the loss is "nan", not a number\nrestart from an earlier checkpoint, with a lower rate'


class Link(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "jobs").symlink_to(SOURCE / "jobs")
        self.calls = self.root / "calls"
        self.calls.write_text("")
        (self.root / "plan.json").write_text(json.dumps(PLAN, indent=2))
        self.status("before", lives=1, checkpoint_step=10)
        self.program("penstock", f'[[ $1 == check ]] && facts=plan || facts=now\n'
                     f'exec {sys.executable} {SOURCE}/tests/support/json_lines.py {self.root}/$facts.json "${{@: -1}}"')
        self.program("scancel", f'echo "scancel $*" >> {self.calls}')
        self.sbatch()

    def program(self, name, body):
        path = self.root / name
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def sbatch(self, fails=0):
        """One that fails so many times before it works."""
        self.program("sbatch", f'echo sbatch >> {self.calls}; (($(grep -c sbatch {self.calls}) > {fails})) && echo 42')

    def status(self, file, state="running", reason="", message="", **facts):
        """As `penstock status --json` prints it."""
        facts = {"run": "runs/deck", "state": state, "step": 20, "steps": 100, **facts,
                 "last_end": {"ended": state, "reason": reason, "message": message}}
        (self.root / f"{file}.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")

    def link(self, expect=0):
        """What a link says; its ranks leave what the status `after` tells."""
        (self.root / "now.json").write_text((self.root / "before.json").read_text())
        self.program("srun", f"cp {self.root}/after.json {self.root}/now.json")
        done = subprocess.run(
            ["bash", "jobs/chain.sbatch", "deck.toml"], cwd=self.root, capture_output=True, text=True, check=False,
            env={"PATH": f"{self.root}:{os.environ['PATH']}", "PENSTOCK": str(self.root / "penstock"),
                 "SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "1"})
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout

    def assert_calls(self, *calls):
        self.assertEqual(self.calls.read_text().splitlines(), list(calls))

    def test_a_link_that_is_to_go_on_leaves_the_next_one(self):
        self.status("after", state="stopped", reason="job end", lives=2, checkpoint_step=20)
        said = self.link()
        self.assertIn("the next link is job 42", said)
        self.assertIn("stopped (job end) at step 20 of 100, checkpoint 20", said)
        self.assert_calls("sbatch")

    def test_the_last_link_takes_the_next_one_back(self):
        self.status("after", state="done", lives=2, checkpoint_step=100)
        self.assertIn("job 42 is canceled", self.link())
        self.assert_calls("sbatch", "scancel 42")

    def test_a_next_link_that_could_not_be_submitted_is_tried_again(self):
        self.sbatch(fails=1)
        self.status("after", state="stopped", reason="job end", lives=2, checkpoint_step=20)
        said = self.link()
        self.assertLess(said.index("could not be submitted"), said.index("the next link is job 42"))
        self.assert_calls("sbatch", "sbatch")

    def test_without_a_next_link_it_says_how_to_go_on(self):
        self.sbatch(fails=9)
        self.status("after", state="stopped", reason="job end", lives=2, checkpoint_step=20)
        said = self.link(expect=1)
        self.assertNotIn("the next link is", said)
        self.assertIn("`sbatch jobs/chain.sbatch deck.toml` continues from checkpoint 20", said)

    def test_a_link_that_was_never_submitted_is_not_taken_back(self):
        self.sbatch(fails=9)
        self.status("after", state="done", lives=2, checkpoint_step=100)
        self.link()
        self.assert_calls("sbatch")

    def test_a_deck_that_is_refused_has_no_next_link(self):
        self.program("penstock", "exit 2")
        self.status("after")
        self.link(expect=2)
        self.assert_calls()

    def test_a_message_is_told_whole(self):
        self.status("after", state="failed", message=MESSAGE, lives=2, checkpoint_step=10)
        self.assertIn(f"not repeated: {MESSAGE}\n", self.link(expect=1))


if __name__ == "__main__":
    unittest.main()
