"""Hosts made of network namespaces on this machine, joined by links of a given rate.

Each has its own network, name and /dev/shm, so that Open MPI takes it for a machine of its own.
Links can be cut and healed, and a host can lose all that runs on it. Needs root and Debian's
iproute2 and util-linux; cutting ports needs nftables too.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from rondo_tools.errors import UserError

_SUBNET = "10.77.0"
_CUT = "rondo_cut"  # the table of nftables
_PROGRAMS = ("ip", "tc", "nsenter", "unshare", "mount")
# Called as `agent [options] HOST COMMAND...`, as mpirun calls ssh.
_AGENT = """#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1
shift
exec nsenter --net="/run/netns/{prefix}-$host" unshare --uts --mount sh -c '
hostname "$1"
mount --bind {hosts_file} /etc/hosts
mount -t tmpfs -o size=4g shm /dev/shm
shift
exec sh -c "$*"' sh "$host" "$@"
"""


def missing_for_virtual_hosts():
    """Why this machine cannot make them, or an empty text."""
    programs = [name for name in _PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} not found (Debian: apt-get install iproute2 util-linux)"
    if os.geteuid() != 0:
        return "this user is not root"
    return ""


class VirtualHosts:
    """A context in which the hosts n1, n2, ... are there. Throws UserError where they cannot be."""

    def __init__(self, count, rate=None, rates=None, others=()):
        """`rate`: of each link, in both directions, as tc writes it (1gbit); None: unshaped.
        `rates`: other ones by the name of the host, {"n2": "100mbit"}. `others`: names of further
        hosts, whose links are never shaped."""
        self.names = [f"n{number}" for number in range(1, count + 1)]
        self._numbers = {name: number for number, name in enumerate(self.names, start=1)}
        self._rates = dict.fromkeys(self.names, rate) | (rates or {})
        if len(self._rates) != count:
            raise UserError(f"rates are of the hosts {', '.join(self.names)}, found {rates}.")
        self._numbers |= {name: number for number, name in enumerate(others, start=201)}
        self._prefix = f"rondo{os.getpid()}"
        self._switch = f"{self._prefix}-switch"

    def __enter__(self):
        reason = missing_for_virtual_hosts()
        if reason:
            raise UserError(f"virtual hosts cannot be made: {reason}.")
        self._folder = tempfile.TemporaryDirectory(prefix="rondo-hosts-")
        try:
            self._write_files()
            self._make_switch()
            for name in self._numbers:
                self._make_host(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for space in [self._switch, *map(self._space, self._numbers)]:
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL, check=False)
        self._folder.cleanup()

    def environment(self):
        """What Open MPI needs to start ranks on the hosts and to talk over their links alone."""
        return {
            "OMPI_MCA_plm_rsh_agent": str(self._agent),
            "OMPI_MCA_oob_tcp_if_include": "eth1",
            "OMPI_MCA_btl_tcp_if_include": "eth1",
            # The hosts share the cores of this machine: each would bind its ranks to the first.
            "OMPI_MCA_hwloc_base_binding_policy": "none",
        }

    def command_on(self, name, command):
        """`command`, a list of words, to be run on the host of that name."""
        return [str(self._agent), name, shlex.join(map(str, command))]

    def address(self, name):
        return f"{_SUBNET}.{self._numbers[name]}"

    def cut(self, name):
        """Takes the link of a host down: nothing comes through, and neither side is told."""
        _ip("-n", self._switch, "link", "set", self._port(name), "down")

    def heal(self, name):
        _ip("-n", self._switch, "link", "set", self._port(name), "up")

    def cut_ports(self, name, first, last):
        """Drops what comes to and goes from these TCP ports of a host; all else comes through."""
        ports = f"{first}-{last}"
        rules = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0;"
            f" tcp sport {ports} drop; tcp dport {ports} drop; }}\n"
            for hook in ("input", "output")
        )
        command = [*self._inside(name), "nft", "-f", "-"]
        _quietly(*command, text=f"table inet {_CUT} {{\n{rules}}}\n")

    def heal_ports(self, name):
        _quietly(*self._inside(name), "nft", "delete", "table", "inet", _CUT)

    def processes_on(self, name):
        """Numbers of the processes that run on the host, as /proc shows them here."""
        space = os.stat(f"/run/netns/{self._space(name)}").st_ino
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{process}/ns/net").st_ino == space:
                    found.append(int(process))
        return found

    def crash(self, name):
        """Kills everything on the host, as a power cut does; its link stays."""
        while processes := self.processes_on(name):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def _space(self, name):
        return f"{self._prefix}-{name}"

    def _port(self, name):
        return f"port{self._numbers[name]}"

    def _inside(self, name):
        return ["nsenter", f"--net=/run/netns/{self._space(name)}"]

    def _write_files(self):
        folder = Path(self._folder.name)
        hosts_file = folder / "hosts"
        lines = [f"{self.address(name)} {name}" for name in self._numbers]
        hosts_file.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n", encoding="ascii")
        self._agent = folder / "agent"
        self._agent.write_text(
            _AGENT.format(prefix=self._prefix, hosts_file=hosts_file), encoding="ascii"
        )
        self._agent.chmod(0o755)

    def _make_switch(self):
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "name", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")

    def _make_host(self, name):
        space, port = self._space(name), self._port(name)
        _ip("netns", "add", space)
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("link", "add", "name", "eth1", "netns", space, "type", "veth",
            "peer", "name", port, "netns", self._switch)  # fmt: skip
        _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth1")
        _ip("-n", space, "link", "set", "eth1", "up")
        _ip("-n", self._switch, "link", "set", port, "master", "bridge")
        _ip("-n", self._switch, "link", "set", port, "up")
        rate = self._rates.get(name)
        if rate:
            for place, device in ((space, "eth1"), (self._switch, port)):
                _quietly("tc", "-n", place, "qdisc", "add", "dev", device, "root", "tbf",
                         "rate", rate, "burst", "128kb", "latency", "20ms")  # fmt: skip


def _ip(*arguments):
    _quietly("ip", *arguments)


def _quietly(*command, text=""):
    done = subprocess.run(command, input=text, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"virtual hosts cannot be made: '{' '.join(command)}' says: {done.stderr.strip()}"
        )
