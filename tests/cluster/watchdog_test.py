# SPDX-License-Identifier: Apache-2.0
"""A job that hangs ends by itself, with one report that names who is silent: after a cut link, and when a rank stands
still. What is slow and not stuck goes on.

The hosts are those of hosts.py: where there can be none (no root), their tests are skipped.
"""
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contract"))

from hosts import Hosts  # noqa: E402
from penstock import ENVIRONMENT, ContractTest, Mesh, curve, main, processes_naming, rows, toml  # noqa: E402

# Seconds. Heartbeats come every twentieth of it, and a rank is silent after a few: shorter, and a busy machine's ranks
# would seem to be.
DEADLINE = 5
MESH = Mesh(2, 2, 1)


def reports(log):
    return re.findall(r"^penstock: rank .*", log, re.MULTILINE)


class WatchdogTest(ContractTest):
    def wait_for_step(self, process, run, step, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            if (run / "metrics.csv").exists() and len(rows(run)) >= step:
                return
            time.sleep(0.02)
        self.fail(f"step {step} did not come:\n{process.log.read_text()}")

    def process_of(self, run, rank):
        for line in (run / "ranks.csv").read_text().splitlines()[1:]:
            its_rank, _, process, _ = line.split(",", 3)
            if int(its_rank) == rank:
                return int(process)
        self.fail(f"ranks.csv has no rank {rank}")

    def assert_reported(self, log, run, *parts):
        """One report, on stderr and in the run folder, with these parts; end.json says so, too."""
        self.assertEqual(len(reports(log)), 1, log)
        report = (run / "report.txt").read_text()
        self.assertIn("penstock: " + report, log)
        for part in parts:
            self.assertIn(part, report)
        end = json.loads((run / "end.json").read_text())
        self.assertEqual((end["ended"], end["exit_code"]), ("failed", 1))
        self.assertEqual(report.splitlines()[:len(end["message"].splitlines())], end["message"].splitlines())
        self.assertGreater(end["step"], 0)
        return report


def is_asleep(process):
    try:
        return all((thread / "stat").read_text().rsplit(")", 1)[1].split()[0] == "S"
                   for thread in Path(f"/proc/{process}/task").iterdir())
    except OSError:  # a thread has ended meanwhile
        return False


class StoppedRankTest(WatchdogTest):
    """SIGSTOP for longer than the deadline."""

    CORES = 0.5
    TIMEOUT = 500

    def halt(self, process):
        """SIGSTOP while it sleeps: stopped in the midst of writing to another rank's queue in shared memory, it would keep
        all others' words from that rank, too, which then takes them for silent."""
        end = time.monotonic() + 60
        while not is_asleep(process):
            self.assertLess(time.monotonic(), end)
        os.kill(process, signal.SIGSTOP)

    def stop(self, mesh, rank):
        run = self.folder / f"stopped-{rank}"
        settings = {"run.steps": 100000, "watchdog.seconds": DEADLINE}
        process = self.start(self.command(deck=self.small_deck(), mesh=mesh, settings=settings, run=run), cwd=self.folder)
        self.wait_for_step(process, run, 5)
        self.halt(self.process_of(run, rank))
        stopped = time.monotonic()
        result = self.finish(process)
        self.assertNotEqual(result.code, 0)
        self.assertLess(time.monotonic() - stopped, DEADLINE + 5, result.err)
        name = f"rank {rank} on {os.uname().nodename}, process {self.process_of(run, rank)}"
        report = self.assert_reported(result.err, run, f"(watchdog.seconds = {DEADLINE})", f"\nsilent: {name}\n",
                                      f"\n  {name}: silent for ")
        for other in range(mesh.ranks):
            self.assertIn(f"\n  rank {other} on ", report)
        print(report)

    def test_a_rank_in_the_middle(self):
        self.stop(Mesh(2, 2, 1), 2)

    def test_the_rank_that_reports(self):
        self.stop(Mesh(1, 2, 2), 0)

    def test_a_rank_that_falls_silent_soon_after_its_start_has_its_place(self):
        run, rank = self.folder / "young", 2
        settings = {"run.steps": 100000, "run.preflight": False, "watchdog.seconds": DEADLINE}
        process = self.start(self.command(deck=self.small_deck(), mesh=Mesh(2, 2, 1), settings=settings, run=run),
                             cwd=self.folder)
        self.wait_for_step(process, run, 5)
        time.sleep(DEADLINE / 20 + 0.2)  # a heartbeat of its own pace, where the first was of the default's
        self.halt(self.process_of(run, rank))
        result = self.finish(process)
        self.assertRegex(result.err, f"\n  rank {rank} on .*: silent for .* last known: step ")


class CutLinkTest(WatchdogTest):
    """Two hosts, two ranks each, pipeline across the link."""

    CORES = 0.5
    TIMEOUT = 500

    def begin(self, hosts, run, **settings):
        chosen = {"run.steps": 100000, "watchdog.seconds": DEADLINE, **MESH.settings,
                  "data.train": str(self.tokens), "device.threads": 1, **settings}
        words = hosts.mpiexec(ranks_on_each=MESH.ranks // hosts.count)
        for name, value in ENVIRONMENT.items():
            words += ["-genv", name, value]
        words += [os.environ["PENSTOCK"], "train", str(self.small_deck()), "--run", str(run)]
        for key, value in chosen.items():
            words += ["--set", f"{key}={toml(value)}"]
        return self.start(words, cwd=self.folder)

    def test_a_cut_link_ends_the_job(self):
        run = self.folder / "cut"
        with Hosts(2) as hosts:
            process = self.begin(hosts, run)
            self.wait_for_step(process, run, 5)
            hosts.cut(2)
            cut = time.monotonic()
            while processes_naming(str(run)) and time.monotonic() - cut < DEADLINE + 30:
                time.sleep(0.05)
            took = time.monotonic() - cut
            left = hosts.processes()
            ended = process.poll()
            log = process.log.read_text()
            self.assertLess(took, DEADLINE + 5, log)
            self.wait_for_the_end(process, cut)
            print(f"cut link: all ranks gone {took:.1f} s after the cut; mpiexec {ended}; left then: {left}; "
                  f"left at the end: {hosts.processes()}")
            log = process.log.read_text()
            self.assertEqual(hosts.processes(), {})
        self.assertNotEqual(process.returncode, 0)
        report = self.assert_reported(log, run, "silent: rank 2 on h2, process ", "; rank 3 on h2, process ",
                                      f"(watchdog.seconds = {DEADLINE})")
        print(report)

    def wait_for_the_end(self, process, cut):
        while process.poll() is None and time.monotonic() - cut < DEADLINE + 5:
            time.sleep(0.05)

    def test_a_cut_of_three_seconds_is_survived(self):
        run = self.folder / "mended"
        # TCP repeats at longer and longer intervals: what was cut for 3 s may stand for 6 s.
        with Hosts(2) as hosts:
            process = self.begin(hosts, run, **{"run.stop": 150, "watchdog.seconds": 10})
            self.wait_for_step(process, run, 5)
            hosts.cut(2)
            time.sleep(3)
            before = len(rows(run))
            hosts.mend(2)
            result = self.finish(process)
        self.assertEqual(reports(result.err), [], result.err)
        self.assertGreater(len(rows(run)), before)
        self.assertEqual(len(rows(run)), 150)
        self.train(deck=self.small_deck(), mesh=MESH, settings={"run.steps": 100000, "run.stop": 150}, run="whole",
                   expect=75)
        self.assertEqual(curve(run), curve(self.folder / "whole"))


if __name__ == "__main__":
    main()
