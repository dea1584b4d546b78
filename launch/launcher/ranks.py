"""What the ranks are given under every launcher: environment, and deafness at their start."""

import os
import sys

from launcher.numerics import cpuinfo, strict_path


def set_default(name, value):
    os.environ.setdefault(name, str(value))


def common_environment(threads):
    """Threads of a rank, and numerics; the same under every launcher."""
    set_default("OMP_NUM_THREADS", threads)
    # The same GEMM results whatever the alignment of a buffer; MKL reads it once, at its start.
    set_default("MKL_CBWR", strict_path(cpuinfo()))
    # Open MPI gives every rank a terminal of its own, whatever standard output really is.
    os.environ["RONDO_TERMINAL"] = "1" if sys.stdout.isatty() else "0"


def open_mpi_environment(oversubscribed):
    if os.geteuid() == 0:
        set_default("OMPI_ALLOW_RUN_AS_ROOT", 1)
        set_default("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", 1)
    # A node that falls silent is noticed within seconds instead of eight minutes.
    set_default("OMPI_MCA_oob_tcp_keepalive_time", 10)
    set_default("OMPI_MCA_oob_tcp_keepalive_intvl", 3)
    set_default("OMPI_MCA_oob_tcp_keepalive_probes", 3)
    if "SLURM_JOB_ID" in os.environ:
        # Preemption sends SIGTERM to every process: mpirun must leave the ranks time to save.
        set_default("OMPI_MCA_odls_base_sigkill_timeout", 30)
    if oversubscribed:
        set_default("OMPI_MCA_rmaps_base_oversubscribe", 1)
        set_default("OMPI_MCA_mpi_yield_when_idle", 1)


def deaf_at_start():
    """A prefix by which a rank ignores requests to stop until rondo handles them: they must not
    kill it before. Launchers give every rank the default actions, whatever their own."""
    return ["sh", "-c", 'trap "" USR1 TERM; exec "$@"', "sh"]
