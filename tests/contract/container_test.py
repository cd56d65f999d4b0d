# SPDX-License-Identifier: Apache-2.0
"""A run in a container and a second one on its folder: a process number means nothing outside its PID namespace, so the
guard's heartbeat must show which run is alive. The container is a PID namespace with a /proc of its own (unshare, as
root); host
name and boot id are this machine's."""
import json
import os
import signal
import subprocess
import time
import unittest

from penstock import PROGRAM, ContractTest, main, processes_naming

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc"]


class ContainerTest(ContractTest):
    CORES = 0.5

    def setUp(self):
        super().setUp()
        if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no PID namespace can be made here")
        self.deck = self.small_deck(run={"steps": 100000, "stop": 99999}, checkpoint={"every": 3, "keep": 2},
                                    model={"layers": 4, "width": 128, "positions": 16})
        self.run_folder = self.folder / "run"
        self.guard = self.run_folder / "guard"

    def begin(self, *around, **options):
        """One rank without mpiexec; in a container it is process 1."""
        words = self.command(deck=self.deck, run=self.run_folder, **options)
        return self.start([*around, *words[words.index(str(PROGRAM)):]], cwd=self.folder)

    def wait_for(self, process, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in process.log.read_text():
            self.assertLess(time.monotonic(), end, process.log.read_text())
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.01)

    def end_while_its_heart_beats(self, process, seconds=60):
        """Waits for the end of a second run. The holder's heart, which beats every 10 s, is helped to beat faster."""
        end = time.monotonic() + seconds
        while process.poll() is None:
            self.assertLess(time.monotonic(), end, process.log.read_text())
            if "waiting up to" in process.log.read_text():
                os.utime(self.guard)
            time.sleep(0.1)
        return process.returncode, process.log.read_text()

    def status(self):
        return json.loads(self.penstock("status", self.run_folder, "--json").out)["state"]

    def test_its_run_is_not_taken_for_dead(self):
        first = self.begin(*CONTAINER)
        self.wait_for(first, "saved step 3")
        holder = json.loads(self.guard.read_text())
        self.assertEqual(holder["process"], 1)
        self.assertNotEqual(holder["space"], os.readlink("/proc/self/ns/pid"))
        self.assertEqual(self.status(), "running")
        for around in ([], CONTAINER):  # from outside, and as process 1 of another container
            second = self.begin(*around, restart="latest")
            code, log = self.end_while_its_heart_beats(second)
            self.assertEqual(code, 2, log)
            self.assertIn("another run writes in this folder: process 1 on ", log)
            self.assertIn("(`kill 1` in its container", log)
        self.assertIsNone(first.poll(), "the run of the container goes on")
        self.assertEqual(json.loads(self.guard.read_text()), holder)

        for rank in processes_naming(str(self.folder)):
            os.kill(rank, signal.SIGKILL)
        first.wait()
        self.assertEqual(self.status(), "running", "nobody outside can know yet")
        os.utime(self.guard, (time.time() - 100,) * 2)
        self.assertEqual(self.status(), "killed")
        third = self.begin(restart="latest")
        self.wait_for(third, "restarting from")
        self.assertIn("taken over from process 1 on ", third.log.read_text())
        self.assertNotIn("waiting up to", third.log.read_text())


if __name__ == "__main__":
    main()
