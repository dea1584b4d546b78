"""The command line by which mpirun starts the ranks."""

import os
import shutil
import subprocess

from launcher.cores import cores_per_rank, local_cores, node_count
from launcher.ranks import common_environment, deaf_at_start, open_mpi_environment
from launcher.say import EXIT_SYSTEM, fail, say


def mpirun_command(children, options, program):
    mpirun = shutil.which("mpirun")
    if not mpirun:
        fail("mpirun was not found. Debian: apt-get install openmpi-bin; modules: module load "
             "openmpi; Spack: spack load openmpi; conda: conda install -c conda-forge openmpi.",
             EXIT_SYSTEM)
    nodes = host_count(options.hosts) if options.hosts else node_count() or 1
    ranks_per_node = -(-options.ranks // nodes)
    cores = local_cores()
    threads = cores_per_rank(ranks_per_node)
    common_environment(threads)
    command = [mpirun, "-n", str(options.ranks)] + options.hosts
    if "Open MPI" not in children.output_of([mpirun, "--version"]):
        return command + program
    oversubscribed = ranks_per_node > cores
    open_mpi_environment(oversubscribed)
    if oversubscribed:
        say(f"{ranks_per_node} ranks share {cores} cores")
        command += ["--bind-to", "none"]
    else:
        command += binding(children, mpirun, options.ranks, threads, options.hosts or nodes > 1)
    if nodes > 1:
        for name in ("OMP_NUM_THREADS", "MKL_CBWR", "RONDO_TERMINAL", "RONDO_EXIT_FILE"):
            command += ["-x", name]
    return command + deaf_at_start() + die_with_launcher(children, ranks_per_node) + program


def host_count(hosts):
    """Distinct hosts that mpirun is given, at least 1."""
    if hosts[0] == "-H":
        names = [entry.split(":")[0] for entry in hosts[1].split(",")]
    else:
        try:
            with open(hosts[1]) as file:
                lines = [line.split("#")[0].split() for line in file]
        except OSError as error:
            fail(f"the host file {hosts[1]} cannot be read: {error.strerror}")
        names = [line[0] for line in lines if line]
    return max(1, len(set(names)))


def binding(children, mpirun, ranks, cores, hosts):
    """Binding options for mpirun, `cores` per rank, that are known to work here."""
    if "OMPI_MCA_hwloc_base_binding_policy" in os.environ:
        return []
    wanted = ["--map-by", f"slot:PE={cores}", "--bind-to", "core"]
    if hosts:
        return wanted
    trial = [mpirun, "-q", "-n", str(ranks)] + wanted + ["true"]
    try:
        works = children.helper(trial, timeout=60, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)[0] == 0
    except OSError:
        works = False
    if works:
        return wanted
    say("ranks are not bound to cores (this machine does not allow it)")
    return ["--bind-to", "none"]


def die_with_launcher(children, ranks_per_node):
    """A prefix that ends ranks at once when mpirun is killed, so that a restart finds them gone.

    Above 16 ranks Open MPI may start them from a helper thread whose end would count as a death.
    """
    setpriv = shutil.which("setpriv")
    if ranks_per_node > 16 or not setpriv:
        return []
    if "--pdeathsig" not in children.output_of([setpriv, "--help"]):
        return []
    return [setpriv, "--pdeathsig", "KILL"]
