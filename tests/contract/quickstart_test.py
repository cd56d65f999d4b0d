# SPDX-License-Identifier: Apache-2.0
"""scripts/quickstart from its first line to its last, with a model and run attempts so small that it takes seconds."""
import os
import re
import shutil

from penstock import MPIEXEC, PROGRAM, SMALL, SOURCE, ContractTest, deck_text, main, rows, text_of

STOP = 150   # the last step of the first run attempt, instead of the script's own: after the curve's steepest part
STEPS = 200


class QuickstartTest(ContractTest):
    """In a folder that looks like the repository after a build: the program is there, and cmake has nothing to do."""


    def setUp(self):
        super().setUp()
        self.root = self.folder / "repository"
        shutil.copytree(SOURCE / "scripts", self.root / "scripts")
        self.shorten(self.root / "scripts/quickstart")
        (self.root / "input").mkdir()
        deck = {**SMALL, "run": {"steps": STEPS}, "data": {"sequence": 48}, "validation": {"every": 50, "samples": 16},
                "model": {**SMALL["model"], "positions": 48}, "batch": {"global": 4, "micro": 2}, "device": {"threads": 1}}
        (self.root / "input/quickstart.toml").write_text(deck_text(deck))
        build = self.root / "build/cpu"
        build.mkdir(parents=True)
        (build / "penstock").symlink_to(PROGRAM)
        (build / "CMakeCache.txt").write_text(f"MPIEXEC_EXECUTABLE:FILEPATH={MPIEXEC}\n")
        (self.root / "bin").mkdir()
        (self.root / "bin/cmake").symlink_to(shutil.which("true"))
        self.text = self.root / "text"
        self.text.write_text(text_of(80_000, seed=1))

    def shorten(self, script):
        text, lines = re.subn(r"^stop_at=\d+\b", f"stop_at={STOP}", script.read_text(), flags=re.MULTILINE)
        self.assertEqual(lines, 1)
        script.write_text(text)

    def test_two_lives_come_to_their_ends(self):
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        result = self.finish(self.start([str(self.root / "scripts/quickstart"), "--backend", "cpu", str(self.text)],
                                        {"PATH": path, "PENSTOCK_NO_INSTALL": "1"}))
        self.assertEqual(result.code, 0, result.out + result.err)
        self.assertIn(f"restarted from the checkpoint of step {STOP}", result.out)
        self.assertIn("done in", result.out.splitlines()[-1])
        self.assertEqual([row["step"] for row in rows(self.root / "runs/quickstart")],
                         [str(step) for step in range(1, STEPS + 1)])


if __name__ == "__main__":
    main()
