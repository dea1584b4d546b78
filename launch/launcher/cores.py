"""How many nodes and cores there are: of this machine, or of the Slurm allocation."""

import os
import re


def positive(text):
    """Whether it is a whole number of at least 1, in plain digits."""
    return re.match("[0-9]*[1-9][0-9]*$", text) is not None


def node_count():
    """Nodes of the Slurm allocation; None outside of one."""
    text = os.environ.get("SLURM_JOB_NUM_NODES", "")
    return int(text) if positive(text) else None


def local_cores():
    """Physical cores this process may use; its logical processors where that cannot be told."""
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        folder = f"/sys/devices/system/cpu/cpu{cpu}/topology/"
        try:
            with open(folder + "physical_package_id") as package, open(folder + "core_id") as core:
                cores.add((package.read(), core.read()))
        except OSError:
            return len(allowed)
    return len(cores)


def allocated_cpus(ranks_per_node):
    """CPUs per rank of the Slurm allocation, as Slurm counts them; None outside of one."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    per_task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if positive(per_task):
        return int(per_task)
    # As in "64(x2),32": the smallest node decides.
    per_node = re.findall(r"(\d+)(?:\(x\d+\))?", os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    if not per_node:
        return None
    return max(1, min(int(cpus) for cpus in per_node) // ranks_per_node)


def cores_of(cpus, on_node, threads, cores):
    """Cores that `cpus` of Slurm are. Slurm counts hardware threads on some clusters and cores on
    others; it counted `on_node` here, where `threads` on `cores` are allowed."""
    return max(1, cpus * cores // threads) if on_node == threads else cpus


def cores_per_rank(ranks_per_node):
    """Physical cores for each rank: of the Slurm allocation, else of this machine."""
    cpus = allocated_cpus(ranks_per_node)
    if cpus is None:
        return max(1, local_cores() // ranks_per_node)
    on_node = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return cores_of(cpus, int(on_node) if positive(on_node) else 0,
                    len(os.sched_getaffinity(0)), local_cores())
