# SPDX-License-Identifier: Apache-2.0
"""Hosts with links between them, on one machine: network namespaces on a bridge, as root with iproute2.

    with Hosts(2) as hosts:
        subprocess.Popen(hosts.mpiexec(ranks_on_each=2) + [PROGRAM, ...])
        hosts.cut(2); hosts.mend(2); hosts.slow(2, "50mbit")

Each set has names of its own, so that several tests may run at once. Ranks talk TCP: UCX would find shared memory across
namespaces, which no link could cut.
"""
import itertools
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

SHELL = """#!/bin/bash
# Takes the place of ssh: runs a command on the host with that address.
while [[ ${{1:-}} == -* ]]; do shift; done
host=h${{1##*.}}; shift
exec ip netns exec "{prefix}-$host" unshare -u bash -c 'hostname '"$host"'; exec bash -c "$1"' _ "$*"
"""


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def why_there_are_none():
    """Why no hosts can be made here; empty where they can."""
    for tool in ("ip", "tc", "unshare"):
        if not shutil.which(tool):
            return f"hosts need {tool} (packages iproute2, util-linux)"
    if os.geteuid() != 0:
        return "hosts need root: network namespaces are made and removed"
    name = f"penstock-{os.getpid()}-probe"
    made = run("ip", "netns", "add", name, check=False)
    if made.returncode != 0:
        return f"this machine makes no network namespaces: {made.stderr.strip()}"
    linked = run("ip", "-n", name, "link", "add", "probe", "type", "bridge", check=False)
    run("ip", "netns", "del", name, check=False)
    return f"this machine makes no bridges: {linked.stderr.strip()}" if linked.returncode != 0 else ""


class Hosts:
    """Hosts h1 .. hN with the addresses 10.77.0.1 .. N; mpiexec runs on h1."""

    numbers = itertools.count(1)

    def __init__(self, count):
        self.count = count
        self.prefix = f"penstock-{os.getpid()}-{next(self.numbers)}"
        self.bridge = f"{self.prefix}-bridge"

    def __enter__(self):
        why = why_there_are_none()
        if why:
            raise unittest.SkipTest(why)
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-hosts-"))
        self.shell = self.folder / "shell"
        self.shell.write_text(SHELL.format(prefix=self.prefix))
        self.shell.chmod(self.shell.stat().st_mode | stat.S_IXUSR)
        try:
            self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def make(self):
        run("ip", "netns", "add", self.bridge)
        run("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.bridge, "link", "set", "br0", "up")
        for host in range(1, self.count + 1):
            name = self.name(host)
            run("ip", "netns", "add", name)
            run("ip", "link", "add", "veth0", "netns", name, "type", "veth", "peer", "name", f"p{host}", "netns",
                self.bridge)
            run("ip", "-n", self.bridge, "link", "set", f"p{host}", "master", "br0", "up")
            run("ip", "-n", name, "addr", "add", f"10.77.0.{host}/24", "dev", "veth0")
            for link in ("veth0", "lo"):
                run("ip", "-n", name, "link", "set", link, "up")

    def remove(self):
        for name in [self.name(host) for host in range(1, self.count + 1)] + [self.bridge]:
            for process in run("ip", "netns", "pids", name, check=False).stdout.split():
                try:
                    os.kill(int(process), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            run("ip", "netns", "del", name, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def name(self, host):
        return f"{self.prefix}-h{host}"

    def mpiexec(self, ranks_on_each=1):
        """The words that start ranks on all hosts, in front of a program's own."""
        addresses = ",".join(f"10.77.0.{host}" for host in range(1, self.count + 1))
        return ["ip", "netns", "exec", self.name(1), "unshare", "-u", "bash", "-c", 'hostname h1; exec "$@"', "_",
                os.environ.get("MPIEXEC", "mpiexec"), "-launcher", "ssh", "-launcher-exec", str(self.shell), "-iface",
                "veth0", "-genv", "UCX_TLS", "tcp,self", "-genv", "UCX_NET_DEVICES", "veth0", "-hosts", addresses, "-ppn",
                str(ranks_on_each), "-n", str(ranks_on_each * self.count)]

    def cut(self, host):
        run("ip", "-n", self.bridge, "link", "set", f"p{host}", "down")

    def mend(self, host):
        run("ip", "-n", self.bridge, "link", "set", f"p{host}", "up")

    def slow(self, host, rate, burst="64k"):
        """What the host sends goes at that rate ("50mbit") from now on; high rates need a larger burst."""
        run("ip", "netns", "exec", self.name(host), "tc", "qdisc", "replace", "dev", "veth0", "root", "tbf", "rate", rate,
            "burst", burst, "latency", "100ms")

    def processes(self):
        """{host: [command line, ...]} of all that runs on the hosts."""
        found = {}
        for host in range(1, self.count + 1):
            for process in run("ip", "netns", "pids", self.name(host), check=False).stdout.split():
                try:
                    words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
                    state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
                except OSError:  # it has ended meanwhile
                    continue
                if state not in "ZX":
                    found.setdefault(host, []).append(" ".join(words).strip())
        return found
