"""What the bundle needs of the machine it is on: glibc, processor, torch."""

import importlib.util
import os
import re
import sys
from pathlib import Path

from rondo_tools.errors import UserError

# What gcc's -march=x86-64-v3 uses, as /proc/cpuinfo writes it.
_FLAGS_OF = {"x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}}


def _numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def check_machine(manifest):
    """Throws when the programs of the bundle cannot run on this processor or with this glibc."""
    found = os.confstr("CS_GNU_LIBC_VERSION") or "no glibc"
    if _numbers(found) < _numbers(manifest["glibc"]):
        raise UserError(
            f"this machine has {found}; the bundle needs glibc {manifest['glibc']} or newer. Make "
            f"it on an older system, or use a container."
        )
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    missing = _FLAGS_OF.get(manifest["arch"], set()) - set(flags[1].split() if flags else [])
    if missing:
        raise UserError(
            f"this processor lacks {', '.join(sorted(missing))}; the bundle was built for "
            f"{manifest['arch']}. Build rondo with another RONDO_ARCH and bundle it again."
        )


class Torch:
    """The torch of the Python that runs the lane. Looked at, not imported: that takes seconds."""

    def __init__(self, manifest):
        spec = importlib.util.find_spec("torch")
        wanted = manifest["torch"]
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"{sys.executable} has no torch; the bundle needs torch {wanted}. Call the lane "
                f"with the Python that has it: 'PYTHON lane ...'."
            )
        self.folder = Path(spec.submodule_search_locations[0])
        self.version = self._version()
        if self.version.split("+")[0] != wanted:
            raise UserError(
                f"{self.folder} is torch {self.version}; the bundle needs torch {wanted}: its "
                f"programs were built with that one, and other versions have other interfaces. "
                f"Call the lane with a Python that has it, or build rondo with torch {self.version}"
                f" and bundle it again."
            )
        self._check_libraries(manifest["torch_libraries"])

    def _version(self):
        try:
            text = (self.folder / "version.py").read_text(encoding="utf-8")
        except OSError:
            text = ""
        found = re.search(r"""^__version__ = ['"]([^'"]+)['"]""", text, re.MULTILINE)
        if found is None:
            raise UserError(f"{self.folder}: its version.py does not tell a version; is it whole?")
        return found[1]

    def library_folders(self):
        """Where the libraries of torch and, beside it or elsewhere, those of CUDA are."""
        folders = [self.folder / "lib"]
        spec = importlib.util.find_spec("nvidia")
        for packages in spec.submodule_search_locations if spec else []:
            folders += sorted(Path(packages).glob("*/lib"))
        return [str(folder) for folder in folders if folder.is_dir()]

    def _check_libraries(self, names):
        """Of torch's own alone: those of CUDA may come from the system."""
        own = [name for name in names if name.startswith(("libtorch", "libc10"))]
        missing = [name for name in own if not (self.folder / "lib" / name).exists()]
        if missing:
            raise UserError(
                f"{self.folder}/lib has no {', '.join(missing)}; the bundle was built with them. "
                f"Is this a torch for CPUs alone? Install the one for CUDA, or bundle a build with "
                f"-DRONDO_CUDA=OFF."
            )
