# SPDX-License-Identifier: Apache-2.0
"""Runs on a Slurm of two nodes: run attempts that end at time limits, by requeueing and with a lost node; arrays and chains.

Slurm's own timers make these tests wait: it looks at time limits every 30 s, holds a requeued job back for 5 s, and
misses a silent node after some 20 s.
"""
import json
import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contract"))

from penstock import (DROPOUT, PROGRAM, SOURCE, ContractTest, Mesh, checkpoint, curve, deck_text, main, rows,  # noqa: E402
                      SMALL)
from slurm import Slurm, children_of, is_alive, require  # noqa: E402

MESH = Mesh(2, 2, 1)


class SlurmTest(ContractTest):
    """Jobs are submitted in a folder of the test's own that sees the repository's jobs/."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        require()
        cls.slurm = Slurm(nodes=2, cpus=2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.slurm.__exit__()

    def setUp(self):
        super().setUp()
        (self.folder / "jobs").symlink_to(SOURCE / "jobs")
        (self.folder / "scripts").symlink_to(SOURCE / "scripts")
        self.slurm.environment |= {"PENSTOCK": str(PROGRAM), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        self.addCleanup(self.cancel_all)

    def cancel_all(self):
        for job in self.slurm.jobs():
            self.slurm.run("scancel", job)
        self.slurm.wait_for_end()

    def write_deck(self, name, axes=MESH, **sections):
        merged = {key: {**SMALL.get(key, {}), **sections.get(key, {})} for key in {**SMALL, **sections}}
        merged["data"]["train"] = str(self.tokens)
        merged["mesh"] = {**axes._asdict(), **merged.get("mesh", {})}
        merged["model"] |= {key.split(".")[1]: value for key, value in DROPOUT.items()}
        merged["device"] = {"threads": 1}
        path = self.folder / f"{name}.toml"
        path.write_text(deck_text(merged))
        return path

    def submit(self, *words):
        return self.slurm.run("sbatch", "--parsable", "--output=log-%j.txt", *words, cwd=self.folder).strip()

    def log(self, job):
        path = self.folder / f"log-{job}.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, job, pattern, seconds=90):
        try:
            self.slurm.wait_until(lambda: re.search(pattern, self.log(job)), f"'{pattern}'", seconds)
        except AssertionError as error:
            self.fail(f"{error}\n{self.log(job)}")

    def status(self, run):
        return json.loads(self.penstock("status", run, "--json").out)

    def wait_for_step(self, run, step, seconds=60):
        def there():
            return (run / "metrics.csv").exists() and len((run / "metrics.csv").read_text().splitlines()) > step
        self.slurm.wait_until(there, f"step {step}", seconds)

    def ranks(self, job):
        return [process for process, name in self.slurm.processes(job=job).items() if name == PROGRAM.name[:15]]

    def signal_ranks(self, job, number):
        self.signal_all(self.ranks(job), number)

    def signal_all(self, processes, number):
        for process in processes:
            os.kill(process, number)

    def straight(self, deck, mesh=MESH):
        run = self.folder / "straight"
        self.train(deck=deck, mesh=mesh, run=run)
        return run


class TimeLimitTest(SlurmTest):
    CORES = 0.5
    TIMEOUT = 600

    def test_time_limits_and_a_requeue_leave_the_straight_bits(self):
        steps = 400
        sections = {"run": {"steps": steps, "reserve": 0}, "checkpoint": {"every": 10}}
        deck = self.write_deck("lives", **sections)
        straight = self.straight(deck)
        run = self.folder / "runs/lives"

        # Life 1: Slurm warns before the limit, up to a minute earlier than it was told: at once, perhaps. The ranks are
        # held meanwhile, so that they are not done before.
        job = self.submit("--nodes=2", "--time=1", "--signal=B:USR1@50", "jobs/cpu-nodes.sbatch", deck.name)
        self.wait_for_step(run, 1)
        # Life 2, which may begin soon: the run looks at the job's end itself; so early here that it does a step or a few.
        sections["run"]["reserve"] = 58
        self.write_deck("lives", **sections)
        self.signal_ranks(job, signal.SIGSTOP)
        self.wait_for_log(job, "asked to stop")
        self.signal_ranks(job, signal.SIGCONT)
        self.wait_for_log(job, r"start 1: stopped \(signal\).*\n.*back to the queue")
        self.wait_for_log(job, r"start 2: stopped \(job end\).*\n.*back to the queue")
        second = self.status(run)
        # Life 3: requeued by hand, in the midst of it.
        sections["run"]["reserve"] = 0
        self.write_deck("lives", **sections)
        self.slurm.insist("scontrol", "update", f"JobId={job}", "TimeLimit=20")
        self.wait_for_step(run, second["step"] + 12)
        self.assertLess(self.status(run)["step"], steps)
        self.slurm.insist("scontrol", "requeue", job)
        # Life 4, or a later one, ends it.
        self.slurm.wait_for_end()
        status = self.status(run)
        self.assertEqual((status["state"], status["step"]), ("done", steps), self.log(job))
        self.assertGreaterEqual(status["lives"], 4)
        self.assertEqual(self.slurm.facts(job)["Restarts"], "3")
        self.assertEqual(curve(run), curve(straight))
        self.assert_same_bits(checkpoint(run, steps), checkpoint(straight, steps))
        print(f"{status['lives']} lives, {steps} steps: {re.findall(r'start .*', self.log(job))}")


class JobsTest(SlurmTest):
    """Chains, arrays, and how ranks are started."""

    CORES = 0.5
    TIMEOUT = 600

    def test_a_chain_of_jobs(self):
        # The job's end is always too near: each link does a step or a few.
        steps = 60
        deck = self.write_deck("chain", Mesh(2, 1, 1), run={"steps": steps, "reserve": 3700})
        straight = self.straight(deck, Mesh(2, 1, 1))
        job = self.submit("--nodes=1", "jobs/chain.sbatch", deck.name)
        run = self.folder / "runs/chain"
        self.slurm.wait_until(lambda: (run / "end.json").exists() and self.status(run)["lives"] >= 2, "second link", 60)
        self.write_deck("chain", Mesh(2, 1, 1), run={"steps": steps, "reserve": 0})
        self.slurm.wait_for_end()
        status = self.status(run)
        self.assertEqual((status["state"], status["step"]), ("done", steps), self.log(job))
        self.assertIn("the next link is job", self.log(job))
        self.assertIn("stopped (job end)", self.log(job))
        self.assertEqual(curve(run), curve(straight))
        self.assert_same_bits(checkpoint(run, steps), checkpoint(straight, steps))
        print(f"a chain of {status['lives']} links")

    def test_two_decks_as_an_array(self):
        first, second = (self.write_deck(name, Mesh(1, 1, 2), run={"seed": seed})
                         for name, seed in (("first", 3), ("second", 4)))
        out = self.slurm.run(self.folder / "scripts/submit", "jobs/array.sbatch", first, second, "--",
                             f"--chdir={self.folder}", "--output=log-%A_%a.txt")
        job = re.search(r"\d+", out).group()
        self.slurm.wait_for_end()
        for index, deck in enumerate((first, second)):
            straight = self.folder / f"straight-{deck.stem}"
            self.train(deck=deck, mesh=Mesh(1, 1, 2), run=straight)
            run = self.folder / "runs" / deck.stem
            self.assertEqual(self.status(run)["state"], "done", self.log(f"{job}_{index}"))
            self.assertEqual(curve(run), curve(straight))

    def test_ranks_that_would_be_alone_are_refused_in_one_message(self):
        deck = self.write_deck("alone")
        self.slurm.environment["PENSTOCK_MPI"] = "none"
        try:
            job = self.submit("--nodes=2", "jobs/cpu-nodes.sbatch", deck.name)
        finally:
            del self.slurm.environment["PENSTOCK_MPI"]
        self.slurm.wait_for_end()
        log = self.log(job)
        self.assertEqual(log.count("do not know of each other"), 1, log)
        self.assertEqual(log.count("penstock: "), 1, log)
        self.assertIn("the program refused to begin", log)
        self.assertEqual(self.slurm.facts(job)["ExitCode"], "1:0")
        self.assertFalse((self.folder / "runs").exists())

    def test_mpiexec_starts_the_ranks_as_srun_does(self):
        """On both nodes; a warning as before the time limit, at a time of our own, reaches the ranks, and the requeued job
        goes on."""
        steps = 300
        deck = self.write_deck("launched", run={"steps": steps, "reserve": 0}, checkpoint={"every": 10})
        straight = self.straight(deck)
        run = self.folder / "runs/launched"
        self.slurm.environment["PENSTOCK_LAUNCHER"] = "mpiexec"
        try:
            job = self.submit("--nodes=2", "--time=20", "jobs/cpu-nodes.sbatch", deck.name)
        finally:
            del self.slurm.environment["PENSTOCK_LAUNCHER"]
        self.wait_for_step(run, 15)
        self.signal_ranks(job, signal.SIGSTOP)
        # The ranks have mpiexec's environment; who starts them on a node has that node's.
        ranks = set(self.ranks(job))
        proxies = [(node, process) for node in ("n1", "n2") for process in self.slurm.processes(node, job)
                   if ranks & set(children_of(process))]
        self.assertEqual([node for node, _ in proxies], ["n1", "n2"])
        self.assertEqual([len(ranks & set(children_of(process))) for _, process in proxies], [2, 2])
        self.slurm.insist("scancel", "--batch", "--signal=USR1", str(job))
        self.wait_for_log(job, "asked to stop")
        self.signal_ranks(job, signal.SIGCONT)
        self.wait_for_log(job, r"start 1: stopped \(signal\).*\n.*back to the queue")
        self.slurm.wait_for_end()
        status = self.status(run)
        self.assertEqual((status["state"], status["step"], status["lives"]), ("done", steps, 2), self.log(job))
        self.assert_same_bits(checkpoint(run, steps), checkpoint(straight, steps))


class LostNodeTest(SlurmTest):
    def stop_and_check(self, run, deck, mesh):
        """Ends the second run attempt; everything in the folder is whole and as a straight run leaves it."""
        (run / "stop").touch()
        self.slurm.wait_for_end()
        status = self.status(run)
        self.assertEqual((status["state"], status["last_end"]["reason"]), ("stopped", "stop file"))
        self.assertGreaterEqual(status["lives"], 2)
        self.assertEqual([int(row["step"]) for row in rows(run)], list(range(1, status["step"] + 1)))
        for path in sorted((run / "checkpoints").glob("step-*.h5")):
            self.penstock("checkpoint", "verify", path)
        self.train(deck=deck, mesh=mesh, run="straight", settings={"run.stop": status["step"]}, expect=75)
        self.assert_same_curve(self.folder / "straight", run)  # another mesh after a loss: other orders of sums
        left = {path.name for path in run.rglob("*") if "tmp" in path.name or "guard" in path.name}
        self.assertEqual(left, set())
        return status


class PowerCutTest(LostNodeTest):
    CORES = 0.5
    TIMEOUT = 600

    def test_after_a_power_cut_the_job_goes_on_with_the_nodes_there_are(self):
        deck = self.write_deck("cut", run={"steps": 4000}, checkpoint={"every": 20, "keep": 0}, mesh={"auto": True},
                               model={"width": 176})
        run = self.folder / "runs/cut"
        job = self.submit("--nodes=1-2", "jobs/cpu-nodes.sbatch", deck.name)
        self.wait_for_step(run, 45)
        node = self.slurm.facts(job)["BatchHost"]
        self.slurm.lose_node(node)
        durable = self.status(run)["checkpoint_step"]
        self.wait_for_log(job, "start 2: .* 2 ranks on 1 node,", seconds=120)
        self.wait_for_log(job, f"restarting from .*: step {durable},")
        self.assertIn("mesh.auto: the job has 2 ranks: data 1 x pipeline 2 x tensor 1", self.log(job))
        self.wait_for_step(run, durable + 30)
        status = self.stop_and_check(run, deck, MESH)
        print(f"{node} lost; from durable step {durable} to {status['step']} on the other node")


class OrphanTest(LostNodeTest):
    CORES = 0.5
    TIMEOUT = 600

    def test_an_orphan_that_lives_on_does_no_harm(self):
        deck = self.write_deck("orphan", Mesh(1, 2, 1), run={"steps": 20000}, checkpoint={"every": 10},
                               model={"width": 176})
        run = self.folder / "runs/orphan"
        job = self.submit("--nodes=1", "jobs/cpu.sbatch", deck.name)
        self.wait_for_step(run, 15)
        orphans = self.ranks(job)
        self.assertEqual(len(orphans), 2)
        node = self.slurm.facts(job)["BatchHost"]
        self.slurm.lose_sight_of_node(node, PROGRAM.name)
        lost_at = self.status(run)["step"]
        # They are held while Slurm takes its time to miss the node: the straight run has to do every step that they do.
        self.signal_all(orphans, signal.SIGSTOP)
        self.slurm.wait_until(lambda: self.is_running_again(job), "second start", 120)
        # They train and save until the second run attempt has the folder; stopped then, and released when it has saved, too.
        self.signal_all(orphans, signal.SIGCONT)
        self.wait_for_log(job, "start 2: ", seconds=120)
        self.slurm.wait_until(lambda: self.status(run)["step"] > lost_at, "step of the orphans")
        self.signal_all(orphans, signal.SIGSTOP)
        stopped_at = self.status(run)["step"]
        self.assertGreater(stopped_at, lost_at)
        self.wait_for_log(job, "is an earlier run attempt of this job and may no longer write")
        self.wait_for_log(job, "restarting from .*: step")
        restarted = int(re.search(r"restarting from .*: step (\d+)", self.log(job)).group(1))
        self.wait_for_step(run, restarted + 25)
        self.signal_all(orphans, signal.SIGCONT)
        self.slurm.wait_until(lambda: not any(is_alive(process) for process in orphans), "end of the orphans", 60)
        status = self.stop_and_check(run, deck, Mesh(1, 2, 1))
        self.assert_same_bits(checkpoint(run, status["step"]), checkpoint(self.folder / "straight", status["step"]))
        print(f"orphan of {node} went on from step {lost_at} to {stopped_at}; life 2 from {restarted} to {status['step']}")

    def is_running_again(self, job):
        facts = self.slurm.facts(job)
        return (facts["JobState"], facts["Restarts"]) == ("RUNNING", "1")


if __name__ == "__main__":
    main()
