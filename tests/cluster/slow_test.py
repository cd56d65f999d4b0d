# SPDX-License-Identifier: Apache-2.0
"""Slow parts are named: a link of 50 Mbit/s, before step 1 and during a run, and a rank that gets a quarter
of its core. Ranks at slow links still leave MPI."""
import contextlib
import os
import re
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contract"))

from hosts import Hosts  # noqa: E402
from penstock import DEEP, ENVIRONMENT, ContractTest, Mesh, main, rows, toml  # noqa: E402

SLOW_LINK = "slow link: rank 1 on h2 to rank 2 on h3 (data axis): "


class SlowTest(ContractTest):
    def wait_for(self, process, what, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            if what():
                return
            time.sleep(0.02)
        self.fail(f"it did not come:\n{process.log.read_text()}")

    def has_steps(self, run, steps):
        return (run / "metrics.csv").exists() and len(rows(run)) >= steps


class SlowLinkTest(SlowTest):
    """Three hosts with a rank each, in a ring of the data axis; what h2 sends is slow. Where other tests keep the cores
    busy, a second link waits for a core as long as this one for its bytes, and none stands out."""

    CORES = 2
    TIMEOUT = 500

    def begin(self, hosts, run, steps):
        deck = self.small_deck(batch={"global": 12, "micro": 1})
        words = hosts.mpiexec()
        for name, value in ENVIRONMENT.items():
            words += ["-genv", name, value]
        words += [os.environ["PENSTOCK"], "train", str(deck), "--run", str(run)]
        chosen = {"run.steps": 100000, "run.stop": steps, "mesh.data": hosts.count, "data.train": str(self.tokens),
                  "device.threads": 1}
        for key, value in chosen.items():
            words += ["--set", f"{key}={toml(value)}"]
        return self.start(words, cwd=self.folder)

    def naming(self, log):
        """The lines that name the link with a rate of a slow one. Hosts on few cores wait for a core at times, and a link
        of some Gbit/s is named for it. The slow link is faster than its 50 Mbit/s where its bucket of 64 KiB is full: of
        a message of 200 KB it passes a third at once (73 Mbit/s)."""
        rates = re.findall(f"^.*{re.escape(SLOW_LINK)}([0-9.]+) Mbit/s.*", log, re.MULTILINE)
        return [f"{SLOW_LINK}{rate} Mbit/s" for rate in rates if float(rate) < 100]

    def test_a_slow_link_is_named_before_the_first_step(self):
        with Hosts(3) as hosts:
            hosts.slow(2, "50mbit")
            process = self.begin(hosts, self.folder / "slow", 3)
            result = self.finish(process)
        self.assertNotEqual(self.naming(result.err), [], result.err)
        print(self.naming(result.err)[0])
        took = re.search(r"preflight took ([0-9.]+) s", result.err)
        print(took.group(0))

    def test_ranks_behind_slow_links_leave(self):
        """One rank's last message comes late: in MPI_Finalize nobody may wait for who answers no more."""
        with contextlib.ExitStack() as sets:
            for attempts in range(5 if DEEP else 2):
                runs = []
                for i in range(2):  # they wait more than they compute
                    hosts = sets.enter_context(Hosts(4))
                    for host in range(1, 5):
                        hosts.slow(host, "10mbit")
                    runs.append(self.begin(hosts, self.folder / f"leave-{attempts}-{i}", 3))
                for run in runs:
                    self.assertIn("stopped at run.stop after step 3", self.finish(run, seconds=60).err)
                sets.close()

    def test_a_link_that_becomes_slow_is_named(self):
        run = self.folder / "becomes"
        with Hosts(3) as hosts:
            process = self.begin(hosts, run, 50000)
            self.wait_for(process, lambda: self.has_steps(run, 45))
            self.assertEqual(self.naming(process.log.read_text()), [])
            hosts.slow(2, "50mbit")
            self.wait_for(process, lambda: self.naming(process.log.read_text()))
            print(self.naming(process.log.read_text())[0])
            (run / "stop").touch()
            self.finish(process)


class SlowRankTest(SlowTest):
    CORES = 2

    def test_a_rank_that_gets_a_quarter_of_its_core_is_named(self):
        if len(os.sched_getaffinity(0)) < 2:
            raise unittest.SkipTest("two ranks need two cores")
        run = self.folder / "slow-rank"
        settings = {"run.steps": 100000, "watchdog.seconds": 60}
        process = self.start(self.command(deck=self.small_deck(model={"width": 64}), mesh=Mesh(2, 1, 1),
                                          settings=settings, run=run), cwd=self.folder)
        self.wait_for(process, lambda: self.has_steps(run, 30))
        victim = int((run / "ranks.csv").read_text().splitlines()[2].split(",")[2])
        end = threading.Event()
        brake = threading.Thread(target=self.brake, args=(victim, end))
        brake.start()
        try:
            self.wait_for(process, lambda: "slow rank: rank 1 on" in process.log.read_text())
        finally:
            end.set()
            brake.join()
        print([line for line in process.log.read_text().splitlines() if "slow rank: rank 1 on" in line][0])
        (run / "stop").touch()
        self.finish(process)

    def brake(self, victim, end):
        try:
            while not end.is_set():
                os.kill(victim, signal.SIGSTOP)
                time.sleep(0.006)
                os.kill(victim, signal.SIGCONT)
                time.sleep(0.002)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    main()
