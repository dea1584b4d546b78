"""Namespaces of its own for a process and all that it starts: processes, network, names, mounts.

Inside, /run (with the folder for temporary files) and /dev/shm are empty and in memory. When the
first process ends, whatever was started inside is killed, and nothing of it stays on the machine.
Needs root and Debian's iproute2 and util-linux.
"""

import os
import sys

from rondo_tools.virtual_hosts import missing_for_virtual_hosts

_INSIDE = "RONDO_PRIVATE_BOX"
_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")
# The shell stays as process 1 and so buries what loses its parent.
_SCRIPT = """
mount -t tmpfs tmpfs /run && mkdir /run/netns /run/tmp || exit 3
mount -t tmpfs -o size=4g shm /dev/shm && ip link set lo up || exit 3
"$@"
exit $?
"""


def missing_for_private_box():
    """Why this machine cannot make one, or an empty text."""
    return missing_for_virtual_hosts()


def enter():
    """Starts this very program again inside of a box, unless it is in one: then returns."""
    if _INSIDE in os.environ:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, _INSIDE: "1", "TMPDIR": "/run/tmp"}
    unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    command = [*unshare, "sh", "-c", _SCRIPT, "sh", sys.executable, *sys.orig_argv[1:]]
    os.execvpe(command[0], command, environment)
