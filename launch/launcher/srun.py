"""The command line by which srun starts the ranks, inside a Slurm allocation."""

import os
import shutil

from launcher.cores import allocated_cpus, cores_per_rank, node_count
from launcher.ranks import common_environment, deaf_at_start, open_mpi_environment


def pmix_by_srun(children):
    return bool(os.environ.get("SLURM_JOB_ID") and shutil.which("srun")
                and "pmix" in children.output_of(["srun", "--mpi=list"]))


def srun_command(options, program):
    ranks_per_node = -(-options.ranks // (node_count() or 1))
    threads = cores_per_rank(ranks_per_node)
    common_environment(threads)
    open_mpi_environment(False)
    # srun takes neither over from the allocation (since Slurm 22.05): without them, one CPU a rank.
    cpus = allocated_cpus(ranks_per_node) or threads
    return ["srun", "--mpi=pmix", "--kill-on-bad-exit=1", "--wait=60",
            f"--cpus-per-task={cpus}", "--cpu-bind=cores",
            "-n", str(options.ranks)] + deaf_at_start() + program
