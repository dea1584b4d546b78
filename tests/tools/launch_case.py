"""What the tests of launch/run share: a stand-in for the binary, and one for srun."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("RONDO_SOURCE", Path(__file__).resolve().parents[2]))
RUN = SOURCE / "launch" / "run"

# Commands: `exit N` ends with N, `environment` prints what it was given, `wait` handles requests to
# stop, says that it is ready and stays until there is one, then ends with 75, which rank 0 tells;
# `late` handles them only once MARK.go is there. With --check or under `hang` it stays for good,
# and so does a child of it. MPI is not needed: mpirun starts any program.
STAND_IN = r"""#!PYTHON -SE
import os, signal, subprocess, sys, time
from pathlib import Path

words = sys.argv[1:]
if "--check" in words:
    words = ["crash"] if words[1] == "crash" else ["hang", words[1]]
elif words[:1] == ["train"]:
    words = words[1:]
command, argument = words[0].lstrip("-"), words[-1]
stop = []

def mark(what, pid=os.getpid()):
    Path(f"{argument}.{what}.{pid}").touch()

if command == "exit":
    sys.exit(int(argument))
if command == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if command == "environment":
    print(*(f"{word}={os.environ[name]}" for word, name in (
        ("threads", "OMP_NUM_THREADS"), ("cbwr", "MKL_CBWR"), ("terminal", "RONDO_TERMINAL"))))
if command == "hang":
    mark("ready", subprocess.Popen(["sleep", "600"]).pid)
    mark("ready")
    time.sleep(600)
if command == "late":
    mark("ready")
    while not os.path.exists(argument + ".go"):
        time.sleep(0.01)
if command in ("wait", "late"):
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, _: stop.append(number))
    if command == "wait":
        mark("ready")
    while not stop:
        time.sleep(0.01)
    mark("stopped")
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0" and "RONDO_EXIT_FILE" in os.environ:
        Path(os.environ["RONDO_EXIT_FILE"]).write_text("75")
    os._exit(75)
""".replace("PYTHON", sys.executable)


# srun as launch/run uses it: says what it was given, and starts the program once.
SRUN = r"""#!/bin/bash
if [ "$1" = --mpi=list ]; then echo "MPI plugin types are... none pmix"; exit; fi
echo "srun $*"
while [[ $1 == -* ]]; do [ "$1" = -n ] && shift; shift; done
exec "$@"
"""


class LaunchCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        binary = self.folder / "rondo"
        binary.write_text(STAND_IN)
        binary.chmod(0o755)
        self.mark = str(self.folder / "mark")
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM_", "OMPI_", "OMP_", "MKL_"))
        }
        self.env["RONDO_BINARY"] = str(binary)

    def run_it(self, *arguments, **environment):
        return subprocess.run(
            [sys.executable, RUN, *arguments],
            check=False,
            env={**self.env, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def copy_of_run(self):
        """launch/run and its parts elsewhere; returns its path."""
        folder = self.folder / "launch"
        shutil.copytree(SOURCE / "launch", folder, ignore=shutil.ignore_patterns("__pycache__"))
        return folder / "run"

    def tool(self, name, text):
        """A program that launch/run finds before the real one; returns PATH."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
        return f"{tools}:{self.env['PATH']}"
