# SPDX-License-Identifier: Apache-2.0
"""scripts/submit with made-up sbatch, sinfo and penstock: what it refuses, what it would submit."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
MIB = 1 << 20


class Submit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.deck = self.root / "deck.toml"
        self.deck.write_text("")
        self.tokens = self.root / "train.tok"
        self.tokens.write_text("")
        self.program("sbatch", 'echo "$*" > $(dirname $0)/submitted; echo "$PENSTOCK_SET" > $(dirname $0)/settings\n'
                     'echo Submitted batch job 7')
        self.program("sinfo", "echo 4000+")
        self.plan(ranks=4)

    def program(self, name, body):
        path = self.root / name
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def plan(self, ranks, mib=100, **facts):
        rank = {"bytes": {"total": mib * MIB}, "layers": [0],
                "process": {"beside": 50 * MIB, "total": (mib + 50) * MIB}}
        plan = {"mesh_auto": False, "ranks": [rank] * ranks,
                "training_file": str(self.tokens), "validation_file": "", **facts}
        (self.root / "plan.json").write_text(json.dumps(plan, indent=2, sort_keys=True))
        self.program("penstock", f'echo "$*" > {self.root}/checked\n'
                     f'exec {sys.executable} {SOURCE}/tests/support/json_lines.py {self.root}/plan.json "${{@: -1}}"')

    def submit(self, *words, expect=0, **environment):
        done = subprocess.run(
            [SOURCE / "scripts/submit", *map(str, words)], capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": f"{self.root}:{os.environ['PATH']}", "PENSTOCK": str(self.root / "penstock"),
                 **environment})
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stderr

    def written(self, name):
        path = self.root / name
        return path.read_text().strip() if path.exists() else None

    def submitted(self):
        return self.written("submitted")

    def test_prints_what_it_submits(self):
        said = self.submit("jobs/cpu.sbatch", self.deck, "--", "--time=9")
        self.assertEqual(self.submitted(), f"--time=9 jobs/cpu.sbatch {self.deck}")
        self.assertIn(f"sbatch --time=9 jobs/cpu.sbatch {self.deck}", said)
        self.assertIn("4 ranks on 1 node, 4 a node", said)

    def test_a_dry_run_submits_nothing(self):
        self.submit("--dry-run", "jobs/cpu.sbatch", self.deck)
        self.assertIsNone(self.submitted())

    def refuse(self, parts, *words):
        said = self.submit(*words, expect=2)
        self.assertIsNone(self.submitted())
        for part in parts:
            self.assertIn(part, said)

    def test_ranks_that_the_nodes_do_not_share_evenly(self):
        self.refuse(["4 ranks", "3 nodes", "divides 4"], "jobs/cpu-nodes.sbatch", self.deck, "--", "--nodes=3")

    def test_nodes_in_every_spelling_of_sbatch(self):
        for words in (["--nodes=3"], ["--nodes", "3"], ["-N", "3"], ["-N3"], ["-p", "big", "--nodes=03"], ["--nodes=1-3"],
                      ["--nodes=1", "-N", "3"]):
            with self.subTest(words=words):
                self.refuse(["4 ranks", "3 nodes"], "jobs/cpu-nodes.sbatch", self.deck, "--", *words)
        self.assertIn("4 ranks on 4 nodes", self.submit("jobs/cpu.sbatch", self.deck, "--", "-N", "4"))

    def test_nodes_that_are_no_number(self):
        for value in ("0", "abc", "", "-1", "2-", "1-0", "3x"):
            with self.subTest(value=value):
                self.refuse([f"--nodes={value}: a number"], "jobs/cpu.sbatch", self.deck, "--", f"--nodes={value}")
        self.refuse(["--gpus-per-node=four: a number"], "jobs/gpu.sbatch", self.deck, "--", "--gpus-per-node=four")

    def test_a_program_that_is_another(self):
        for program, part in (("false", "refuses it"), ("true", "prints no plan")):
            self.program("penstock", f"exec {program}")
            self.refuse(["penstock check", part], "jobs/cpu.sbatch", self.deck)

    def test_more_ranks_than_gpus(self):
        self.plan(ranks=8)
        self.refuse(["8 a node", "--gpus-per-node=4"], "jobs/gpu.sbatch", self.deck)
        self.submit("jobs/gpu-nodes.sbatch", self.deck)

    def test_more_memory_than_a_node_has(self):
        self.plan(ranks=4, mib=1000)
        self.refuse(["4200 MiB", "4000 MiB"], "jobs/cpu.sbatch", self.deck)
        self.submit("jobs/cpu-nodes.sbatch", self.deck)

    def test_memory_that_sinfo_does_not_tell_is_not_held_against_a_deck(self):
        self.plan(ranks=4, mib=1000)
        for sinfo in ("echo 'slurm_load_partitions: error' >&2; exit 1", "exit 0", "exit 127"):
            with self.subTest(sinfo=sinfo):
                self.program("sinfo", sinfo)
                self.assertIn("sinfo reports nothing", self.submit("jobs/cpu.sbatch", self.deck))
                self.assertIsNotNone(self.submitted())
                (self.root / "submitted").unlink()

    def test_where_there_is_no_slurm_a_dry_run_says_what_it_would_submit(self):
        for name in ("sinfo", "sbatch"):
            (self.root / name).unlink()
        tools = self.root / "tools"
        tools.mkdir()
        for tool in ("bash", "cat", "dirname", "grep", "head", "sed", "sort", "tail", "tr"):
            (tools / tool).symlink_to(shutil.which(tool))
        words = ("jobs/cpu.sbatch", self.deck)
        self.assertIn("sbatch jobs/cpu.sbatch", self.submit("--dry-run", *words, PATH=str(tools)))
        self.assertIn("there is no sbatch here", self.submit(*words, expect=2, PATH=str(tools)))

    def test_what_is_set_is_checked_and_handed_to_the_job(self):
        said = self.submit("--set", "data.train=a.tok", "jobs/cpu.sbatch", self.deck, "--set=mesh.data=2", "--", "--time=9",
                           PENSTOCK_SET="--set run.seed=3")
        settings = "--set run.seed=3 --set data.train=a.tok --set mesh.data=2"
        self.assertEqual(self.written("settings"), settings)
        self.assertEqual(self.written("checked"), f"check {self.deck} {settings} --get validation_file")
        self.assertEqual(self.submitted(), f"--time=9 jobs/cpu.sbatch {self.deck}")
        self.assertIn(f"PENSTOCK_SET='{settings}' sbatch --time=9", said)

    def test_weights_are_handed_to_the_job(self):
        self.submit("--set", "data.train=a.tok", "--weights", "models/m", "jobs/cpu.sbatch", self.deck)
        self.assertEqual(self.written("settings"), "--set data.train=a.tok --weights models/m")

    def test_settings_that_are_none(self):
        self.refuse(["--set data.train", "KEY=VALUE"], "--set", "data.train", "jobs/cpu.sbatch")
        self.refuse(["KEY=VALUE"], "jobs/cpu.sbatch", "--set")
        self.refuse(["spaces"], "--set", "trace.steps=[1, 2]", "jobs/cpu.sbatch", self.deck)
        self.refuse(["--weights", "spaces"], "--weights=a b", "jobs/cpu.sbatch", self.deck)
        self.refuse(["--weights (nothing)"], "jobs/cpu.sbatch", self.deck, "--weights")
        self.refuse(["--time=9", "after --"], "jobs/cpu.sbatch", self.deck, "--time=9")

    def test_the_job_comes_first(self):
        self.refuse([f"{self.deck} is no job", "jobs/cpu.sbatch", "jobs/array.sbatch"], self.deck)
        self.refuse(["jobs/none.sbatch is not here", "jobs/cpu.sbatch"], "jobs/none.sbatch", self.deck)

    def test_a_deck_without_text(self):
        self.plan(ranks=4, training_file="")
        self.refuse(["data.train is missing", "--set data.train=FILE"], "jobs/gpu.sbatch", self.deck)

    def test_a_mesh_that_is_fitted_is_not_held_against_the_nodes(self):
        self.plan(ranks=4, mesh_auto=True)
        self.submit("jobs/cpu-nodes.sbatch", self.deck, "--", "--nodes=1-3")

    def test_token_files_have_to_be_there(self):
        self.plan(ranks=4, training_file=str(self.root / "nothing.tok"))
        self.refuse(["nothing.tok is not here"], "jobs/cpu.sbatch", self.deck)

    def test_a_deck_that_check_refuses(self):
        self.program("penstock", "echo 'penstock: the deck is wrong' >&2; exit 2")
        self.refuse(["the deck is wrong"], "jobs/cpu.sbatch", self.deck)

    def test_an_array_has_a_job_a_deck(self):
        self.submit("jobs/array.sbatch", self.deck, self.deck, self.deck)
        self.assertEqual(self.submitted(), f"--array=0-2 jobs/array.sbatch {self.deck} {self.deck} {self.deck}")
        self.submit("jobs/array.sbatch")
        self.assertEqual(self.submitted(), "--array=0-1 jobs/array.sbatch")

    def test_several_decks_are_for_the_array(self):
        self.refuse(["jobs/array.sbatch"], "jobs/cpu.sbatch", self.deck, self.deck)

    def test_every_job_opens_with_what_a_reader_needs(self):
        for job in (SOURCE / "jobs").glob("*.sbatch"):
            with self.subTest(job=job.name):
                text = job.read_text()
                for word in ("# Goal:", "# Nodes:", "# Minutes:", "# Edit:", "# Submit:", "# Look at:",
                             "#SBATCH --signal=B:USR1@", "source jobs/life.sh"):
                    self.assertIn(word, text)
                self.submit("--dry-run", f"jobs/{job.name}", self.deck)


if __name__ == "__main__":
    unittest.main()
