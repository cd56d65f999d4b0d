# SPDX-License-Identifier: Apache-2.0
"""What the contract tests rely on in penstock.py: ranks that a command leaves are found by its mark, and waited for."""
import subprocess
import time

import penstock
from penstock import MARK, ContractTest, has_ranks, main


class LeftOverRanksTest(ContractTest):
    """The ranks are sleepers by the program's name."""

    CORES = 0.5

    def setUp(self):
        super().setUp()
        self.mark = self.folder / "mark"

    def rank(self, mark, name=penstock.PROGRAM, **options):
        process = subprocess.Popen([str(name), "30"], executable="/bin/sleep", env={MARK: str(mark)}, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_a_rank_is_found_by_its_mark(self):
        self.assertFalse(has_ranks(self.mark))
        rank = self.rank(self.mark, start_new_session=True)  # as mpiexec starts them
        self.assertTrue(has_ranks(self.mark))
        rank.kill()
        rank.wait()
        self.assertFalse(has_ranks(self.mark))

    def test_the_plain_program_counts_too(self):
        self.rank(self.mark, penstock.PLAIN)
        self.assertTrue(has_ranks(self.mark))

    def test_ranks_of_other_commands_do_not_count(self):
        self.rank(f"{self.mark}0")  # begins with the mark, and is another
        self.rank(self.mark.parent)
        self.assertFalse(has_ranks(self.mark))

    def test_launchers_and_other_programs_do_not_count(self):
        self.rank(self.mark, "mpiexec")
        self.assertFalse(has_ranks(self.mark))

    def test_a_rank_that_has_ended_does_not_count_before_its_parent_asks(self):
        rank = self.rank(self.mark)
        rank.kill()
        deadline = time.monotonic() + 20
        while has_ranks(self.mark):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertIsNone(rank.returncode, "it was asked for: then this shows nothing")

    def test_a_command_is_done_when_its_last_rank_is(self):
        leave = f"(exec -a {penstock.PROGRAM} sleep 0.7) & exit 5"
        result = self.finish(self.start(["bash", "-c", leave]))
        self.assertEqual(result.code, 5)
        self.assertGreaterEqual(result.seconds, 0.7)

    def test_ranks_that_do_not_end_are_ended_and_reported(self):
        leave = f"(exec -a {penstock.PROGRAM} tail -n 0 -f {self.tokens}) & exit 0"
        process = self.start(["bash", "-c", leave])
        with self.assertRaisesRegex(AssertionError, "not done after 0.5 s"):
            self.finish(process, seconds=0.5)
        self.assertFalse(has_ranks(process.log))


if __name__ == "__main__":
    main()
