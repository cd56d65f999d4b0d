# SPDX-License-Identifier: Apache-2.0
"""Two users of one group and one run folder: nothing is moved or lost that its owner did not ask for.

Root plays both, with two user numbers that need no entry in /etc/passwd. The modes of their files are set as their umasks
would: 0600, 0640 or 0660. Every action either ends well, or with exit code 2 and a folder in which no byte, name, owner or
mode has changed.
"""
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import stat
import tempfile
import unittest
from pathlib import Path

from penstock import DEEP, PROGRAM, ContractTest, checkpoint, main, rows

GROUP = 65100
ANNA, BERT = 65101, 65102
NAMES = {ANNA: "anna", BERT: "bert"}
TINY_MODEL = {"model": {"layers": 1, "width": 8, "heads": 1, "vocabulary": 256, "positions": 8}, "data": {"sequence": 8},
              "batch": {"global": 2, "micro": 1}, "checkpoint": {"every": 2, "keep": 0}}
# What a run attempt reads and replaces, besides checkpoints.
REPLACED = ("metrics.csv", "end.json", "deck.toml", "ranks.csv")


class TwoUsers(ContractTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can be two users")
        # The program may lie where root alone may look.
        folder = Path(tempfile.mkdtemp(prefix="penstock-contract-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        cls.program = Path(shutil.copy(PROGRAM, folder / "penstock"))

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o777)
        self.deck = self.small_deck(**TINY_MODEL)
        for path in (self.deck, self.tokens):
            path.chmod(0o644)
        self.run_folder = self.folder / "run"

    # What users do.

    def begin(self, user, *words, **options):
        process = self.start([str(self.program), *map(str, words)], {"HOME": str(self.folder)}, cwd=self.folder, user=user,
                             group=GROUP, extra_groups=[], umask=0o007, **options)
        self.addCleanup(process.kill)
        return process

    def train_words(self, restart=None, run=None, **settings):
        words = ["train", self.deck, "--run", run or self.run_folder, "--set", f'data.train="{self.tokens}"',
                 "--set", "device.threads=1"]
        for key, value in settings.items():
            words += ["--set", f"{key.replace('__', '.')}={value}"]
        return words + (["--restart", restart] if restart else [])

    def steps_of(self, run=None):
        found = (re.fullmatch(r"step-(\d+)\.h5", path.name) for path in ((run or self.run_folder) / "checkpoints").iterdir())
        return sorted(int(match.group(1)) for match in found if match)

    def train_on(self, user, restart=None, run=None, **settings):
        """Two more steps."""
        seen = self.steps_of(run) if restart == "latest" else []
        begin = seen[-1] if seen else 0
        if restart not in (None, "latest"):
            begin = int(re.search(r"(\d+)\.h5", str(restart)).group(1))
        return self.finish(self.begin(user, *self.train_words(restart, run, **{"run__stop": begin + 2, **settings})))

    def first_run(self, user, steps=4, mode=0o660, folder_mode=0o2770):
        self.run_folder.mkdir()
        os.chown(self.run_folder, user, GROUP)
        self.run_folder.chmod(folder_mode)
        result = self.finish(self.begin(user, *self.train_words(run__stop=steps)))
        self.assertEqual(result.code, 75, result.err)
        self.set_modes(user, mode, folder_mode)

    def set_modes(self, user, mode, folder_mode=0o2770):
        for path in (self.run_folder, *self.run_folder.rglob("*")):
            status = path.lstat()
            if status.st_uid == user:
                path.chmod(folder_mode if stat.S_ISDIR(status.st_mode) else mode)

    # What must hold.

    def listing(self):
        found = {}
        for path in (self.run_folder, *self.run_folder.rglob("*")):
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path.relative_to(self.run_folder))] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
        return found

    def refused(self, result, before, *parts):
        self.assertEqual(result.code, 2, result.err + result.out)
        self.assertEqual(result.err.count("penstock: "), 1, result.err)
        for part in parts:
            self.assertIn(part, result.err)
        self.assertEqual(self.listing(), before)

    def nothing_lost(self, before, user):
        """What others own and this user may not write is where it was; their checkpoints are there in any case."""
        now = self.listing()
        contents = {found for path, found in now.items()}
        for path, found in before.items():
            mode, owner, _, content = found
            if owner == user or not content or "guard" in path:
                continue
            if not int(mode, 8) & 0o020:
                self.assertEqual(now.get(path), found, path)
            elif path.endswith(".h5"):
                self.assertIn(found, contents, path)


class OrdersTest(TwoUsers):
    """Every order of starting, reading and restarting, in a folder whose files all have one mode."""

    TIMEOUT = 900

    def act(self, user, action, mode):
        before = self.listing()
        others = [status for path, status in before.items() if status[3] and status[1] != user]
        replaced = [before.get(name) for name in REPLACED]
        anothers = any(status and status[1] != user for status in replaced)
        if action == "restart":
            result = self.train_on(user, restart="latest")
            may = not anothers or mode == 0o660
        elif action == "go back":
            result = self.train_on(user, restart=checkpoint(self.run_folder, self.steps_of()[0]))
            may = not others or mode == 0o660
        elif action == "begin anew":
            result = self.train_on(user)
            may = False
        else:
            result = self.finish(self.begin(user, "checkpoint", "list", self.run_folder))
            may = mode != 0o600 or not others
            self.assertEqual(result.code, 0 if may else 2, result.err)
            self.assertEqual(self.listing(), before)
            return
        if not may:
            self.refused(result, before)
            return
        self.assertEqual(result.code, 75, f"{NAMES[user]}, {action}\n{result.err}")
        self.nothing_lost(before, user)
        self.set_modes(user, mode)

    def try_order(self, mode, order):
        with self.subTest(mode=oct(mode), order=[(NAMES[user], action) for user, action in order]):
            self.run_folder = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
            self.run_folder.parent.chmod(0o755)
            self.first_run(ANNA, mode=mode)
            for user, action in order:
                self.act(user, action, mode)

    def test_orders(self):
        if DEEP:
            actions = list(itertools.product((BERT, ANNA), ("restart", "go back", "read", "begin anew")))
            changing = list(itertools.product((BERT, ANNA), ("restart", "go back")))
            orders = [(mode, order) for mode in (0o600, 0o640, 0o660) for order in itertools.product(actions, repeat=2)]
            orders += [(0o660, order) for order in itertools.product(changing, repeat=3)]
        else:
            orders = [(0o600, [(BERT, "restart"), (BERT, "read"), (BERT, "go back"), (ANNA, "restart")]),
                      (0o640, [(BERT, "read"), (BERT, "restart"), (BERT, "begin anew"), (ANNA, "go back"), (BERT, "go back")]),
                      (0o660, [(BERT, "restart"), (ANNA, "restart"), (BERT, "go back"), (ANNA, "read"), (ANNA, "restart")])]
        for mode, order in orders:
            self.try_order(mode, order)


class TwoUsersTest(TwoUsers):
    TIMEOUT = 600

    def test_a_checkpoint_that_may_not_be_read(self):
        """The other files are the group's. Its owner continues from it, whatever others have tried."""
        self.first_run(ANNA)
        newest = checkpoint(self.run_folder, 4)
        newest.chmod(0o600)
        before = self.listing()
        for restart in ("latest", newest):
            self.refused(self.train_on(BERT, restart=restart), before, str(newest), "Permission denied", "uid 65101",
                         "mode 0600", "chmod g+r")
        for words in (("verify", newest), ("show", newest), ("diff", checkpoint(self.run_folder, 2), newest),
                      ("list", self.run_folder)):
            self.refused(self.finish(self.begin(BERT, "checkpoint", *words)), before, "Permission denied", "mode 0600")
        self.refused(self.train_on(BERT, restart=checkpoint(self.run_folder, 2)), before, "would move it aside", "chmod g+w")
        # In a folder of his own he may go on from what he can read.
        own = self.folder / "own"
        self.assertEqual(self.train_on(BERT, restart=checkpoint(self.run_folder, 2), run=own).code, 75)
        self.assertEqual(self.listing(), before)
        result = self.train_on(ANNA, restart="latest")
        self.assertEqual(result.code, 75, result.err)
        self.assertIn(f"restarting from {newest}: step 4", result.err)
        self.assertEqual(len(rows(self.run_folder)), 6)

    def test_a_checkpoint_that_may_be_read_alone_is_not_removed(self):
        self.first_run(ANNA)
        for path in (self.run_folder / "checkpoints").iterdir():
            path.chmod(0o640)
        before = self.listing()
        result = self.train_on(BERT, restart="latest", checkpoint__keep=1)
        self.assertEqual(result.code, 75, result.err)
        self.nothing_lost(before, BERT)
        self.assertEqual(self.steps_of(), [2, 4, 6])

    def test_files_that_a_run_attempt_replaces(self):
        self.first_run(ANNA)
        for name in REPLACED if DEEP else ("metrics.csv", "end.json"):
            for mode, verb in ((0o640, "write"), (0o600, "read")):
                path = self.run_folder / name
                path.chmod(mode)
                before = self.listing()
                self.refused(self.train_on(BERT, restart="latest"), before, str(path), f"may not {verb} it", oct(mode)[2:],
                             "Permission denied")
                path.chmod(0o660)
        path = self.run_folder / "metrics.csv"
        os.chown(path, BERT, GROUP)
        path.chmod(0o440)  # the user's own file, to be kept
        self.refused(self.train_on(BERT, restart="latest"), self.listing(), "chmod u+rw")

    def test_folders_that_may_be_read_alone(self):
        self.first_run(ANNA, folder_mode=0o2750)
        self.refused(self.train_on(BERT, restart="latest"), self.listing(), "no permission in")
        self.assertEqual(self.finish(self.begin(BERT, "checkpoint", "list", self.run_folder)).code, 0)
        for folder in (self.run_folder, self.run_folder / "captures"):
            folder.chmod(0o2770)
        for mode in (0o2750, 0o2700, 0o3770):  # the last one keeps what lies in it for the owners
            (self.run_folder / "checkpoints").chmod(mode)
            words = "would move it" if mode == 0o3770 else "no permission in"
            restart = checkpoint(self.run_folder, 2) if mode == 0o3770 else "latest"
            self.refused(self.train_on(BERT, restart=restart), self.listing(), words)
        self.run_folder.chmod(0o3770)
        self.refused(self.train_on(BERT, restart="latest"), self.listing(), "would be replaced")

    def test_what_a_killed_run_left_stays_where_the_next_one_is_refused(self):
        """A stale guard, a temporary file: they go when a run attempt begins, not before."""
        self.first_run(ANNA)
        process = self.begin(ANNA, *self.train_words("latest", run__stop=10**6, run__steps=10**7, checkpoint__keep=3))
        while not checkpoint(self.run_folder, 6).exists():
            self.assertIsNone(process.poll(), process.log.read_text())
        os.kill(process.pid, signal.SIGKILL)
        self.finish(process)
        left = self.run_folder / "checkpoints/.step-00000099.h5.tmp-host-4711"
        left.write_text("half")
        os.chown(left, ANNA, GROUP)
        self.set_modes(ANNA, 0o660)
        newest = self.steps_of()[-1]
        checkpoint(self.run_folder, newest).chmod(0o600)
        before = self.listing()
        self.assertIn("guard", before)
        self.refused(self.train_on(BERT, restart="latest"), before, "Permission denied")
        checkpoint(self.run_folder, newest).chmod(0o660)
        self.refused(self.train_on(BERT, restart="latest", model__layers=2), self.listing(), "holds another model")
        result = self.train_on(ANNA, restart="latest", run__steps=10**7)
        self.assertEqual(result.code, 75, result.err)
        self.assertIn(f"step-{newest:08d}.h5: step {newest}", result.err)
        self.assertFalse(left.exists())
        self.assertFalse((self.run_folder / "guard").exists())

    def test_a_living_run_is_left_alone(self):
        self.first_run(ANNA)
        process = self.begin(ANNA, *self.train_words("latest", run__stop=10**6, run__steps=10**7, checkpoint__every=10**6))
        self.addCleanup(process.kill)
        while not (self.run_folder / "costs.json").exists():
            self.assertIsNone(process.poll(), process.log.read_text())
        self.set_modes(ANNA, 0o660)
        result = self.train_on(BERT, restart="latest")
        self.assertEqual(result.code, 2, result.err)
        self.assertIn("another run writes in this folder", result.err)
        process.terminate()
        result = self.finish(process)
        self.assertEqual(result.code, 75, result.err)
        self.assertEqual(json.loads((self.run_folder / "end.json").read_text())["ended"], "stopped")


if __name__ == "__main__":
    main()
