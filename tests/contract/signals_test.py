# SPDX-License-Identifier: Apache-2.0
"""Signals that others send and handle: none harms a run, those that mean "stop" save it, and a lost log does not end it.

tests/support/foreign_handlers.cpp stands for a library that handles signals. StormsTest has the 200 runs of the issue.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from penstock import DROPOUT, ONE, PLAIN, PROGRAM, ContractTest, Mesh, checkpoint, curve, main, processes_naming, rows

HANDLERS = PLAIN.parent / "tests/test.foreign_handlers.so"
STORM = [signal.Signals[f"SIG{name}"] for name in ("CHLD", "ALRM", "VTALRM", "PROF", "WINCH", "URG", "IO")]
STOPS = ("SIGHUP", "SIGUSR2", "SIGXCPU")
AT_ONCE = {signal.SIGTSTP, signal.SIGQUIT, signal.SIGKILL, signal.SIGSTOP}
OF_AN_INSTRUCTION = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT}
ASKING = {signal.Signals[name] for name in (*STOPS, "SIGUSR1", "SIGTERM", "SIGINT")}
STEPS = 6
# Threads of a rank, and mesh: 1 to 4 ranks.
KINDS = [(2, ONE), (1, Mesh(1, 2, 2)), (1, Mesh(1, 2, 1)), (1, Mesh(1, 3, 1)), (1, Mesh(1, 1, 2)), (1, ONE), (1, Mesh(2, 1, 1)),
         (1, Mesh(2, 2, 1))]


def send(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def threads_of(process):
    try:
        return [int(name) for name in os.listdir(f"/proc/{process}/task")]
    except FileNotFoundError:  # it has ended meanwhile
        return []


def state_of(process):
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


class SignalTest(ContractTest):
    LABELS = ("exactness",)

    def wait_for_rows(self, process, run, count):
        while not (run / "metrics.csv").exists() or len(rows(run)) < count:
            self.assertIsNone(process.poll(), process.log.read_text())
            time.sleep(0.005)

    def alone(self, prepare=":", **options):
        """Starts one rank without mpiexec, by a shell that does `prepare` first."""
        words = self.command(**options)
        words = words[words.index(str(PROGRAM)):]
        return self.start(["bash", "-c", f'{prepare}; exec "$@"', "bash", *words], cwd=self.folder)


class StormTest(SignalTest):
    """Products of the size that oneDNN 2.6 makes with the stack pointer in the heap: where handlers run, most runs crash."""

    CORES = 2
    runs = 2

    def setUp(self):
        super().setUp()
        self.deck = self.small_deck(run={"steps": STEPS}, data={"sequence": 128}, model={"width": 256, "positions": 128},
                                    batch={"global": 4, "micro": 2})

    def test_foreign_handlers_never_run(self):
        calm, self.sent = {}, []
        for number in range(self.runs):
            threads, mesh = KINDS[number % len(KINDS)]
            options = {"deck": self.deck, "mesh": mesh, "settings": {**DROPOUT, "device.threads": threads}}
            with self.subTest(run=number, mesh=str(mesh), threads=threads):
                if (threads, mesh) not in calm:
                    calm[threads, mesh] = self.folder / f"calm-{threads}-{mesh}"
                    self.train(run=calm[threads, mesh], **options)
                run = self.folder / f"storm-{number}"
                result = self.storm(run, **options)
                self.assertEqual(result.code, 0, result.err)
                self.assertEqual(result.err.count("foreign handlers got 0 signals"), mesh.ranks, result.err)
                self.assertEqual(curve(run), curve(calm[threads, mesh]))
                self.assert_same_bits(checkpoint(run, STEPS), checkpoint(calm[threads, mesh], STEPS))
                shutil.rmtree(run)
        print(f"{len(self.sent)} runs, {min(self.sent)} to {max(self.sent)} signals a run")

    def storm(self, run, **options):
        """A run that gets signals of every kind, on each of its threads, until it ends."""
        words = self.command(run=run, **options)
        at = words.index(str(PROGRAM))
        process = self.start([*words[:at], "env", f"LD_PRELOAD={HANDLERS}", *words[at:]], cwd=self.folder)
        self.wait_for_rows(process, run, 1)
        ranks, sent = list(processes_naming(str(run))), 0
        while threads := [thread for rank in ranks for thread in threads_of(rank)]:
            for thread in threads:
                for number in STORM:
                    send(thread, number)
            sent += len(threads) * len(STORM)
            time.sleep(0.005)
        self.assertGreaterEqual(sent, 50)
        self.sent.append(sent)
        return self.finish(process)


class StormsTest(StormTest):
    TIMEOUT = 3600
    DEPTH = "all"

    runs = 200


class EndIsNearTest(SignalTest):
    def setUp(self):
        super().setUp()
        self.steps = 300  # some seconds: the signal comes in the middle
        self.deck = self.small_deck(run={"steps": self.steps})

    def test_hup_usr2_and_xcpu_save_and_the_restart_has_the_calm_bits(self):
        calm = self.folder / "calm"
        self.train(deck=self.deck, settings=DROPOUT, run=calm)
        for name in STOPS:
            with self.subTest(signal=name):
                run = self.folder / name
                process = self.alone(deck=self.deck, settings=DROPOUT, run=run)
                self.wait_for_rows(process, run, 20)
                process.send_signal(signal.Signals[name])
                result = self.finish(process)
                self.assertEqual(result.code, 75, result.err)
                end = json.loads((run / "end.json").read_text())
                self.assertEqual((end["ended"], end["reason"]), ("stopped", "signal"))
                self.assertTrue(20 <= end["step"] < self.steps, end)
                self.assertIn(f"stopped on request ({name}) after step {end['step']} of {self.steps}", result.err)
                self.train(deck=self.deck, settings=DROPOUT, run=run, restart="latest")
                self.assertEqual(curve(run), curve(calm))
                self.assert_same_bits(checkpoint(run, self.steps), checkpoint(calm, self.steps))

    def test_an_ignored_hup_and_all_other_signals_change_nothing(self):
        """As under nohup; nobody handles the others, of which many end a process by default."""
        run = self.folder / "run"
        process = self.alone(prepare="trap '' HUP", deck=self.deck, run=run)
        self.wait_for_rows(process, run, 20)
        for number in sorted(signal.valid_signals() - AT_ONCE - OF_AN_INSTRUCTION - ASKING | {signal.SIGHUP}):
            process.send_signal(number)
        result = self.finish(process)
        self.assertEqual(result.code, 0, result.err)
        self.assertIn(f"done: {self.steps} steps", result.err)

    def test_ctrl_z_stops_at_once_and_ctrl_backslash_ends_at_once(self):
        run = self.folder / "run"
        deck = self.small_deck(run={"steps": 1000000})
        words = self.command(deck=deck, run=run)
        # A group of its own, whose parent is in another: the system stops no group that has nobody to let it go on.
        process = self.start(["bash", "-c", 'ulimit -c 0; exec "$@"', "bash", *words[words.index(str(PROGRAM)):]],
                             cwd=self.folder, process_group=0)
        self.wait_for_rows(process, run, 5)
        process.send_signal(signal.SIGTSTP)
        self.wait_until(lambda: state_of(process.pid) == "T")
        process.send_signal(signal.SIGCONT)
        self.wait_for_rows(process, run, len(rows(run)) + 5)
        process.send_signal(signal.SIGQUIT)
        self.assertEqual(self.finish(process).code, -signal.SIGQUIT)

    def wait_until(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.005)


class LostOutputTest(SignalTest):
    def setUp(self):
        super().setUp()
        self.deck = self.small_deck()
        self.run_folder = self.folder / "run"

    def words(self):
        words = self.command(deck=self.deck, run=self.run_folder)
        return words[words.index(str(PROGRAM)):]

    def assert_trained(self, result):
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(len(rows(self.run_folder)), 20)
        self.penstock("checkpoint", "verify", checkpoint(self.run_folder, 20))

    def test_a_log_that_nobody_reads_does_not_end_a_run(self):
        result = self.finish(self.start(
            ["bash", "-c", '"$@" 2>&1 | head -n 3; exit "${PIPESTATUS[0]}"', "bash", *self.words()], cwd=self.folder))
        self.assertEqual(result.out.count("\n"), 3, result.out)
        self.assert_trained(result)

    def test_closed_descriptors_are_not_used_for_files(self):
        self.deck = self.small_deck(run={"steps": 20, "preflight": False})
        process = self.start(["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *self.words()], cwd=self.folder)
        used = set()
        while process.poll() is None:
            with contextlib.suppress(OSError):
                if Path(os.readlink(f"/proc/{process.pid}/exe")) == PROGRAM and (self.run_folder / "metrics.csv").exists():
                    used |= {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in (0, 1, 2)}
            time.sleep(0.002)
        self.assert_trained(self.finish(process))
        self.assertEqual(used, {"/dev/null"})

    def test_other_commands_end_with_the_pipe(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([PROGRAM, "explain"], stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)
        self.assertEqual(done.returncode, -signal.SIGPIPE, done.stderr)
        closed = subprocess.run(["bash", "-c", '"$0" explain >&-', PROGRAM], stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(closed.returncode, 1, closed.stderr)
        self.assertIn("Bad file descriptor", closed.stderr)


if __name__ == "__main__":
    main()
