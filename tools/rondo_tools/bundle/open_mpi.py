"""The parts of Open MPI 4 and of PMIx that lie outside the libraries, and their places in a bundle.

Left out are the plugins for fabrics (InfiniBand, Omni-Path, UCX, libfabric) and OpenSHMEM: they
only work with the drivers and providers of one machine. MPI in a bundle goes through shared memory
and TCP; GPUs talk to each other by the NCCL of the target's torch, which has its own ways.
"""

import re
import shutil
from pathlib import Path

from rondo_tools.bundle import elf
from rondo_tools.called import called
from rondo_tools.errors import UserError

_PROGRAMS = ("orterun", "orted")
_FABRIC = re.compile(r"lib(ibverbs|rdmacm|fabric|uc[pstm]|psm\w*|oshmem|portals|knem)\.so")
# Where the lane's environment says that they are (lane/environment.py).
PLUGINS = Path("lib/openmpi")
PMIX_PLUGINS = Path("lib/pmix")


class OpenMpi:
    """Of this machine: version, programs, plugins and folders of texts."""

    def __init__(self):
        if shutil.which("ompi_info") is None or shutil.which("mpirun") is None:
            raise UserError(
                "ompi_info and mpirun were not found; a bundle carries Open MPI 4. Debian: apt-get "
                "install openmpi-bin; modules: module load openmpi."
            )
        text = called(["ompi_info", "--version"])
        found = re.search(r"Open MPI v(4\.\S+)", text)
        if found is None:
            raise UserError(
                f"ompi_info says '{text.splitlines()[0]}'; a bundle can carry Open MPI 4 alone. "
                f"Build with Open MPI 4.1, whose mpirun comes first in PATH."
            )
        self.version = found[1]
        lines = called(["ompi_info", "--path", "all", "--parsable"]).splitlines()
        folders = dict(line.split(":", 2)[1:] for line in lines if line.startswith("path:"))
        self.texts = Path(folders["pkgdatadir"])
        self.settings = Path(folders["sysconfdir"])
        programs = Path(folders["bindir"])
        self.programs = [programs / name for name in _PROGRAMS]
        plugins = sorted(Path(folders["pkglibdir"]).glob("mca_*.so"))
        self.plugins = [path for path in plugins if not _needs_fabric(path)]


def _needs_fabric(path):
    return any(_FABRIC.match(name) for name in elf.needed(path))


def pmix_folders(libraries):
    """(plugins, texts) of the PMIx among the libraries; Nones where Open MPI brings its own."""
    library = next((path for name, path in libraries.items() if name.startswith("libpmix.")), None)
    if library is None:
        return None, None
    folder = library.resolve().parent
    return folder / "pmix", folder.parent / "share" / "pmix"


def copy_texts(mpi, pmix_texts, root):
    """Messages and settings, without which Open MPI only says that it cannot say what is wrong."""
    shutil.copytree(mpi.texts, root / "share/openmpi", ignore=shutil.ignore_patterns("*wrapper*"))
    if mpi.settings.is_dir():
        shutil.copytree(mpi.settings, root / "etc")
    if pmix_texts and pmix_texts.is_dir():
        shutil.copytree(pmix_texts, root / "share/pmix")
