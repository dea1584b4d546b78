"""The environment in which the programs of a bundle find all that they need."""

import os
import re
import shutil
import subprocess
import sys

from launcher.ranks import open_mpi_environment

from rondo_tools.errors import UserError

_NOT_FOUND = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_TOO_OLD = re.compile(r"/([^/\s]+): version `([^']+)' not found")


def _with(name, folders, environment):
    old = [environment[name]] if environment.get(name) else []
    environment[name] = os.pathsep.join([*map(str, folders), *old])


def _open_mpi(root):
    """Where Open MPI and PMIx have moved to; each place by itself, as some builds set them so."""
    return {
        "OPAL_PREFIX": root,
        "OPAL_BINDIR": f"{root}/bin",
        "OPAL_LIBDIR": f"{root}/lib",
        "OPAL_PKGLIBDIR": f"{root}/lib/openmpi",
        "OPAL_DATADIR": f"{root}/share",
        "OPAL_PKGDATADIR": f"{root}/share/openmpi",
        "OPAL_SYSCONFDIR": f"{root}/etc",
        "PMIX_PREFIX": root,
        "PMIX_LIBDIR": f"{root}/lib",
        "PMIX_PKGLIBDIR": f"{root}/lib/pmix",
        "PMIX_DATADIR": f"{root}/share",
        "PMIX_PKGDATADIR": f"{root}/share/pmix",
        "PMIX_SYSCONFDIR": f"{root}/etc",
        # None is carried, and those of another hwloc are not for ours.
        "HWLOC_PLUGINS_PATH": f"{root}/lib/hwloc",
    }


def make(bundle, torch):
    """os.environ with what the bundle needs. The libraries of the bundle are found by its programs
    alone (RPATH), so that other commands keep their own; torch's and CUDA's are in
    LD_LIBRARY_PATH."""
    root = str(bundle.root)
    environment = _of_open_mpi() | _open_mpi(root)
    # A process that no launcher has started is alone: it needs no daemon beside it.
    environment.setdefault("OMPI_MCA_ess_singleton_isolated", "1")
    # mpirun starts its daemons on other nodes through the lane, so that they find all this too.
    lane = f"{sys.executable} {root}/lane exec --"
    environment.setdefault("OMPI_MCA_orte_launch_agent", f"{lane} {root}/bin/orted")
    if not (shutil.which("ssh") or shutil.which("rsh")):
        # Else mpirun ends without them, even where all ranks are on this machine.
        environment.setdefault("OMPI_MCA_plm", "^rsh")
    environment["RONDO_BINARY"] = str(bundle.program("rondo"))
    environment["RONDO_SOURCE"] = root
    _with("PATH", [bundle.programs], environment)
    _with("LD_LIBRARY_PATH", torch.library_folders(), environment)
    _with_spares(bundle, environment)
    return environment


def _of_open_mpi():
    """os.environ with what launch/run sets for Open MPI: being root, silent nodes."""
    open_mpi_environment(oversubscribed=False)
    return dict(os.environ)


def _unresolved(program, environment):
    """{library: what the loader says} of those that are missing or too old for the program."""
    done = subprocess.run(
        [str(program)],
        env={**environment, "LD_TRACE_LOADED_OBJECTS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    found = {name: f"{name} is not found" for name in _NOT_FOUND.findall(done.stdout)}
    for name, version in _TOO_OLD.findall(done.stdout):
        found[name] = f"{name} lacks the version {version}"
    return found


def _with_spares(bundle, environment):
    """Takes the bundle's libstdc++ and the like where the machine's do not do."""
    rondo = bundle.program("rondo")
    spares = {path.name: path for path in (bundle.root / "spare").iterdir()}
    wanted = [spares[name] for name in _unresolved(rondo, environment) if name in spares]
    if wanted:
        _with("LD_LIBRARY_PATH", wanted, environment)
    if missing := _unresolved(rondo, environment):
        raise UserError(
            f"{rondo}: {'; '.join(missing.values())}. The bundle takes torch and CUDA from this "
            f"Python's packages: are they whole?"
        )
