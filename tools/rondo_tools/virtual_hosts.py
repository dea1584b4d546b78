"""Hosts made of network namespaces on this machine, joined by links of a given rate.

Each has its own network, name and /dev/shm, so that Open MPI takes it for a machine of its own.
Needs root and Debian's iproute2 and util-linux.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from rondo_tools.errors import UserError

_SUBNET = "10.77.0"
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

    def __init__(self, count, rate=None, rates=None):
        """`rate`: of each link, in both directions, as tc writes it (1gbit); None: unshaped.

        `rates`: other ones by the name of the host, {"n2": "100mbit"}.
        """
        self.names = [f"n{number}" for number in range(1, count + 1)]
        self._rates = dict.fromkeys(self.names, rate) | (rates or {})
        if len(self._rates) != count:
            raise UserError(f"rates are of the hosts {', '.join(self.names)}, found {rates}.")
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
            for number, name in enumerate(self.names, start=1):
                self._make_host(number, f"{self._prefix}-{name}", self._rates[name])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in [self._switch, *(f"{self._prefix}-{name}" for name in self.names)]:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
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

    def _write_files(self):
        folder = Path(self._folder.name)
        hosts_file = folder / "hosts"
        lines = [f"{_SUBNET}.{number} {name}" for number, name in enumerate(self.names, start=1)]
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

    def _make_host(self, number, namespace, rate):
        port = f"port{number}"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("link", "add", "name", "eth1", "netns", namespace, "type", "veth",
            "peer", "name", port, "netns", self._switch)  # fmt: skip
        _ip("-n", namespace, "addr", "add", f"{_SUBNET}.{number}/24", "dev", "eth1")
        _ip("-n", namespace, "link", "set", "eth1", "up")
        _ip("-n", self._switch, "link", "set", port, "master", "bridge")
        _ip("-n", self._switch, "link", "set", port, "up")
        if rate:
            for place, device in ((namespace, "eth1"), (self._switch, port)):
                _quietly("tc", "-n", place, "qdisc", "add", "dev", device, "root", "tbf",
                         "rate", rate, "burst", "128kb", "latency", "20ms")  # fmt: skip


def _ip(*arguments):
    _quietly("ip", *arguments)


def _quietly(*command):
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"virtual hosts cannot be made: '{' '.join(command)}' says: {done.stderr.strip()}"
        )
