# SPDX-License-Identifier: Apache-2.0
"""A Slurm of a test's own on this machine: munged, slurmctld and a slurmd a node, started by hand and ended by number.

Needs root and Debian's packages slurm-wlm, slurm-wlm-basic-plugins and munge (scripts/prepare cluster). All timers are
short: a test waits for them.
"""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd", "munged")
TOOLS = ("sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")

CONFIGURATION = """
ClusterName=penstock
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge-run/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=pmi2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
SlurmctldTimeout=5
MessageTimeout=4
TCPTimeout=1
KillWait=2
MinJobAge=600
JobRequeue=1
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_port}-{last_port}] CPUs={cpus} \
CoresPerSocket={cpus} Sockets=1 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def require():
    """Skips the test where a Slurm cannot be started."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in DAEMONS + TOOLS if not shutil.which(name, path=path)]
    if missing:
        raise unittest.SkipTest(f"Slurm is not installed ({', '.join(missing)} missing): scripts/prepare cluster")
    if os.geteuid() != 0:
        raise unittest.SkipTest("a Slurm of one's own wants root")


def free_ports(count):
    """The first of so many ports in a row that nobody listens at."""
    for first in range(20000 + os.getpid() % 1000 * 10, 60000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError("no free ports")


def number_in(path):
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def environment_of(process):
    try:
        words = Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def name_of(process):
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def all_processes():
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


class Slurm:
    """A context: `with Slurm(nodes=2, cpus=2) as slurm`."""

    def __init__(self, nodes=2, cpus=2):
        self.nodes = nodes
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-slurm-"))
        self.folder.chmod(0o755)
        self.path = self.folder / "slurm.conf"
        first = free_ports(nodes + 1)
        self.path.write_text(CONFIGURATION.format(
            host=socket.gethostname().split(".")[0], folder=self.folder, nodes=nodes, cpus=cpus,
            controller_port=first, first_port=first + 1, last_port=first + nodes))
        self.environment = {**os.environ, "SLURM_CONF": str(self.path),
                            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}

    def __enter__(self):
        try:
            self.start_munge()
            (self.folder / "state").mkdir()
            self.run("slurmctld", "-f", self.path)
            for node in range(1, self.nodes + 1):
                self.start_node(f"n{node}")
            self.wait_for_nodes(self.nodes)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_munge(self):
        owner = pwd.getpwnam("munge")
        for name in ("munge", "munge-run"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        (self.folder / "munge").chmod(0o700)
        key = self.folder / "munge/key"
        key.write_bytes(os.urandom(1024))
        os.chown(key, owner.pw_uid, owner.pw_gid)
        key.chmod(0o400)
        self.run("munged", f"--key-file={key}", f"--socket={self.folder}/munge-run/munge.socket",
                 f"--pid-file={self.folder}/munge-run/munged.pid", f"--log-file={self.folder}/munge/log",
                 f"--seed-file={self.folder}/munge/seed", "--num-threads=2", user="munge")

    def start_node(self, node):
        """Starts the node's slurmd unless it runs."""
        if is_alive(number_in(self.folder / f"slurmd.{node}.pid")):
            return
        (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        self.run("slurmd", "-f", self.path, "-N", node)

    def wait_for_nodes(self, count, seconds=30):
        def usable():
            states = self.run("sinfo", "-h", "-N", "-o", "%T").split()
            return sum(state in ("idle", "mixed", "allocated") for state in states) == count
        self.wait_until(usable, f"{count} usable nodes", seconds)

    def wait_until(self, done, what, seconds=60):
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise AssertionError(f"no {what} within {seconds} s\n{self.run('squeue', '-l')}{self.run('sinfo', '-N', '-l')}")
            time.sleep(0.1)

    def run(self, *words, check=True, **options):
        """Output of a command, with this Slurm as its own."""
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, env=self.environment, timeout=60, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, words))}: {done.stderr}{done.stdout}")
        return done.stdout

    def insist(self, *words, seconds=20):
        """Repeats a command that Slurm refuses while a job changes its state."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.run(*words)
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def jobs(self):
        """Numbers of the jobs that are not at their end."""
        return self.run("squeue", "-h", "-r", "-o", "%A").split()

    def facts(self, job):
        """What `scontrol show job` says, as a dictionary of texts."""
        words = self.run("scontrol", "show", "job", "--oneliner", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job):
        return self.facts(job)["JobState"]

    def wait_for_end(self, seconds=120):
        self.wait_until(lambda: not self.jobs(), "end of all jobs", seconds)

    def processes(self, node=None, job=None):
        """Processes below a job step, on one node or on all: {number: name}."""
        found = {}
        for process in all_processes():
            environment = environment_of(process)
            if environment.get("SLURM_CONF") != str(self.path) or "SLURM_JOB_ID" not in environment:
                continue
            if node in (None, environment.get("SLURMD_NODENAME")) and job in (None, environment["SLURM_JOB_ID"]):
                found[process] = name_of(process)
        return found

    def lose_node(self, node):
        """Ends the node's slurmd and all that it started at once, as a power cut would."""
        for process in [*self.daemons(node), *self.processes(node)]:
            kill(process)

    def lose_sight_of_node(self, node, program):
        """Slurm loses the node, as after a cut link: the ranks of `program` keep running there as orphans."""
        steps_of_ranks = [p for p in self.daemons(node) if program[:15] in map(name_of, children_of(p))]
        for process in self.daemons(node):
            if process not in steps_of_ranks:
                kill(process)
        for process, name in self.processes(node).items():
            if name != program[:15] and process not in steps_of_ranks:
                kill(process)

    def daemons(self, node):
        """The node's slurmd and its slurmstepd, which know the node by what their children are told."""
        def is_of_node(process):
            return any(environment_of(child).get("SLURMD_NODENAME") == node and
                       environment_of(child).get("SLURM_CONF") == str(self.path) for child in children_of(process))
        steps = [p for p in all_processes() if name_of(p) == "slurmstepd" and is_of_node(p)]
        return [number_in(self.folder / f"slurmd.{node}.pid"), *steps]

    def __exit__(self, *_):
        if (self.folder / "slurmctld.pid").exists():
            for job in self.run("squeue", "-h", "-o", "%A", check=False).split():
                self.run("scancel", job, check=False)
            time.sleep(0.2)
        for file in [*self.folder.glob("slurmd.*.pid"), self.folder / "slurmctld.pid",
                     self.folder / "munge-run/munged.pid"]:
            end(number_in(file))
        for process in all_processes():
            if environment_of(process).get("SLURM_CONF") == str(self.path) and process != os.getpid():
                kill(process)
        shutil.rmtree(self.folder, ignore_errors=True)


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(process):
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return found


def kill(process):
    if process:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass


def end(process, seconds=5):
    """Asks a process to end; insists."""
    if not process:
        return
    try:
        os.kill(process, signal.SIGTERM)
        for _ in range(int(seconds * 20)):
            os.kill(process, 0)
            time.sleep(0.05)
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass
