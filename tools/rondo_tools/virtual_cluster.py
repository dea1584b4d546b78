"""A whole Slurm of its own on this machine: a controller and nodes that are virtual hosts.

Runs inside of a private box (private_box.py) and reads nothing of the machine's own Slurm. Needs
root and Debian's slurmctld, slurmd, slurm-client and munge besides what the hosts need.
"""

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from rondo_tools.errors import UserError
from rondo_tools.private_box import missing_for_private_box
from rondo_tools.virtual_hosts import VirtualHosts

_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "sinfo", "nft")
_CONTROLLER = "ctl"
_COMMAND_S = 60
_START_S = 60
# What differs from a common cluster: times are short (a requeued job waits for cred_expire, a
# silent node is down after SlurmdTimeout), and no node is held back after it was down. TreeWidth
# must not exceed the nodes of a job: above, a fence of PMIx does not wait for other nodes.
_CONFIGURATION = """ClusterName=rondo
SlurmctldHost={controller}({controller_address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=5,socket={folder}/munge/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
TmpFS={folder}/tmp/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=pmix
SwitchType=switch/none
MailProg=/bin/true
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait={kill_wait_s}
TreeWidth=2
SlurmctldTimeout=30
SlurmdTimeout={node_timeout_s}
AccountingStorageType=accounting_storage/none
PartitionName=DEFAULT Nodes={nodes} MaxTime=INFINITE State=UP
PartitionName=main Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
"""
_NODE = (
    "NodeName={name} NodeHostname={name} NodeAddr={address} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN\n"
)


def missing_for_virtual_cluster():
    """Why this machine cannot make one, or an empty text."""
    programs = [name for name in _PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} not found (launch/setup --cluster)"
    return missing_for_private_box()


class VirtualCluster:
    """A context in which the cluster runs. Throws UserError where it cannot.

    `hosts` are its nodes n1, n2, ... and `ctl`, where the controller runs and jobs are submitted.
    Jobs of the partition `main`, the default, give way to those of `urgent`: they are asked to
    stop, and requeued `grace_s` later.
    """

    def __init__(self, nodes=3, cpus=2, rate=None, grace_s=20, kill_wait_s=9, node_timeout_s=6):
        self.hosts = VirtualHosts(nodes, rate, others=(_CONTROLLER,))
        self._cpus = cpus
        self._settings = {
            "grace_s": grace_s,
            "kill_wait_s": kill_wait_s,
            "node_timeout_s": node_timeout_s,
        }

    def __enter__(self):
        reason = missing_for_virtual_cluster()
        if reason:
            raise UserError(f"a virtual cluster cannot be made: {reason}.")
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.hosts)
            folder = tempfile.TemporaryDirectory(
                prefix="rondo-cluster-", ignore_cleanup_errors=True
            )
            self.folder = Path(stack.enter_context(folder))
            stack.callback(self._end_processes)
            self._write_files()
            self._start_munge()
            self.start_controller()
            for name in self.hosts.names:
                self.start_node(name)
            self.wait_for_nodes()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    # --- the controller and the nodes

    def start_controller(self):
        self._start(_CONTROLLER, ["slurmctld", "-f", self.folder / "slurm.conf"])

    def stop_controller(self):
        """As an administrator does: the controller saves its state first."""
        process = int((self.folder / "slurmctld.pid").read_text())
        with contextlib.closing(_Handle(process)) as handle:
            os.kill(process, signal.SIGTERM)
            if not handle.has_ended(_COMMAND_S):
                raise UserError(f"slurmctld, process {process}, has not ended.")

    def start_node(self, name):
        """Starts the daemon of a node, after a crash too."""
        self._start(name, ["slurmd", "-f", self.folder / "slurm.conf", "-N", name])

    def set_down(self, name):
        """As an administrator, or a health check, who knows that the node is lost."""
        self.client("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=lost")

    def wait_for_nodes(self, names=None):
        """Waits until the nodes, by default all, can be given to a job."""
        wanted = set(names or self.hosts.names)
        until = time.monotonic() + _START_S
        while True:
            answer = self._run(["sinfo", "-h", "-N", "-p", "main", "-o", "%N %t"])
            states = dict(line.split() for line in answer.stdout.splitlines())
            if all(states.get(name) in ("idle", "mix", "alloc") for name in wanted):
                return
            if time.monotonic() > until:
                raise UserError(f"nodes do not come up: {states}; see {self.folder}/log.")
            time.sleep(0.1)

    # --- jobs

    def client(self, *command, **how):
        """What a command of a user prints; UserError when it fails. `how`: environment, folder."""
        done = self._run(command, **how)
        if done.returncode != 0:
            raise UserError(f"'{' '.join(map(str, command))}' says: {done.stdout}{done.stderr}")
        return done.stdout

    def submit(self, *words, **how):
        """The number of the job that sbatch makes of its options and script."""
        return int(self.client("sbatch", "--parsable", *words, **how))

    def job(self, number):
        """What `scontrol show job` tells of a job, by its names (JobState, NodeList, ...)."""
        line = self.client("scontrol", "show", "-o", "job", number).splitlines()[0]
        return dict(word.split("=", 1) for word in line.split() if "=" in word)

    def wait_for_job(self, number, condition, seconds):
        """Waits until `condition` holds for what `job` tells, and returns that."""
        until = time.monotonic() + seconds
        while not condition(job := self.job(number)):
            if time.monotonic() > until:
                raise UserError(f"job {number} has not come so far in {seconds} s: {job}")
            time.sleep(0.2)
        return job

    def environment(self):
        """What programs of jobs need to talk over the links alone."""
        return self.hosts.environment() | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "OMPI_MCA_mpi_yield_when_idle": "1",
        }

    def _run(self, command, environment=None, folder=None):
        return subprocess.run(
            self.hosts.command_on(_CONTROLLER, command),
            cwd=folder,
            env=os.environ | self.environment() | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )

    def _start(self, host, command):
        _quietly(self.hosts.command_on(host, command), self.environment())

    def _start_munge(self):
        folder = self.folder / "munge"
        files = [("key-file", "munge.key"), ("socket", "munge.sock"), ("pid-file", "munged.pid")]
        files += [("log-file", "munged.log"), ("seed-file", "munged.seed")]
        _quietly(["munged", "--force", *(f"--{option}={folder / name}" for option, name in files)])

    def _write_files(self):
        for name in ("munge", "state", "log"):
            (self.folder / name).mkdir()
        for name in self.hosts.names:
            (self.folder / "spool" / name).mkdir(parents=True)
            (self.folder / "tmp" / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        key = self.folder / "munge" / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        text = _CONFIGURATION.format(
            folder=self.folder,
            controller=_CONTROLLER,
            controller_address=self.hosts.address(_CONTROLLER),
            nodes=",".join(self.hosts.names),
            **self._settings,
        )
        for name in self.hosts.names:
            text += _NODE.format(name=name, address=self.hosts.address(name), cpus=self._cpus)
        (self.folder / "plugstack.conf").touch()
        (self.folder / "slurm.conf").write_text(text, encoding="ascii")

    def _end_processes(self):
        for name in (*self.hosts.names, _CONTROLLER):
            self.hosts.crash(name)
        with contextlib.suppress(OSError, ValueError):
            process = int((self.folder / "munge" / "munged.pid").read_text())
            with contextlib.closing(_Handle(process)) as handle:
                os.kill(process, signal.SIGTERM)
                handle.has_ended(_START_S)


class _Handle:
    """A process, told from a later one of the same number."""

    def __init__(self, process):
        self._descriptor = os.pidfd_open(process)

    def has_ended(self, seconds):
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def close(self):
        os.close(self._descriptor)


def _quietly(command, environment=None):
    """Starts what goes on in the background by itself; UserError with its words when it fails."""
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=_COMMAND_S,
            check=False,
        )
        if done.returncode != 0:
            output.seek(0)
            raise UserError(f"a virtual cluster cannot be made: {command} says: {output.read()}")
